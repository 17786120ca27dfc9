#ifndef PLAIN_PUT_H
#define PLAIN_PUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A table, before the bytes of its name and of the names of its partition key, its sort key and its time to live, as
 * JSON writes them. Those of the key are of type S; none has no bytes. `number` is the table's in the store. */
struct plain_table {
    uint16_t name_bytes, partition_key_bytes, sort_key_bytes, expiry_bytes;
    uint32_t number;
};

/* What is done to an item: it is put; changed as its form says; or only looked at. */
enum kind { PUT, UPDATE, CHECK };
enum { NO_FORM = UINT32_MAX };

/* A write, before its bytes: the item as the store keeps it (its size, when it expires, its JSON text), of which there
 * is only the key where it is not put; its key's JSON text; its place in the store; and the values of its expressions,
 * one after the other, in the order of its form. */
struct plain_put {
    uint32_t table, value_bytes, key_bytes, place_bytes; /* `table` is the number among those given */
    uint32_t item_size, key_size;                        /* as DynamoDB counts */
    uint32_t kind, form, arguments_bytes;                /* `form` is where it begins among those given */
    uint32_t is_last;                                    /* of the writes that happen together or not at all */
};

/* The head of the write at `at`, and where the next one begins. */
static inline const uint8_t *after_write(const uint8_t *at, struct plain_put *head) {
    memcpy(head, at, sizeof *head);
    return at + sizeof *head + head->value_bytes + head->key_bytes + head->place_bytes + head->arguments_bytes;
}

bool plain_put(const uint8_t *tables, size_t tables_bytes, const uint8_t *body, size_t body_bytes, uint8_t *out,
               size_t out_bytes);
uint32_t plain_puts(const uint8_t *tables, size_t tables_bytes, const uint8_t *body, size_t body_bytes, uint8_t *out,
                    size_t out_bytes, uint32_t puts_max);
uint32_t plain_items(const uint8_t *tables, size_t tables_bytes, const uint8_t *name, size_t name_bytes,
                     const uint8_t *body, size_t body_bytes, uint8_t *out, size_t out_bytes, uint32_t puts_max);

#endif
