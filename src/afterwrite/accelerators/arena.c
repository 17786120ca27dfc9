/* Memory that is given back all at once. */
#include "arena.h"

#include <stdlib.h>

#define BLOCK_BYTES ((size_t)1 << 17)

struct block {
    struct block *before;
    uint8_t bytes[];
};

uint8_t *arena_room(struct arena *arena, size_t bytes) {
    if (arena->last == NULL || (size_t)(arena->end - arena->at) < bytes) {
        size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        struct block *block = malloc(sizeof *block + room);
        if (block == NULL) return NULL;
        block->before = arena->last;
        *arena = (struct arena){block, block->bytes, block->bytes + room};
    }
    return arena->at;
}

void arena_keep(struct arena *arena, uint8_t *used) {
    arena->at = used;
}

void arena_free(struct arena *arena) {
    while (arena->last != NULL) {
        struct block *block = arena->last;
        arena->last = block->before;
        free(block);
    }
}
