/* The plain puts among the requests that the front has taken. */
#include "front.h"
#include "plain_put.h"

#include <stdbool.h>
#include <string.h>

#define PUT_ITEM "DynamoDB_20120810.PutItem"
#define PUT_ITEM_BYTES 25

/* A request that was taken out: where its answer goes. */
struct asked {
    uint32_t slot, generation, flags;
};

/* What is taken out at most, and where it goes; `puts`, `bytes` and `left` say how much that was. */
struct taking {
    const uint8_t *tables;
    size_t tables_bytes;
    uint8_t *out;
    size_t room;
    struct asked *asked;
    uint32_t puts_max;
    uint32_t puts;
    size_t bytes; /* of the puts */
    size_t left;  /* bytes of the requests that are left */
};

static bool take(struct taking *taking, const struct request *request, const uint8_t *head) {
    const uint8_t *body = head + request->head_bytes;
    if (request->flags & HANDED_OVER || taking->puts == taking->puts_max) return false;
    if (request->target_bytes != PUT_ITEM_BYTES || memcmp(head + request->target_at, PUT_ITEM, PUT_ITEM_BYTES) != 0)
        return false;
    uint8_t *out = taking->out + taking->bytes;
    if (!plain_put(taking->tables, taking->tables_bytes, body, request->body_bytes, out, taking->room - taking->bytes))
        return false;
    struct plain_put put;
    memcpy(&put, out, sizeof put);
    taking->bytes += sizeof put + put.value_bytes + put.key_bytes + put.place_bytes;
    taking->asked[taking->puts++] = (struct asked){request->slot, request->generation, request->flags};
    return true;
}

/* Take the plain puts out of `requests`, one `struct request` after the other, and move the others together. */
void take_puts(uint8_t *requests, size_t bytes, struct taking *taking) {
    taking->puts = 0;
    taking->bytes = taking->left = 0;
    for (size_t at = 0; at < bytes;) {
        struct request request;
        memcpy(&request, requests + at, sizeof request);
        size_t count = whole_bytes(&request);
        if (!take(taking, &request, requests + at + sizeof request)) {
            memmove(requests + taking->left, requests + at, count);
            taking->left += count;
        }
        at += count;
    }
}
