#ifndef BLAKE2B_H
#define BLAKE2B_H

#include <stddef.h>
#include <stdint.h>

/* BLAKE2b (RFC 7693), without a key, of at most 64 bytes of digest. */
void blake2b(uint8_t *digest, size_t digest_bytes, const uint8_t *message, size_t bytes);

#endif
