#ifndef JSON_SCAN_H
#define JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Reading JSON from one place and writing it to another, as the store writes it. */

struct span {
    const uint8_t *at;
    size_t bytes;
};

/* A text: where its canonical JSON stands, without the quotes, and how many bytes of UTF-8 it is. */
struct text {
    struct span json;
    size_t size;
};

struct scan {
    const uint8_t *at, *end;
    uint8_t *out, *out_end;
    size_t size; /* of what was read of the item */
};

/* Read a JSON text and write it as the store writes it; false where it is invalid, or there is no room for it. */
bool read_text(struct scan *scan, struct text *found);

static inline bool emit(struct scan *scan, const void *bytes, size_t count) {
    if ((size_t)(scan->out_end - scan->out) < count) return false;
    memcpy(scan->out, bytes, count);
    scan->out += count;
    return true;
}

static inline bool emit_span(struct scan *scan, const struct span *span) {
    return emit(scan, span->at, span->bytes);
}

/* Write a member's name, and the colon. */
static inline bool emit_name(struct scan *scan, const struct span *name) {
    return emit(scan, "\"", 1) && emit_span(scan, name) && emit(scan, "\":", 2);
}

static inline void skip_space(struct scan *scan) {
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r'))
        scan->at++;
}

/* Pass `expected`, and the space before it. */
static inline bool pass(struct scan *scan, uint8_t expected) {
    skip_space(scan);
    if (scan->at == scan->end || *scan->at != expected) return false;
    scan->at++;
    return true;
}

static inline bool next_is(struct scan *scan, uint8_t expected) {
    skip_space(scan);
    return scan->at < scan->end && *scan->at == expected;
}

static inline bool is(const struct span *span, const char *expected, size_t bytes) {
    return span->bytes == bytes && memcmp(span->at, expected, bytes) == 0;
}

static inline bool is_same(const struct span *one, const struct span *other) {
    return one->bytes == other->bytes && (one->bytes == 0 || memcmp(one->at, other->at, one->bytes) == 0);
}

/* Pass a word, and write it. */
static inline bool read_word(struct scan *scan, const char *word, size_t bytes) {
    skip_space(scan);
    if ((size_t)(scan->end - scan->at) < bytes || memcmp(scan->at, word, bytes) != 0) return false;
    scan->at += bytes;
    return emit(scan, word, bytes);
}

#endif
