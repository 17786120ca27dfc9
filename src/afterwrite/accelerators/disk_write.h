/* One write to a file at a time, which the system carries out and makes durable while its caller goes on. */

#ifndef DISK_WRITE_H
#define DISK_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk_write;

/* NULL where the system has no such writes (Linux' asynchronous I/O), or has no room for another one. */
struct disk_write *disk_write_open(void);

void disk_write_close(struct disk_write *);

/* Begins to write `size` bytes, which are not to be changed until the end; false where it was not begun. */
bool disk_write_begin(struct disk_write *, int descriptor, const void *bytes, size_t size, int64_t at);

/* Waits for the end of the write that was begun; how many bytes are durable, or an error's number, negative. */
int64_t disk_write_end(struct disk_write *);

#endif
