/* Items that are written: where they are stored, and what stands before and behind their texts. */
#include "plain_item.h"

#include "big_endian.h"
#include "blake2b.h"

#define KEY_CHARACTERS_MAX 256 /* as many characters are within every limit, in whatever encoding */
#define DIGEST_BYTES 16
#define EXPIRY_DIGITS_MAX 18

/* A text that may be a key, and stands in JSON as it is. */
static bool is_plain_key(const struct member *member) {
    if (member == NULL || member->type != STRING) return false;
    const struct text *value = &member->value;
    return value->size > 0 && value->size <= KEY_CHARACTERS_MAX && value->size == value->json.bytes;
}

static bool emit_attribute(struct scan *scan, const struct member *member) {
    return emit_name(scan, &member->name.json) && emit_span(scan, &member->whole);
}

static bool emit_key(struct scan *scan, const struct member *partition, const struct member *sort) {
    if (!emit(scan, "{", 1) || !emit_attribute(scan, partition)) return false;
    if (sort != NULL && (!emit(scan, ",", 1) || !emit_attribute(scan, sort))) return false;
    return emit(scan, "}", 1);
}

static bool emit_place(struct scan *scan, uint32_t table, const struct member *partition, const struct member *sort) {
    uint8_t number[4], message[1 + KEY_CHARACTERS_MAX], digest[DIGEST_BYTES];
    store_big_endian(number, table, sizeof number);
    if (!emit(scan, number, sizeof number)) return false;
    message[0] = 'S';
    memcpy(message + 1, partition->value.json.at, partition->value.json.bytes);
    blake2b(digest, DIGEST_BYTES, message, 1 + partition->value.json.bytes);
    if (!emit(scan, digest, DIGEST_BYTES)) return false;
    return sort == NULL || emit_span(scan, &sort->value.json);
}

bool expiry_of(const struct member *member, uint64_t *expires_at) {
    *expires_at = 0;
    if (member == NULL || member->type != NUMBER || *member->value.json.at == '-') return true;
    const struct span *number = &member->value.json;
    for (size_t index = 0; index < number->bytes && number->at[index] != '.'; index++) {
        if (index == EXPIRY_DIGITS_MAX) return false;
        *expires_at = *expires_at * 10 + (number->at[index] - '0');
    }
    return true;
}

static struct span span_of(const uint8_t **at, size_t bytes) {
    struct span span = {*at, bytes};
    *at += bytes;
    return span;
}

/* Read the table at `at`, and its name; where the next one is. */
static const uint8_t *read_table(const uint8_t *at, struct span *name, struct table *table) {
    struct plain_table head;
    memcpy(&head, at, sizeof head);
    at += sizeof head;
    table->stored = head.number;
    *name = span_of(&at, head.name_bytes);
    table->partition_key = span_of(&at, head.partition_key_bytes);
    table->sort_key = span_of(&at, head.sort_key_bytes);
    table->expiry = span_of(&at, head.expiry_bytes);
    return at;
}

bool find_table(const uint8_t *tables, size_t tables_bytes, const struct span *name, struct table *table) {
    struct span its_name;
    table->number = 0;
    for (const uint8_t *at = tables; at < tables + tables_bytes; table->number++) {
        at = read_table(at, &its_name, table);
        if (is_same(name, &its_name)) return true;
    }
    return false;
}

struct span expiry_in(const uint8_t *tables, uint32_t number) {
    struct span name;
    struct table table;
    do tables = read_table(tables, &name, &table);
    while (number-- > 0);
    return table.expiry;
}

bool begin_put(struct scan *scan, uint8_t **put) {
    *put = scan->out;
    scan->size = 0;
    if ((size_t)(scan->out_end - scan->out) < sizeof(struct plain_put) + VALUE_HEAD_BYTES) return false;
    scan->out += sizeof(struct plain_put) + VALUE_HEAD_BYTES;
    return true;
}

bool end_put(struct scan *scan, uint8_t *at, enum kind kind, const struct member *members, size_t count,
             const struct table *table) {
    struct plain_put put = {.kind = kind, .form = NO_FORM, .is_last = true};
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
    struct span text = {value + VALUE_HEAD_BYTES, put.value_bytes - VALUE_HEAD_BYTES};
    if (kind == PUT ? !emit_key(scan, partition, sort) : !emit_span(scan, &text)) return false;
    put.key_bytes = (uint32_t)(scan->out - key);
    uint8_t *place = scan->out;
    if (!emit_place(scan, table->stored, partition, sort)) return false;
    put.place_bytes = (uint32_t)(scan->out - place);
    memcpy(at, &put, sizeof put);
    return true;
}

bool read_name(struct scan *scan, uint8_t *bytes, size_t room, struct text *name) {
    struct scan apart = {scan->at, scan->end, bytes, bytes + room, 0};
    if (!read_text(&apart, name)) return false;
    scan->at = apart.at;
    return true;
}

bool pass_field(struct scan *scan, const char *expected, size_t expected_bytes) {
    uint8_t bytes[FIELD_BYTES_MAX];
    struct text field;
    return read_name(scan, bytes, sizeof bytes, &field) && is(&field.json, expected, expected_bytes) && pass(scan, ':');
}

bool is_at_end(struct scan *scan) {
    skip_space(scan);
    return scan->at == scan->end;
}
