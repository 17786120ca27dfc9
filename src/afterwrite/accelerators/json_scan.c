/* Texts in JSON: checked, and written again in the one way in which the store writes them. */
#include "json_scan.h"

static const char hex[] = "0123456789abcdef";

/* How many bytes the UTF-8 character at `at` has; 0 where none stands there. */
static size_t character_bytes(const uint8_t *at, const uint8_t *end) {
    uint8_t first = at[0];
    size_t count = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || (size_t)(end - at) < count) return 0;
    for (size_t index = 1; index < count; index++)
        if ((at[index] & 0xc0) != 0x80) return 0;
    if (first == 0xe0 && at[1] < 0xa0) return 0;
    if (first == 0xed && at[1] > 0x9f) return 0;
    if (first == 0xf0 && at[1] < 0x90) return 0;
    if (first == 0xf4 && at[1] > 0x8f) return 0;
    return count;
}

static bool read_hex(struct scan *scan, uint32_t *unit) {
    if (scan->end - scan->at < 4) return false;
    *unit = 0;
    for (size_t index = 0; index < 4; index++) {
        uint8_t digit = *scan->at++;
        uint32_t value;
        if (digit >= '0' && digit <= '9') value = digit - '0';
        else if (digit >= 'a' && digit <= 'f') value = digit - 'a' + 10;
        else if (digit >= 'A' && digit <= 'F') value = digit - 'A' + 10;
        else return false;
        *unit = *unit << 4 | value;
    }
    return true;
}

/* Write a character as canonical JSON has it; there is room for six bytes. How many bytes of UTF-8 it is. */
static size_t emit_character(struct scan *scan, uint32_t character) {
    static const char short_escapes[] = "\bb\tt\nn\ff\rr\"\"\\\\";
    uint8_t *out = scan->out;
    size_t count;
    if (character < 0x20 || character == '"' || character == '\\') {
        *out++ = '\\';
        for (const char *each = short_escapes; *each != 0; each += 2) {
            if ((uint32_t)*each == character) {
                *out++ = (uint8_t)each[1];
                scan->out = out;
                return 1;
            }
        }
        memcpy(out, "u00", 3);
        out[3] = (uint8_t)hex[character >> 4];
        out[4] = (uint8_t)hex[character & 15];
        scan->out = out + 5;
        return 1;
    }
    if (character < 0x80) {
        *out++ = (uint8_t)character;
        count = 1;
    } else if (character < 0x800) {
        *out++ = (uint8_t)(0xc0 | character >> 6);
        count = 2;
    } else if (character < 0x10000) {
        *out++ = (uint8_t)(0xe0 | character >> 12);
        count = 3;
    } else {
        *out++ = (uint8_t)(0xf0 | character >> 18);
        count = 4;
    }
    for (size_t left = count - 1; left > 0; left--) *out++ = (uint8_t)(0x80 | (character >> 6 * (left - 1) & 0x3f));
    scan->out = out;
    return count;
}

/* Read what follows a backslash. How many bytes of UTF-8 it stands for, 0 where it is invalid. */
static size_t read_escape(struct scan *scan) {
    static const char escapes[] = "b\bt\tn\nf\fr\r\"\"\\\\//";
    if (scan->at == scan->end) return 0;
    uint8_t kind = *scan->at++;
    if (kind != 'u') {
        for (const char *each = escapes; *each != 0; each += 2)
            if ((uint8_t)*each == kind) return emit_character(scan, (uint32_t)each[1]);
        return 0;
    }
    uint32_t character, low;
    if (!read_hex(scan, &character)) return 0;
    if (character >= 0xd800 && character < 0xe000) {
        if (character >= 0xdc00 || scan->end - scan->at < 6 || scan->at[0] != '\\' || scan->at[1] != 'u') return 0;
        scan->at += 2;
        if (!read_hex(scan, &low) || low < 0xdc00 || low >= 0xe000) return 0;
        character = 0x10000 + ((character - 0xd800) << 10) + (low - 0xdc00);
    }
    return emit_character(scan, character);
}

/* How many bytes from `at` on are characters that stand in JSON as they are: ASCII, no control, quote, or backslash. */
static size_t plain_bytes(const uint8_t *at, const uint8_t *end) {
    const uint64_t ones = 0x0101010101010101, highs = 0x8080808080808080;
    const uint8_t *from = at;
    for (; end - at >= 8; at += 8) {
        uint64_t word, quote, backslash;
        memcpy(&word, at, 8);
        quote = word ^ ones * '"';
        backslash = word ^ ones * '\\';
        /* A byte's highest bit is set where it is, or where it is less than what is taken from it. */
        if ((word | (word - ones * 0x20) | (quote - ones) | (backslash - ones)) & highs) break;
    }
    while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\') at++;
    return (size_t)(at - from);
}

/* Read a JSON text and write it as the store writes it. */
bool read_text(struct scan *scan, struct text *found) {
    if (!pass(scan, '"') || !emit(scan, "\"", 1)) return false;
    found->json.at = scan->out;
    found->size = 0;
    for (;;) {
        size_t count = plain_bytes(scan->at, scan->end);
        if (!emit(scan, scan->at, count)) return false;
        scan->at += count;
        found->size += count;
        if (scan->at == scan->end || scan->out_end - scan->out < 6) return false;
        if (*scan->at == '"') {
            scan->at++;
            found->json.bytes = (size_t)(scan->out - found->json.at);
            *scan->out++ = '"';
            return true;
        }
        if (*scan->at == '\\') {
            scan->at++;
            if ((count = read_escape(scan)) == 0) return false;
        } else {
            if (*scan->at < 0x80 || (count = character_bytes(scan->at, scan->end)) == 0) return false;
            emit(scan, scan->at, count);
            scan->at += count;
        }
        found->size += count;
    }
}
