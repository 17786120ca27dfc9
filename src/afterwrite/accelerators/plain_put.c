/* Puts that are certainly valid, read in one pass: the bodies of PutItem and BatchWriteItem, and items in plain JSON.
 *
 * What comes out of an item is what Python would make of it: its canonical JSON text, its size, its key. What is not of
 * the plain form (a condition, a set, a number that is not written as the store writes it, anything invalid) is not for
 * here: Python reads it, and has the words for what is wrong with it.
 */
#include "plain_put.h"

#include "blake2b.h"
#include "json_scan.h"

#define ATTRIBUTES_MAX 64
#define LEVELS_MAX 16
#define NUMBER_BYTES_MAX 38
#define BASE64_DIGITS 64
#define KEY_CHARACTERS_MAX 256 /* as many characters are within every limit, in whatever encoding */
#define ITEM_BYTES_MAX 65535   /* and so are all names of such an item */
#define DIGEST_BYTES 16
#define VALUE_HEAD_BYTES 12 /* the item's size, and when it expires */
#define FIELD_BYTES_MAX 32
#define NAME_BYTES_MAX 264
#define EXPIRY_DIGITS_MAX 18

struct member {
    struct text name, value;
    char type; /* S or N, 0 of others */
};

/* Reads a value that stands on a level of an item. */
typedef bool value_reader(struct scan *scan, struct member *member, int level);

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
    } else if (is(&type.json, "B", 1)) {
        if (!read_text(scan, &member->value) || !binary_size(&member->value.json, &count)) return false;
        scan->size += count;
    } else if (is(&type.json, "BOOL", 4)) {
        if (!read_word(scan, "true", 4) && !read_word(scan, "false", 5)) return false;
        scan->size += 1;
    } else if (is(&type.json, "NULL", 4)) {
        if (!read_word(scan, "true", 4)) return false;
        scan->size += 1;
    } else if (is(&type.json, "M", 1)) {
        scan->size += 3;
        if (!read_members(scan, read_value, NULL, &count, level + 1)) return false;
        scan->size += count;
    } else if (is(&type.json, "L", 1)) {
        scan->size += 3;
        if (!read_list(scan, read_value, level + 1)) return false;
    } else {
        return false;
    }
    return pass(scan, '}') && emit(scan, "}", 1);
}

/* Read a whole number without quotes, and write it with them. */
static bool read_whole(struct scan *scan, struct text *found) {
    const uint8_t *from = scan->at;
    if (*scan->at == '-') scan->at++;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') scan->at++;
    found->size = found->json.bytes = (size_t)(scan->at - from);
    if (!emit(scan, "\"", 1)) return false;
    found->json.at = scan->out;
    return emit(scan, (const char *)from, found->size) && emit(scan, "\"", 1);
}

/* Read a value as plain JSON has it, and write it as an attribute value: "..." as {"S":"..."} and the like. */
static bool read_plain_value(struct scan *scan, struct member *member, int level) {
    size_t count;
    skip_space(scan);
    if (level > LEVELS_MAX || scan->at == scan->end) return false;
    member->type = 0;
    switch (*scan->at) {
    case '"':
        if (!emit(scan, "{\"S\":", 5) || !read_text(scan, &member->value)) return false;
        member->type = 'S';
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
        member->type = 'N';
        scan->size += count;
    }
    return emit(scan, "}", 1);
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
            if (!read_members(&scan, read_value, members, &count, 1)) return false;
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
        if (!pass_field(&scan, "Item", 4) || !read_members(&scan, read_value, members, &count, 1)) return 0;
        if (!pass(&scan, '}') || !pass(&scan, '}') || !end_put(&scan, put, members, count, &table)) return 0;
    } while (next_is(&scan, ',') && pass(&scan, ','));
    return pass(&scan, ']') && pass(&scan, '}') && pass(&scan, '}') && is_at_end(&scan) ? puts : 0;
}

/* Read items that stand in a list, in plain JSON, as puts into the table `name`, in the same way. */
uint32_t plain_items(const uint8_t *tables, size_t tables_bytes, const uint8_t *name, size_t name_bytes,
                     const uint8_t *body, size_t body_bytes, uint8_t *out, size_t out_bytes, uint32_t puts_max) {
    struct table table;
    struct member members[ATTRIBUTES_MAX];
    struct span named = {name, name_bytes};
    uint8_t *put;
    size_t count;
    uint32_t puts = 0;
    struct scan scan = {body, body + body_bytes, out, out + out_bytes, 0};
    if (!find_table(tables, tables_bytes, &named, &table) || !pass(&scan, '[')) return 0;
    do {
        if (++puts > puts_max || !begin_put(&scan, &put)) return 0;
        if (!read_members(&scan, read_plain_value, members, &count, 1)) return 0;
        if (!end_put(&scan, put, members, count, &table)) return 0;
    } while (next_is(&scan, ',') && pass(&scan, ','));
    return pass(&scan, ']') && is_at_end(&scan) ? puts : 0;
}
