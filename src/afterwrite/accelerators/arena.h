#ifndef ARENA_H
#define ARENA_H

#include <stddef.h>
#include <stdint.h>

/* Memory that is given back all at once. */
struct arena {
    struct block *last;
    uint8_t *at, *end;
};

/* Room for as many bytes; NULL where there is no memory. What is not used of it, from `used` on, is there for others. */
uint8_t *arena_room(struct arena *arena, size_t bytes);
void arena_keep(struct arena *arena, uint8_t *used);
void arena_free(struct arena *arena);

#endif
