/* The plain writes among the requests that the front has taken. */
#include "front.h"
#include "plain_put.h"
#include "plain_write.h"

#include <stdbool.h>
#include <string.h>

#define TARGET_PREFIX "DynamoDB_20120810."
#define TARGET_PREFIX_BYTES 18

/* Where an answer goes. */
struct asked {
    uint32_t slot, generation, flags;
};

/* A request that was taken out: where its body is kept, and what is asked besides its writes. */
struct taken {
    uint32_t operation, body_at, body_bytes;
    struct plain_request_read read;
};

/* What is taken out at most, and where it goes; `requests`, `bytes` and so on say how much that was. */
struct taking {
    struct known known;
    uint8_t *out;
    size_t room;
    uint8_t *bodies;
    size_t bodies_room;
    struct asked *asked;
    struct taken *taken;
    uint32_t requests_max;
    uint32_t requests, writes, tokens;
    size_t bytes, bodies_bytes; /* of the writes; of the bodies */
    size_t left;                /* bytes of the requests that are left */
};

static bool is_target(const struct request *request, const uint8_t *head, const char *operation, size_t bytes) {
    const uint8_t *target = head + request->target_at;
    return request->target_bytes == TARGET_PREFIX_BYTES + bytes &&
           memcmp(target, TARGET_PREFIX, TARGET_PREFIX_BYTES) == 0 &&
           memcmp(target + TARGET_PREFIX_BYTES, operation, bytes) == 0;
}

/* Read a request's writes; how many bytes they are, 0 where they are not plain. */
static size_t read_writes(const struct taking *taking, const struct request *request, const uint8_t *head,
                          struct taken *taken) {
    const struct known *known = &taking->known;
    const uint8_t *body = head + request->head_bytes;
    uint8_t *out = taking->out + taking->bytes;
    size_t body_bytes = request->body_bytes, room = taking->room - taking->bytes;
    if (is_target(request, head, "PutItem", 7)) {
        taken->operation = PUT_ITEM;
        taken->read.writes = 1;
        taken->read.token_bytes = 0;
        struct plain_put put;
        if (plain_put(known->tables, known->tables_bytes, body, body_bytes, out, room))
            return (size_t)(after_write(out, &put) - out);
    } else if (is_target(request, head, "UpdateItem", 10)) {
        taken->operation = UPDATE_ITEM;
    } else if (is_target(request, head, "TransactWriteItems", 18)) {
        taken->operation = TRANSACT_WRITE_ITEMS;
    } else {
        return 0;
    }
    return plain_write(known, taken->operation, body, body_bytes, out, room, &taken->read);
}

static bool take(struct taking *taking, const struct request *request, const uint8_t *head) {
    struct taken *taken = &taking->taken[taking->requests];
    if (request->flags & HANDED_OVER || taking->requests == taking->requests_max) return false;
    if (request->body_bytes > taking->bodies_room - taking->bodies_bytes) return false;
    size_t bytes = read_writes(taking, request, head, taken);
    if (bytes == 0) return false;
    taken->body_at = (uint32_t)taking->bodies_bytes;
    taken->body_bytes = (uint32_t)request->body_bytes;
    memcpy(taking->bodies + taking->bodies_bytes, head + request->head_bytes, request->body_bytes);
    taking->bodies_bytes += request->body_bytes;
    taking->bytes += bytes;
    taking->writes += taken->read.writes;
    taking->tokens += taken->read.token_bytes > 0;
    taking->asked[taking->requests++] = (struct asked){request->slot, request->generation, request->flags};
    return true;
}

/* Take the plain writes out of `requests`, one `struct request` after the other, and move the others together. */
void take_writes(uint8_t *requests, size_t bytes, struct taking *taking) {
    taking->requests = taking->writes = taking->tokens = 0;
    taking->bytes = taking->bodies_bytes = taking->left = 0;
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
