#ifndef PLAIN_PUT_H
#define PLAIN_PUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A table, before the bytes of its name and of the names of its partition key, its sort key and its time to live, as
 * JSON writes them. Those of the key are of type S; none has no bytes. `number` is the table's in the store. */
struct plain_table {
    uint16_t name_bytes, partition_key_bytes, sort_key_bytes, expiry_bytes;
    uint32_t number;
};

/* A put, before its bytes: the item as the store keeps it (its size, when it expires, its JSON text), its key's JSON
 * text, and its place in the store. */
struct plain_put {
    uint32_t table, value_bytes, key_bytes, place_bytes; /* `table` is the number among those given */
    uint32_t item_size, key_size;                        /* as DynamoDB counts */
};

bool plain_put(const uint8_t *tables, size_t tables_bytes, const uint8_t *body, size_t body_bytes, uint8_t *out,
               size_t out_bytes);
uint32_t plain_puts(const uint8_t *tables, size_t tables_bytes, const uint8_t *body, size_t body_bytes, uint8_t *out,
                    size_t out_bytes, uint32_t puts_max);
uint32_t plain_items(const uint8_t *tables, size_t tables_bytes, const uint8_t *name, size_t name_bytes,
                     const uint8_t *body, size_t body_bytes, uint8_t *out, size_t out_bytes, uint32_t puts_max);

#endif
