#ifndef BIG_ENDIAN_H
#define BIG_ENDIAN_H

#include <stddef.h>
#include <stdint.h>

/* Numbers as the store keeps them: the first byte is the highest. */

static inline void store_big_endian(uint8_t *at, uint64_t number, size_t bytes) {
    while (bytes-- > 0) {
        at[bytes] = (uint8_t)number;
        number >>= 8;
    }
}

static inline uint64_t load_big_endian(const uint8_t *at, size_t bytes) {
    uint64_t number = 0;
    while (bytes-- > 0) number = number << 8 | *at++;
    return number;
}

#endif
