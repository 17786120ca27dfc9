#ifndef WRITTEN_ITEM_H
#define WRITTEN_ITEM_H

#include "arena.h"
#include "json_scan.h"
#include "plain_put.h"

/* What becomes of an item: it is left as it is, it gets the new value, or Python has to say. */
enum becomes { AS_IT_WAS, NEW_VALUE, LEFT };

/* A write with an expression: its form, the item or the key that it has as the store keeps it, and its values. */
struct asked_write {
    enum kind kind;
    const uint8_t *form;
    struct span value, arguments;
    struct span expiry; /* the attribute by which items of its table expire; none has no bytes */
};

/* What the write makes of the item that is stored as `old`, where one is. A new value is in the arena, or is that of the
 * write. */
enum becomes become(const struct asked_write *write, const struct span *old, struct arena *arena, struct span *value);

#endif
