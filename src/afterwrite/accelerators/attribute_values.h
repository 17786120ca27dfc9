#ifndef ATTRIBUTE_VALUES_H
#define ATTRIBUTE_VALUES_H

#include "json_scan.h"

#define ATTRIBUTES_MAX 64
#define ITEM_BYTES_MAX 65535 /* of an item that is read here; so many bytes all of its names may have, too */

/* The types of attribute values; sets are not read here. */
enum type { STRING = 'S', NUMBER = 'N', BINARY = 'B', BOOLEAN = 'T', NOTHING = '0', MAP = 'M', LIST = 'L', OTHER = 0 };

/* An attribute: its name, its value as the store writes it, and the text of that where it is one (S, N, B),
 * else an empty one. */
struct member {
    struct text name, value;
    struct span whole; /* {"S":"..."} */
    size_t size;       /* of the value, as DynamoDB counts it */
    char type;
};

/* Read an item, and write it as the store writes it; its size is added to the scan's. False where it is not of the
 * plain form. */
bool read_item(struct scan *scan, struct member *members, size_t *count);
/* Read an item in plain JSON, whose values say nothing of their types, and write it in the same way. */
bool read_plain_item(struct scan *scan, struct member *members, size_t *count);
/* Read an attribute value, which stands on a level of an item. */
bool read_value(struct scan *scan, struct member *member, int level);
/* The bytes that a number counts for, 0 where it is not written as the store writes it. */
size_t number_size(const struct span *number);
/* The member with a name, as JSON writes it; NULL where there is none. */
const struct member *named(const struct member *members, size_t count, const struct span *name);

#endif
