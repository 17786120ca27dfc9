#define _GNU_SOURCE
#include "plain_request.h"

#include <string.h>
#include <strings.h>

#define REQUEST_LINE "POST / HTTP/1.1\r\n"
#define REQUEST_LINE_BYTES 17

static bool is_token(unsigned char c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_same(const char *name, size_t count, const char *expected) {
    return strlen(expected) == count && strncasecmp(name, expected, count) == 0;
}

static bool parse_length(const char *digits, size_t count, size_t *length) {
    if (count == 0 || count > 9) return false;
    *length = 0;
    for (size_t at = 0; at < count; at++) {
        if (digits[at] < '0' || digits[at] > '9') return false;
        *length = *length * 10 + (size_t)(digits[at] - '0');
    }
    return true;
}

/* Take a header line; false where the request is not of the form. `has_length` keeps whether its length is known. */
static bool parse_header(const char *bytes, size_t from, size_t to, struct plain_request *request, bool *has_length) {
    const char *name = bytes + from, *stop = bytes + to, *colon = name;
    while (colon < stop && is_token((unsigned char)*colon)) colon++;
    if (colon == name || colon == stop || *colon != ':') return false;
    size_t name_bytes = (size_t)(colon - name);
    const char *value = colon + 1;
    while (value < stop && (*value == ' ' || *value == '\t')) value++;
    while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t')) stop--;
    for (const char *at = value; at < stop; at++) {
        if ((unsigned char)*at < 0x20 || (unsigned char)*at > 0x7e) return false;
    }
    size_t count = (size_t)(stop - value);
    switch (name_bytes) {
    case 6:
        return !is_same(name, name_bytes, "expect");
    case 7:
        return !is_same(name, name_bytes, "upgrade");
    case 10:
        if (!is_same(name, name_bytes, "connection")) return true;
        return request->keeps_alive = is_same(value, count, "keep-alive");
    case 12:
        if (!is_same(name, name_bytes, "x-amz-target")) return true;
        if (request->target_bytes != 0) return false;
        request->target_at = (uint32_t)(value - bytes);
        request->target_bytes = (uint32_t)count;
        return true;
    case 14:
        if (!is_same(name, name_bytes, "content-length")) return true;
        if (*has_length) return false;
        return *has_length = parse_length(value, count, &request->body_bytes);
    case 16:
        return !is_same(name, name_bytes, "content-encoding") && !is_same(name, name_bytes, "proxy-connection");
    case 17:
        return !is_same(name, name_bytes, "transfer-encoding");
    default:
        return true;
    }
}

enum parsed parse_plain_request(const char *bytes, size_t count, size_t head_bytes_max, struct plain_request *request) {
    size_t line_bytes = count < REQUEST_LINE_BYTES ? count : REQUEST_LINE_BYTES;
    if (memcmp(bytes, REQUEST_LINE, line_bytes) != 0) return OTHER;
    const char *empty = memmem(bytes, count < head_bytes_max ? count : head_bytes_max, "\r\n\r\n", 4);
    if (empty == NULL) return count >= head_bytes_max ? OTHER : INCOMPLETE;
    size_t stop = (size_t)(empty - bytes) + 2;
    memset(request, 0, sizeof *request);
    bool has_length = false;
    for (size_t from = REQUEST_LINE_BYTES; from < stop;) {
        const char *line_end = memmem(bytes + from, stop - from, "\r\n", 2);
        size_t to = (size_t)(line_end - bytes);
        if (!parse_header(bytes, from, to, request, &has_length)) return OTHER;
        from = to + 2;
    }
    request->head_bytes = (uint32_t)stop + 2;
    return has_length ? COMPLETE : OTHER;
}
