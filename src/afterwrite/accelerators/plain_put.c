/* The bodies of PutItem and BatchWriteItem that are certainly valid, read in one pass.
 *
 * What comes out of an item is what Python would make of it: its canonical JSON text, its size, its key. A body that is
 * not of the plain form (a condition, a set, binary, a number that is not written as the store writes it, anything
 * invalid) is not for here: Python reads it, and has the words for what is wrong with it.
 */
#include "plain_put.h"

#include "blake2b.h"

#include <stdbool.h>
#include <string.h>

#define ATTRIBUTES_MAX 64
#define LEVELS_MAX 16
#define NUMBER_BYTES_MAX 38
#define KEY_CHARACTERS_MAX 256 /* as many characters are within every limit, in whatever encoding */
#define ITEM_BYTES_MAX 65535   /* and so are all names of such an item */
#define DIGEST_BYTES 16
#define VALUE_HEAD_BYTES 12 /* the item's size, and when it expires */
#define FIELD_BYTES_MAX 32
#define NAME_BYTES_MAX 264
#define EXPIRY_DIGITS_MAX 18

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

struct member {
    struct text name, value;
    char type; /* S or N, 0 of others */
};

static const char hex[] = "0123456789abcdef";

static bool emit(struct scan *scan, const char *bytes, size_t count) {
    if ((size_t)(scan->out_end - scan->out) < count) return false;
    memcpy(scan->out, bytes, count);
    scan->out += count;
    return true;
}

static void skip_space(struct scan *scan) {
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r'))
        scan->at++;
}

/* Pass `expected`, and the space before it. */
static bool pass(struct scan *scan, uint8_t expected) {
    skip_space(scan);
    if (scan->at == scan->end || *scan->at != expected) return false;
    scan->at++;
    return true;
}

static bool next_is(struct scan *scan, uint8_t expected) {
    skip_space(scan);
    return scan->at < scan->end && *scan->at == expected;
}

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
static bool read_text(struct scan *scan, struct text *found) {
    if (!pass(scan, '"') || !emit(scan, "\"", 1)) return false;
    found->json.at = scan->out;
    found->size = 0;
    for (;;) {
        size_t count = plain_bytes(scan->at, scan->end);
        if (!emit(scan, (const char *)scan->at, count)) return false;
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
            emit(scan, (const char *)scan->at, count);
            scan->at += count;
        }
        found->size += count;
    }
}

static bool is(const struct span *span, const char *expected, size_t bytes) {
    return span->bytes == bytes && memcmp(span->at, expected, bytes) == 0;
}

static bool is_same(const struct span *one, const struct span *other) {
    return one->bytes == other->bytes && memcmp(one->at, other->at, one->bytes) == 0;
}

/* The bytes that a number counts for, 0 where it is not written as the store writes it. One byte, one more for each
 * pair of digits from the first to the last that is not 00, counted from the decimal point, and one for a sign. */
static size_t number_size(const struct span *number) {
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

static bool read_value(struct scan *scan, struct member *member, int level);

/* Read the members of a map, each a name and a value; `members` are those of the item itself, else NULL. */
static bool read_members(struct scan *scan, struct member *members, size_t *count, int level) {
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
        if (!read_value(scan, member, level)) return false;
        ++*count;
    } while (next_is(scan, ',') && pass(scan, ','));
    return pass(scan, '}') && emit(scan, "}", 1);
}

static bool read_list(struct scan *scan, int level) {
    struct member member;
    if (!pass(scan, '[') || !emit(scan, "[", 1)) return false;
    if (next_is(scan, ']')) return pass(scan, ']') && emit(scan, "]", 1);
    bool first = true;
    do {
        if (!first && !emit(scan, ",", 1)) return false;
        first = false;
        scan->size += 1;
        if (!read_value(scan, &member, level)) return false;
    } while (next_is(scan, ',') && pass(scan, ','));
    return pass(scan, ']') && emit(scan, "]", 1);
}

static bool read_word(struct scan *scan, const char *word, size_t bytes) {
    skip_space(scan);
    if ((size_t)(scan->end - scan->at) < bytes || memcmp(scan->at, word, bytes) != 0) return false;
    scan->at += bytes;
    return emit(scan, word, bytes);
}

/* Read an attribute value, {"S":"..."} and the like. */
static bool read_value(struct scan *scan, struct member *member, int level) {
    struct text type;
    size_t count;
    if (level > LEVELS_MAX || !pass(scan, '{') || !emit(scan, "{", 1)) return false;
    if (!read_text(scan, &type) || !pass(scan, ':') || !emit(scan, ":", 1)) return false;
    member->type = 0;
    if (is(&type.json, "S", 1)) {
        if (!read_text(scan, &member->value)) return false;
        member->type = 'S';
        scan->size += member->value.size;
    } else if (is(&type.json, "N", 1)) {
        if (!read_text(scan, &member->value) || (count = number_size(&member->value.json)) == 0) return false;
        member->type = 'N';
        scan->size += count;
    } else if (is(&type.json, "BOOL", 4)) {
        if (!read_word(scan, "true", 4) && !read_word(scan, "false", 5)) return false;
        scan->size += 1;
    } else if (is(&type.json, "NULL", 4)) {
        if (!read_word(scan, "true", 4)) return false;
        scan->size += 1;
    } else if (is(&type.json, "M", 1)) {
        scan->size += 3;
        if (!read_members(scan, NULL, &count, level + 1)) return false;
        scan->size += count;
    } else if (is(&type.json, "L", 1)) {
        scan->size += 3;
        if (!read_list(scan, level + 1)) return false;
    } else {
        return false;
    }
    return pass(scan, '}') && emit(scan, "}", 1);
}

/* The member of an item with a name, as JSON writes it; NULL where there is none. */
static const struct member *named(const struct member *members, size_t count, const struct span *name) {
    for (size_t index = 0; index < count; index++)
        if (is_same(&members[index].name.json, name)) return &members[index];
    return NULL;
}

/* A text that may be a key, and stands in JSON as it is. */
static bool is_plain_key(const struct member *member) {
    if (member == NULL || member->type != 'S') return false;
    const struct text *value = &member->value;
    return value->size > 0 && value->size <= KEY_CHARACTERS_MAX && value->size == value->json.bytes;
}

static bool emit_key(struct scan *scan, const struct member *member) {
    const struct span *name = &member->name.json, *value = &member->value.json;
    return emit(scan, "\"", 1) && emit(scan, (const char *)name->at, name->bytes) && emit(scan, "\":{\"S\":\"", 8) &&
           emit(scan, (const char *)value->at, value->bytes) && emit(scan, "\"}", 2);
}

static void store_big_endian(uint8_t *at, uint64_t number, size_t bytes) {
    while (bytes-- > 0) {
        at[bytes] = (uint8_t)number;
        number >>= 8;
    }
}

static bool emit_place(struct scan *scan, uint32_t table, const struct member *partition, const struct member *sort) {
    uint8_t number[4], message[1 + KEY_CHARACTERS_MAX], digest[DIGEST_BYTES];
    store_big_endian(number, table, sizeof number);
    if (!emit(scan, (const char *)number, sizeof number)) return false;
    message[0] = 'S';
    memcpy(message + 1, partition->value.json.at, partition->value.json.bytes);
    blake2b(digest, DIGEST_BYTES, message, 1 + partition->value.json.bytes);
    if (!emit(scan, (const char *)digest, DIGEST_BYTES)) return false;
    return sort == NULL || emit(scan, (const char *)sort->value.json.at, sort->value.json.bytes);
}

/* The second at which the item expires, 0 for never; false where its number is too long for here. */
static bool expiry_of(const struct member *member, uint64_t *expires_at) {
    *expires_at = 0;
    if (member == NULL || member->type != 'N' || *member->value.json.at == '-') return true;
    const struct span *number = &member->value.json;
    for (size_t index = 0; index < number->bytes && number->at[index] != '.'; index++) {
        if (index == EXPIRY_DIGITS_MAX) return false;
        *expires_at = *expires_at * 10 + (number->at[index] - '0');
    }
    return true;
}

/* A table: its number among those given and in the store, and the names of its partition key, its sort key and its
 * time to live; none has no bytes. */
struct table {
    uint32_t number, stored;
    struct span partition_key, sort_key, expiry;
};

static struct span span_of(const uint8_t **at, size_t bytes) {
    struct span span = {*at, bytes};
    *at += bytes;
    return span;
}

/* Find the table `name` among `tables`. */
static bool find_table(const uint8_t *tables, size_t tables_bytes, const struct span *name, struct table *table) {
    struct plain_table head;
    table->number = 0;
    for (const uint8_t *at = tables; at < tables + tables_bytes; table->number++) {
        memcpy(&head, at, sizeof head);
        at += sizeof head;
        table->stored = head.number;
        struct span its_name = span_of(&at, head.name_bytes);
        table->partition_key = span_of(&at, head.partition_key_bytes);
        table->sort_key = span_of(&at, head.sort_key_bytes);
        table->expiry = span_of(&at, head.expiry_bytes);
        if (is_same(name, &its_name)) return true;
    }
    return false;
}

/* Leave room for what stands before an item's text. */
static bool begin_put(struct scan *scan, uint8_t **put) {
    *put = scan->out;
    scan->size = 0;
    if ((size_t)(scan->out_end - scan->out) < sizeof(struct plain_put) + VALUE_HEAD_BYTES) return false;
    scan->out += sizeof(struct plain_put) + VALUE_HEAD_BYTES;
    return true;
}

/* Complete the put of an item that was read since `begin_put`. */
static bool end_put(struct scan *scan, uint8_t *at, const struct member *members, size_t count,
                    const struct table *table) {
    struct plain_put put;
    uint64_t expires_at;
    const struct member *partition = named(members, count, &table->partition_key), *sort = NULL;
    if (scan->size > ITEM_BYTES_MAX || !is_plain_key(partition)) return false;
    put.table = table->number;
    put.item_size = (uint32_t)scan->size;
    put.key_size = (uint32_t)(partition->name.size + partition->value.size);
    if (table->sort_key.bytes > 0) {
        sort = named(members, count, &table->sort_key);
        if (!is_plain_key(sort)) return false;
        put.key_size += (uint32_t)(sort->name.size + sort->value.size);
    }
    if (!expiry_of(table->expiry.bytes == 0 ? NULL : named(members, count, &table->expiry), &expires_at)) return false;
    uint8_t *value = at + sizeof put;
    store_big_endian(value, put.item_size, 4);
    store_big_endian(value + 4, expires_at, 8);
    put.value_bytes = (uint32_t)(scan->out - value);
    uint8_t *key = scan->out;
    if (!emit(scan, "{", 1) || !emit_key(scan, partition)) return false;
    if (sort != NULL && (!emit(scan, ",", 1) || !emit_key(scan, sort))) return false;
    if (!emit(scan, "}", 1)) return false;
    put.key_bytes = (uint32_t)(scan->out - key);
    uint8_t *place = scan->out;
    if (!emit_place(scan, table->stored, partition, sort)) return false;
    put.place_bytes = (uint32_t)(scan->out - place);
    memcpy(at, &put, sizeof put);
    return true;
}

/* Read a text that is not of an item into `bytes`. */
static bool read_name(struct scan *scan, uint8_t *bytes, size_t room, struct text *name) {
    struct scan apart = {scan->at, scan->end, bytes, bytes + room, 0};
    if (!read_text(&apart, name)) return false;
    scan->at = apart.at;
    return true;
}

/* Pass a field with this name, and the colon. */
static bool pass_field(struct scan *scan, const char *expected, size_t expected_bytes) {
    uint8_t bytes[FIELD_BYTES_MAX];
    struct text field;
    return read_name(scan, bytes, sizeof bytes, &field) && is(&field.json, expected, expected_bytes) && pass(scan, ':');
}

static bool is_at_end(struct scan *scan) {
    skip_space(scan);
    return scan->at == scan->end;
}

/* Read the body of a PutItem into any of `tables`, nothing but a table and an item; false where it is not of the plain
 * form. `out` is then a `struct plain_put` with its bytes. */
bool plain_put(const uint8_t *tables, size_t tables_bytes, const uint8_t *body, size_t body_bytes, uint8_t *out,
               size_t out_bytes) {
    struct table table;
    struct member members[ATTRIBUTES_MAX];
    struct text field, name;
    uint8_t field_bytes[FIELD_BYTES_MAX], name_bytes[NAME_BYTES_MAX], *put;
    size_t count;
    bool has_table = false, has_item = false;
    struct scan scan = {body, body + body_bytes, out, out + out_bytes, 0};
    if (!begin_put(&scan, &put) || !pass(&scan, '{')) return false;
    do {
        if (!read_name(&scan, field_bytes, sizeof field_bytes, &field) || !pass(&scan, ':')) return false;
        if (is(&field.json, "TableName", 9) && !has_table) {
            has_table = true;
            if (!read_name(&scan, name_bytes, sizeof name_bytes, &name)) return false;
        } else if (is(&field.json, "Item", 4) && !has_item) {
            has_item = true;
            if (!read_members(&scan, members, &count, 1)) return false;
        } else {
            return false;
        }
    } while (next_is(&scan, ',') && pass(&scan, ','));
    if (!has_table || !has_item || !pass(&scan, '}') || !is_at_end(&scan)) return false;
    return find_table(tables, tables_bytes, &name.json, &table) && end_put(&scan, put, members, count, &table);
}

/* Read the body of a BatchWriteItem that puts at most `puts_max` items into one of `tables`, and nothing else. How many
 * they are, 0 where it is not of the plain form; `out` is then as many `struct plain_put`, each with its bytes. */
uint32_t plain_puts(const uint8_t *tables, size_t tables_bytes, const uint8_t *body, size_t body_bytes, uint8_t *out,
                    size_t out_bytes, uint32_t puts_max) {
    struct table table;
    struct member members[ATTRIBUTES_MAX];
    struct text name;
    uint8_t name_bytes[NAME_BYTES_MAX], *put;
    size_t count;
    uint32_t puts = 0;
    struct scan scan = {body, body + body_bytes, out, out + out_bytes, 0};
    if (!pass(&scan, '{') || !pass_field(&scan, "RequestItems", 12) || !pass(&scan, '{')) return 0;
    if (!read_name(&scan, name_bytes, sizeof name_bytes, &name) || !pass(&scan, ':') || !pass(&scan, '[')) return 0;
    if (!find_table(tables, tables_bytes, &name.json, &table)) return 0;
    do {
        if (++puts > puts_max || !begin_put(&scan, &put)) return 0;
        if (!pass(&scan, '{') || !pass_field(&scan, "PutRequest", 10) || !pass(&scan, '{')) return 0;
        if (!pass_field(&scan, "Item", 4) || !read_members(&scan, members, &count, 1)) return 0;
        if (!pass(&scan, '}') || !pass(&scan, '}') || !end_put(&scan, put, members, count, &table)) return 0;
    } while (next_is(&scan, ',') && pass(&scan, ','));
    return pass(&scan, ']') && pass(&scan, '}') && pass(&scan, '}') && is_at_end(&scan) ? puts : 0;
}
