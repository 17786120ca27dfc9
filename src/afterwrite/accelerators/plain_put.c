/* Puts that are certainly valid, read in one pass: the bodies of PutItem and BatchWriteItem, and items in plain JSON.
 *
 * What is not of the plain form (a condition, anything invalid) is not for here: Python reads it.
 */
#include "plain_put.h"

#include "plain_item.h"

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
            if (!read_item(&scan, members, &count)) return false;
        } else {
            return false;
        }
    } while (next_is(&scan, ',') && pass(&scan, ','));
    if (!has_table || !has_item || !pass(&scan, '}') || !is_at_end(&scan)) return false;
    return find_table(tables, tables_bytes, &name.json, &table) && end_put(&scan, put, PUT, members, count, &table);
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
        if (!pass_field(&scan, "Item", 4) || !read_item(&scan, members, &count)) return 0;
        if (!pass(&scan, '}') || !pass(&scan, '}') || !end_put(&scan, put, PUT, members, count, &table)) return 0;
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
        if (!read_plain_item(&scan, members, &count)) return 0;
        if (!end_put(&scan, put, PUT, members, count, &table)) return 0;
    } while (next_is(&scan, ',') && pass(&scan, ','));
    return pass(&scan, ']') && is_at_end(&scan) ? puts : 0;
}
