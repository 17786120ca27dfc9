#ifndef PLAIN_ITEM_H
#define PLAIN_ITEM_H

#include "attribute_values.h"
#include "plain_put.h"

#define VALUE_HEAD_BYTES 12 /* of an item as it is stored: its size, and when it expires */
#define FIELD_BYTES_MAX 64
#define NAME_BYTES_MAX 264

/* A table: its number among those given and in the store, and the names of its partition key, its sort key and its
 * time to live; none has no bytes. */
struct table {
    uint32_t number, stored;
    struct span partition_key, sort_key, expiry;
};

/* Find the table `name` among `tables`. */
bool find_table(const uint8_t *tables, size_t tables_bytes, const struct span *name, struct table *table);
/* The attribute by which the items of table `number` among `tables` expire. */
struct span expiry_in(const uint8_t *tables, uint32_t number);
/* Leave room for what stands before an item's text. */
bool begin_put(struct scan *scan, uint8_t **put);
/* Complete the write of an item, or of a key, that was read since `begin_put`: its key and its place come behind it. */
bool end_put(struct scan *scan, uint8_t *at, enum kind kind, const struct member *members, size_t count,
             const struct table *table);
/* The second at which an item expires by this attribute, 0 for never; false where its number is too long for here. */
bool expiry_of(const struct member *member, uint64_t *expires_at);

/* Read a text that is not of an item into `bytes`. */
bool read_name(struct scan *scan, uint8_t *bytes, size_t room, struct text *name);
/* Pass a field with this name, and the colon. */
bool pass_field(struct scan *scan, const char *expected, size_t expected_bytes);
bool is_at_end(struct scan *scan);

#endif
