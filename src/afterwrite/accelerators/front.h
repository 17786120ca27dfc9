#ifndef FRONT_H
#define FRONT_H

#include <stddef.h>
#include <stdint.h>

/* A request as Python gets it, before its head and its body, padded to REQUEST_ALIGNMENT. Of a connection that is
 * handed over the socket is in `target_bytes`. */
struct request {
    uint32_t slot, generation, flags, target_at, target_bytes, head_bytes;
    uint64_t body_bytes;
};

enum { KEEP_ALIVE = 1, HANDED_OVER = 2 };
enum { REQUEST_ALIGNMENT = 8 };

/* How far it is from a request to the one after it. */
static inline size_t whole_bytes(const struct request *request) {
    size_t bytes = sizeof *request + request->head_bytes + request->body_bytes;
    return (bytes + REQUEST_ALIGNMENT - 1) / REQUEST_ALIGNMENT * REQUEST_ALIGNMENT;
}

#endif
