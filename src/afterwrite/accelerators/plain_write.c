/* Writes that are certainly valid, and whose expressions are known, read in one pass: the bodies of PutItem, UpdateItem
 * and TransactWriteItems.
 *
 * What is not of the plain form (an expression that is new, a value that it does not use, anything invalid) is not for
 * here: Python reads it.
 */
#include "plain_write.h"

#include <stddef.h>

#include "blake2b.h"
#include "crc32.h"
#include "forms.h"
#include "plain_item.h"
#include "sorted_json.h"

#define WRITES_MAX 100
#define TEXTS_BYTES 8192
#define ARGUMENTS_BYTES_MAX 16384 /* table/forms.py has it, too: an update's own bytes are limited */

/* What a write's object says; its item, or its key, is in the scan's memory, its values are in the scratch's. */
struct fields {
    struct text table;
    size_t item_count, value_count;
    struct span update, condition, names;
    bool has_table, has_item, has_values;
    struct scan text_scan; /* over `texts` */
    struct member item[ATTRIBUTES_MAX], values[ATTRIBUTES_MAX];
    uint8_t table_bytes[NAME_BYTES_MAX], texts[TEXTS_BYTES];
};

/* Read an expression's text, once. */
static bool read_expression(struct scan *scan, struct fields *fields, struct span *expression) {
    struct text text;
    fields->text_scan.at = scan->at;
    if (expression->bytes > 0 || !read_text(&fields->text_scan, &text) || text.json.bytes == 0) return false;
    scan->at = fields->text_scan.at;
    *expression = text.json;
    return true;
}

/* Read the object of names, once. */
static bool read_names(struct scan *scan, struct fields *fields) {
    struct scan *into = &fields->text_scan;
    struct text text;
    const uint8_t *from = into->out;
    into->at = scan->at;
    if (fields->names.bytes > 0 || !pass(into, '{') || !emit(into, "{", 1)) return false;
    bool is_first = true;
    do {
        if (!is_first && !emit(into, ",", 1)) return false;
        is_first = false;
        if (!read_text(into, &text) || !pass(into, ':') || !emit(into, ":", 1) || !read_text(into, &text)) return false;
    } while (next_is(into, ',') && pass(into, ','));
    if (!pass(into, '}') || !emit(into, "}", 1)) return false;
    scan->at = into->at;
    fields->names = (struct span){from, (size_t)(into->out - from)};
    return true;
}

static bool read_values(const struct known *known, struct scan *scan, struct fields *fields) {
    struct scan into = {scan->at, scan->end, known->scratch, known->scratch + known->scratch_bytes, 0};
    if (fields->has_values || !read_item(&into, fields->values, &fields->value_count)) return false;
    scan->at = into.at;
    fields->has_values = true;
    return fields->value_count > 0 && into.out - known->scratch <= ARGUMENTS_BYTES_MAX;
}

static bool read_field(const struct known *known, struct scan *scan, enum kind kind, struct fields *fields) {
    uint8_t bytes[FIELD_BYTES_MAX];
    struct text field;
    if (!read_name(scan, bytes, sizeof bytes, &field) || !pass(scan, ':')) return false;
    if (is(&field.json, "TableName", 9)) {
        if (fields->has_table) return false;
        fields->has_table = true;
        return read_name(scan, fields->table_bytes, sizeof fields->table_bytes, &fields->table);
    }
    if (kind == PUT ? is(&field.json, "Item", 4) : is(&field.json, "Key", 3)) {
        if (fields->has_item) return false;
        fields->has_item = true;
        return read_item(scan, fields->item, &fields->item_count);
    }
    if (kind == UPDATE && is(&field.json, "UpdateExpression", 16)) return read_expression(scan, fields, &fields->update);
    if (is(&field.json, "ConditionExpression", 19)) return read_expression(scan, fields, &fields->condition);
    if (is(&field.json, "ExpressionAttributeNames", 24)) return read_names(scan, fields);
    if (is(&field.json, "ExpressionAttributeValues", 25)) return read_values(known, scan, fields);
    return false;
}

/* Find the form of the expressions. */
static bool find_form(const struct known *known, const struct fields *fields, uint32_t *found, struct parts *form) {
    for (size_t at = 0; at < known->forms_bytes; at += form->head.bytes) {
        form_at(known->forms + at, form);
        *found = (uint32_t)at;
        if (form->head.values == fields->value_count && is_same(&form->update, &fields->update) &&
            is_same(&form->condition, &fields->condition) && is_same(&form->names, &fields->names))
            return true;
    }
    return false;
}

static bool writes_key(const struct parts *form, const struct table *table) {
    struct span left = form->written;
    for (uint16_t count = form->head.written; count > 0; count--) {
        struct span name = next_name(&left);
        if (is_same(&name, &table->partition_key) || is_same(&name, &table->sort_key)) return true;
    }
    return false;
}

/* Write the values in the order of the form; false where they are others. */
static bool emit_arguments(struct scan *scan, const struct parts *form, const struct fields *fields) {
    struct span left = form->values;
    for (uint16_t count = form->head.values; count > 0; count--) {
        struct span name = next_name(&left);
        const struct member *value = named(fields->values, fields->value_count, &name);
        if (value == NULL || !emit_span(scan, &value->whole)) return false;
    }
    return true;
}

/* Complete a write with what its expressions say. */
static bool end_write(const struct known *known, struct scan *scan, const struct fields *fields,
                      const struct table *table, uint8_t *at) {
    struct plain_put write;
    struct parts form;
    memcpy(&write, at, sizeof write);
    write.is_last = false;
    if (fields->update.bytes > 0 || fields->condition.bytes > 0) {
        uint8_t *arguments = scan->out;
        if (!find_form(known, fields, &write.form, &form) || writes_key(&form, table)) return false;
        if (!emit_arguments(scan, &form, fields)) return false;
        write.arguments_bytes = (uint32_t)(scan->out - arguments);
    } else if (write.kind != PUT || fields->names.bytes > 0 || fields->value_count > 0) {
        return false;
    }
    memcpy(at, &write, sizeof write);
    return true;
}

/* Read a write's object behind its first brace; where the write stands is kept in `place`. */
static bool read_write(const struct known *known, struct scan *scan, enum kind kind, struct span *place) {
    struct fields fields;
    struct table table;
    uint8_t *at;
    memset(&fields, 0, offsetof(struct fields, item));
    fields.text_scan = (struct scan){NULL, scan->end, fields.texts, fields.texts + sizeof fields.texts, 0};
    if (!begin_put(scan, &at)) return false;
    do {
        if (!read_field(known, scan, kind, &fields)) return false;
    } while (next_is(scan, ',') && pass(scan, ','));
    if (!pass(scan, '}') || !fields.has_table || !fields.has_item) return false;
    if (!find_table(known->tables, known->tables_bytes, &fields.table.json, &table)) return false;
    if (kind != PUT && fields.item_count != (table.sort_key.bytes > 0 ? 2 : 1)) return false;
    if ((kind == UPDATE && fields.update.bytes == 0) || (kind == CHECK && fields.condition.bytes == 0)) return false;
    if (!end_put(scan, at, kind, fields.item, fields.item_count, &table)) return false;
    struct plain_put write;
    memcpy(&write, at, sizeof write);
    *place = (struct span){scan->out - write.place_bytes, write.place_bytes};
    return end_write(known, scan, &fields, &table, at);
}

static bool read_member(const struct known *known, struct scan *scan, struct span *place) {
    uint8_t bytes[FIELD_BYTES_MAX];
    struct text field;
    enum kind kind;
    if (!pass(scan, '{') || !read_name(scan, bytes, sizeof bytes, &field) || !pass(scan, ':')) return false;
    if (is(&field.json, "Put", 3)) kind = PUT;
    else if (is(&field.json, "Update", 6)) kind = UPDATE;
    else if (is(&field.json, "ConditionCheck", 14)) kind = CHECK;
    else return false;
    return pass(scan, '{') && read_write(known, scan, kind, place) && pass(scan, '}');
}

/* Read the list of a transaction's members, no two of them of one item. */
static bool read_members(const struct known *known, struct scan *scan, uint32_t *count) {
    uint32_t checksums[WRITES_MAX];
    struct span place;
    *count = 0;
    if (!pass(scan, '[')) return false;
    do {
        if (*count == WRITES_MAX || !read_member(known, scan, &place)) return false;
        checksums[*count] = crc32_of(0, place.at, place.bytes);
        for (uint32_t other = 0; other < *count; other++)
            if (checksums[other] == checksums[*count]) return false;
        ++*count;
    } while (next_is(scan, ',') && pass(scan, ','));
    return pass(scan, ']');
}

static bool read_token(struct scan *scan, struct plain_request_read *request) {
    uint8_t bytes[TOKEN_BYTES_MAX + 8];
    struct text token;
    if (request->token_bytes > 0 || !read_name(scan, bytes, sizeof bytes, &token)) return false;
    if (token.size == 0 || token.size > TOKEN_BYTES_MAX || token.size != token.json.bytes) return false;
    request->token_bytes = (uint32_t)token.size;
    memcpy(request->token, token.json.at, token.size);
    return true;
}

static bool read_transaction(const struct known *known, struct scan *scan, struct plain_request_read *request) {
    struct span members = {NULL, 0};
    uint8_t bytes[FIELD_BYTES_MAX];
    struct text field;
    do {
        if (!read_name(scan, bytes, sizeof bytes, &field) || !pass(scan, ':')) return false;
        if (is(&field.json, "TransactItems", 13) && members.at == NULL) {
            members.at = scan->at;
            if (!read_members(known, scan, &request->writes)) return false;
            members.bytes = (size_t)(scan->at - members.at);
        } else if (!is(&field.json, "ClientRequestToken", 18) || !read_token(scan, request)) {
            return false;
        }
    } while (next_is(scan, ',') && pass(scan, ','));
    if (members.at == NULL || !pass(scan, '}')) return false;
    if (request->token_bytes == 0) return true;
    struct scan sorted = {members.at, members.at + members.bytes, known->scratch,
                          known->scratch + known->scratch_bytes, 0};
    if (!sort_json(&sorted)) return false;
    blake2b(request->fingerprint, FINGERPRINT_BYTES, known->scratch, (size_t)(sorted.out - known->scratch));
    return true;
}

size_t plain_write(const struct known *known, enum operation operation, const uint8_t *body, size_t body_bytes,
                   uint8_t *out, size_t out_bytes, struct plain_request_read *request) {
    struct scan scan = {body, body + body_bytes, out, out + out_bytes, 0};
    struct span place;
    request->writes = 1;
    request->token_bytes = 0;
    if (!pass(&scan, '{')) return 0;
    bool is_read = operation == TRANSACT_WRITE_ITEMS
                       ? read_transaction(known, &scan, request)
                       : read_write(known, &scan, operation == PUT_ITEM ? PUT : UPDATE, &place);
    if (!is_read || !is_at_end(&scan)) return 0;
    struct plain_put write;
    const uint8_t *last = out;
    for (const uint8_t *at = out; at < scan.out; at = after_write(at, &write)) last = at;
    memcpy(&write, last, sizeof write);
    write.is_last = true;
    memcpy(out + (last - out), &write, sizeof write);
    return (size_t)(scan.out - out);
}
