#ifndef PLAIN_WRITE_H
#define PLAIN_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_BYTES_MAX 36
#define FINGERPRINT_BYTES 16

/* What writes are read by: `struct plain_table`s, `struct form`s, and memory for what is not kept. */
struct known {
    const uint8_t *tables;
    size_t tables_bytes;
    const uint8_t *forms;
    size_t forms_bytes;
    uint8_t *scratch;
    size_t scratch_bytes;
};

enum operation { PUT_ITEM, UPDATE_ITEM, TRANSACT_WRITE_ITEMS };

/* What a request is besides its writes: how many they are; its token, where it has one, and what tells whether another
 * request with the token asks for the same. */
struct plain_request_read {
    uint32_t writes, token_bytes;
    uint8_t token[TOKEN_BYTES_MAX];
    uint8_t fingerprint[FINGERPRINT_BYTES];
};

/* Read the body of a request that writes items, by expressions that are known. How many bytes its writes, `struct
 * plain_put`s, have in `out`; 0 where it is not of the plain form. */
size_t plain_write(const struct known *known, enum operation operation, const uint8_t *body, size_t body_bytes,
                   uint8_t *out, size_t out_bytes, struct plain_request_read *request);

#endif
