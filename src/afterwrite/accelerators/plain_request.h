/* The one form of request that the front takes: POST / HTTP/1.1, plain headers, a Content-Length. */
#ifndef AFTERWRITE_PLAIN_REQUEST_H
#define AFTERWRITE_PLAIN_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum parsed { INCOMPLETE, COMPLETE, OTHER };

/* Its parts, as offsets and sizes in bytes; the body follows the head. `target` is the value of X-Amz-Target. */
struct plain_request {
    uint32_t head_bytes, target_at, target_bytes;
    bool keeps_alive; /* it says Connection: keep-alive, which is to be said in the answer, too */
    size_t body_bytes;
};

/* Read the head of a request from the `count` bytes that have come. It is COMPLETE with its empty line; OTHER is what
 * is not of this form, or no request at all. */
enum parsed parse_plain_request(const char *bytes, size_t count, size_t head_bytes_max, struct plain_request *request);

#endif
