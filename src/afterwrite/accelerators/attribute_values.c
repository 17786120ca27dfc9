/* Attribute values that are certainly valid: read in one pass, and written in the one way in which the store writes them.
 *
 * What comes out is what Python would make of them. What is not of the plain form (a set, a number that is not written
 * as the store writes it, anything invalid) is not for here: Python reads it, and has the words for what is wrong.
 */
#include "attribute_values.h"

#define LEVELS_MAX 16
#define NUMBER_BYTES_MAX 38
#define BASE64_DIGITS 64

/* Reads a value that stands on a level of an item. */
typedef bool value_reader(struct scan *scan, struct member *member, int level);

/* One byte, one more for each pair of digits from the first to the last that is not 00, counted from the decimal point,
 * and one for a sign. */
size_t number_size(const struct span *number) {
    const uint8_t *at = number->at, *end = at + number->bytes;
    bool negative = at < end && *at == '-';
    if (number->bytes == 0 || number->bytes > NUMBER_BYTES_MAX) return 0;
    if (negative) at++;
    const uint8_t *whole = at;
    while (at < end && *at >= '0' && *at <= '9') at++;
    size_t whole_bytes = (size_t)(at - whole);
    if (whole_bytes == 0 || (*whole == '0' && whole_bytes > 1)) return 0;
    if (at == end) {
        if (*whole == '0') return negative ? 0 : 1;
        size_t zeros = 0;
        while (end[-1 - (ptrdiff_t)zeros] == '0') zeros++;
        return 1 + (whole_bytes + 1) / 2 - zeros / 2 + negative;
    }
    const uint8_t *fraction = ++at;
    if (fraction[-1] != '.') return 0;
    while (at < end && *at >= '0' && *at <= '9') at++;
    size_t fraction_bytes = (size_t)(at - fraction);
    if (at != end || fraction_bytes == 0 || end[-1] == '0') return 0;
    size_t pairs = (fraction_bytes + 1) / 2;
    if (*whole == '0') {
        size_t zeros = 0;
        while (fraction[zeros] == '0') zeros++;
        pairs -= zeros / 2;
    } else {
        pairs += (whole_bytes + 1) / 2;
    }
    return 1 + pairs + negative;
}

/* What a base64 digit stands for, BASE64_DIGITS for any other byte. */
static uint8_t base64_digit(uint8_t byte) {
    if (byte >= 'A' && byte <= 'Z') return byte - 'A';
    if (byte >= 'a' && byte <= 'z') return byte - 'a' + 26;
    if (byte >= '0' && byte <= '9') return byte - '0' + 52;
    return byte == '+' ? 62 : byte == '/' ? 63 : BASE64_DIGITS;
}

/* How many bytes a base64 text stands for; false where it is none, or has spare bits that are not zero. */
static bool binary_size(const struct span *text, size_t *bytes) {
    size_t digits = text->bytes, pads = 0;
    if (digits % 4 != 0) return false;
    while (pads < 2 && digits > 0 && text->at[digits - 1] == '=') pads++, digits--;
    for (size_t index = 0; index < digits; index++)
        if (base64_digit(text->at[index]) == BASE64_DIGITS) return false;
    uint8_t spare = pads == 2 ? 15 : pads == 1 ? 3 : 0;
    if (pads > 0 && (base64_digit(text->at[digits - 1]) & spare) != 0) return false;
    *bytes = text->bytes / 4 * 3 - pads;
    return true;
}

/* Read the members of a map, each a name and a value; `members` are those of the item itself, else NULL. */
static bool read_members(struct scan *scan, value_reader *read, struct member *members, size_t *count, int level) {
    struct member own[ATTRIBUTES_MAX];
    if (members == NULL) members = own;
    *count = 0;
    if (!pass(scan, '{') || !emit(scan, "{", 1)) return false;
    if (next_is(scan, '}')) return pass(scan, '}') && emit(scan, "}", 1);
    do {
        if (*count == ATTRIBUTES_MAX || (*count > 0 && !emit(scan, ",", 1))) return false;
        struct member *member = &members[*count];
        if (!read_text(scan, &member->name) || member->name.size == 0) return false;
        if (!pass(scan, ':') || !emit(scan, ":", 1)) return false;
        /* Of a name that comes twice the last counts: that is rare. */
        for (size_t other = 0; other < *count; other++)
            if (is_same(&members[other].name.json, &member->name.json)) return false;
        scan->size += member->name.size;
        if (!read(scan, member, level)) return false;
        ++*count;
    } while (next_is(scan, ',') && pass(scan, ','));
    return pass(scan, '}') && emit(scan, "}", 1);
}

static bool read_list(struct scan *scan, value_reader *read, int level) {
    struct member member;
    if (!pass(scan, '[') || !emit(scan, "[", 1)) return false;
    if (next_is(scan, ']')) return pass(scan, ']') && emit(scan, "]", 1);
    bool first = true;
    do {
        if (!first && !emit(scan, ",", 1)) return false;
        first = false;
        scan->size += 1;
        if (!read(scan, &member, level)) return false;
    } while (next_is(scan, ',') && pass(scan, ','));
    return pass(scan, ']') && emit(scan, "]", 1);
}

/* Keep where a value was written, and its size, which is what the scan's has grown by. */
static bool keep(const struct scan *scan, struct member *member, const uint8_t *from, size_t before) {
    member->whole = (struct span){from, (size_t)(scan->out - from)};
    member->size = scan->size - before;
    return true;
}

/* Read an attribute value, {"S":"..."} and the like. */
bool read_value(struct scan *scan, struct member *member, int level) {
    struct text type;
    size_t count, before = scan->size;
    uint8_t *from = scan->out;
    member->value = (struct text){{from, 0}, 0};
    if (level > LEVELS_MAX || !pass(scan, '{') || !emit(scan, "{", 1)) return false;
    if (!read_text(scan, &type) || !pass(scan, ':') || !emit(scan, ":", 1)) return false;
    if (is(&type.json, "S", 1)) {
        if (!read_text(scan, &member->value)) return false;
        member->type = STRING;
        scan->size += member->value.size;
    } else if (is(&type.json, "N", 1)) {
        if (!read_text(scan, &member->value) || (count = number_size(&member->value.json)) == 0) return false;
        member->type = NUMBER;
        scan->size += count;
    } else if (is(&type.json, "B", 1)) {
        if (!read_text(scan, &member->value) || !binary_size(&member->value.json, &count)) return false;
        member->type = BINARY;
        scan->size += count;
    } else if (is(&type.json, "BOOL", 4)) {
        if (!read_word(scan, "true", 4) && !read_word(scan, "false", 5)) return false;
        member->type = BOOLEAN;
        scan->size += 1;
    } else if (is(&type.json, "NULL", 4)) {
        if (!read_word(scan, "true", 4)) return false;
        member->type = NOTHING;
        scan->size += 1;
    } else if (is(&type.json, "M", 1)) {
        member->type = MAP;
        scan->size += 3;
        if (!read_members(scan, read_value, NULL, &count, level + 1)) return false;
        scan->size += count;
    } else if (is(&type.json, "L", 1)) {
        member->type = LIST;
        scan->size += 3;
        if (!read_list(scan, read_value, level + 1)) return false;
    } else {
        return false;
    }
    return pass(scan, '}') && emit(scan, "}", 1) && keep(scan, member, from, before);
}

/* Read a whole number without quotes, and write it with them. */
static bool read_whole(struct scan *scan, struct text *found) {
    const uint8_t *from = scan->at;
    if (*scan->at == '-') scan->at++;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') scan->at++;
    found->size = found->json.bytes = (size_t)(scan->at - from);
    if (!emit(scan, "\"", 1)) return false;
    found->json.at = scan->out;
    return emit(scan, from, found->size) && emit(scan, "\"", 1);
}

/* Read a value as plain JSON has it, and write it as an attribute value: "..." as {"S":"..."} and the like. */
static bool read_plain_value(struct scan *scan, struct member *member, int level) {
    size_t count, before = scan->size;
    uint8_t *from = scan->out;
    skip_space(scan);
    if (level > LEVELS_MAX || scan->at == scan->end) return false;
    member->type = OTHER;
    switch (*scan->at) {
    case '"':
        if (!emit(scan, "{\"S\":", 5) || !read_text(scan, &member->value)) return false;
        member->type = STRING;
        scan->size += member->value.size;
        break;
    case '{':
        if (!emit(scan, "{\"M\":", 5)) return false;
        if (!read_members(scan, read_plain_value, NULL, &count, level + 1)) return false;
        scan->size += 3 + count;
        break;
    case '[':
        if (!emit(scan, "{\"L\":", 5) || !read_list(scan, read_plain_value, level + 1)) return false;
        scan->size += 3;
        break;
    case 't':
    case 'f':
        if (!emit(scan, "{\"BOOL\":", 8)) return false;
        if (!read_word(scan, "true", 4) && !read_word(scan, "false", 5)) return false;
        scan->size += 1;
        break;
    case 'n':
        if (scan->end - scan->at < 4 || memcmp(scan->at, "null", 4) != 0) return false;
        scan->at += 4;
        if (!emit(scan, "{\"NULL\":true", 12)) return false;
        scan->size += 1;
        break;
    default:
        if (!emit(scan, "{\"N\":", 5) || !read_whole(scan, &member->value)) return false;
        if ((count = number_size(&member->value.json)) == 0) return false;
        member->type = NUMBER;
        scan->size += count;
    }
    return emit(scan, "}", 1) && keep(scan, member, from, before);
}

bool read_item(struct scan *scan, struct member *members, size_t *count) {
    return read_members(scan, read_value, members, count, 1);
}

bool read_plain_item(struct scan *scan, struct member *members, size_t *count) {
    return read_members(scan, read_plain_value, members, count, 1);
}

const struct member *named(const struct member *members, size_t count, const struct span *name) {
    for (size_t index = 0; index < count; index++)
        if (is_same(&members[index].name.json, name)) return &members[index];
    return NULL;
}
