#include "crc32.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0xedb88320u
#define AT_ONCE 8 /* bytes a step, each by a table of its own */

static uint32_t tables[AT_ONCE][256];
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void make_tables(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t rest = byte;
        for (int bit = 0; bit < 8; bit++) rest = rest >> 1 ^ (rest & 1 ? POLYNOMIAL : 0);
        tables[0][byte] = rest;
    }
    for (size_t behind = 1; behind < AT_ONCE; behind++)
        for (size_t byte = 0; byte < 256; byte++) {
            uint32_t rest = tables[behind - 1][byte];
            tables[behind][byte] = rest >> 8 ^ tables[0][rest & 0xff];
        }
}

uint32_t crc32_of(uint32_t before, const uint8_t *bytes, size_t count) {
    pthread_once(&made, make_tables);
    uint32_t rest = ~before;
    for (; count >= AT_ONCE; bytes += AT_ONCE, count -= AT_ONCE) {
        uint32_t first = rest ^ ((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                                 (uint32_t)bytes[3] << 24);
        rest = tables[7][first & 0xff] ^ tables[6][first >> 8 & 0xff] ^ tables[5][first >> 16 & 0xff] ^
               tables[4][first >> 24] ^ tables[3][bytes[4]] ^ tables[2][bytes[5]] ^ tables[1][bytes[6]] ^
               tables[0][bytes[7]];
    }
    for (; count > 0; count--) rest = rest >> 8 ^ tables[0][(rest ^ *bytes++) & 0xff];
    return ~rest;
}
