#include "blake2b.h"

#include <string.h>

#define BLOCK_BYTES 128
#define ROUNDS 12

static const uint64_t initial[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

static const uint8_t permutations[ROUNDS][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
};

static uint64_t turned(uint64_t word, int bits) { return word >> bits | word << (64 - bits); }

static void mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y) {
    v[a] += v[b] + x;
    v[d] = turned(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = turned(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = turned(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = turned(v[b] ^ v[c], 63);
}

static uint64_t word_at(const uint8_t *bytes) {
    uint64_t word = 0;
    for (int index = 7; index >= 0; index--) word = word << 8 | bytes[index];
    return word;
}

/* Take in a block; `counted` are the bytes of the message up to its end. */
static void compress(uint64_t *state, const uint8_t *block, uint64_t counted, int is_last) {
    uint64_t v[16], words[16];
    for (int index = 0; index < 8; index++) {
        v[index] = state[index];
        v[index + 8] = initial[index];
    }
    for (int index = 0; index < 16; index++) words[index] = word_at(block + 8 * index);
    v[12] ^= counted;
    if (is_last) v[14] = ~v[14];
    for (int round = 0; round < ROUNDS; round++) {
        const uint8_t *p = permutations[round];
        mix(v, 0, 4, 8, 12, words[p[0]], words[p[1]]);
        mix(v, 1, 5, 9, 13, words[p[2]], words[p[3]]);
        mix(v, 2, 6, 10, 14, words[p[4]], words[p[5]]);
        mix(v, 3, 7, 11, 15, words[p[6]], words[p[7]]);
        mix(v, 0, 5, 10, 15, words[p[8]], words[p[9]]);
        mix(v, 1, 6, 11, 12, words[p[10]], words[p[11]]);
        mix(v, 2, 7, 8, 13, words[p[12]], words[p[13]]);
        mix(v, 3, 4, 9, 14, words[p[14]], words[p[15]]);
    }
    for (int index = 0; index < 8; index++) state[index] ^= v[index] ^ v[index + 8];
}

void blake2b(uint8_t *digest, size_t digest_bytes, const uint8_t *message, size_t bytes) {
    uint64_t state[8];
    uint8_t last[BLOCK_BYTES] = {0};
    size_t counted = 0;
    memcpy(state, initial, sizeof state);
    state[0] ^= 0x01010000 ^ digest_bytes;
    while (bytes - counted > BLOCK_BYTES) {
        counted += BLOCK_BYTES;
        compress(state, message + counted - BLOCK_BYTES, counted, 0);
    }
    memcpy(last, message + counted, bytes - counted);
    compress(state, last, bytes, 1);
    for (size_t index = 0; index < digest_bytes; index++) digest[index] = (uint8_t)(state[index / 8] >> 8 * (index % 8));
}
