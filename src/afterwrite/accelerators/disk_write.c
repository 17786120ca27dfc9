#define _GNU_SOURCE
#include "disk_write.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As the system's own headers say, which are not there with every C compiler. */
enum { WRITE = 1, DURABLY = 2 };

struct request {
    uint64_t data;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint32_t key, how;
#else
    uint32_t how, key;
#endif
    uint16_t operation;
    int16_t priority;
    uint32_t descriptor;
    uint64_t bytes, size;
    int64_t at;
    uint64_t reserved;
    uint32_t flags, told;
};

struct ended {
    uint64_t data, request;
    int64_t result, result2;
};

struct disk_write {
    unsigned long context;
};

struct disk_write *disk_write_open(void) {
    struct disk_write *opened = calloc(1, sizeof *opened);
    if (opened && syscall(SYS_io_setup, 1, &opened->context) < 0) {
        free(opened);
        return NULL;
    }
    return opened;
}

void disk_write_close(struct disk_write *opened) {
    syscall(SYS_io_destroy, opened->context);
    free(opened);
}

bool disk_write_begin(struct disk_write *opened, int descriptor, const void *bytes, size_t size, int64_t at) {
    struct request write = {
        .operation = WRITE,
        .how = DURABLY,
        .descriptor = (uint32_t)descriptor,
        .bytes = (uint64_t)(uintptr_t)bytes,
        .size = size,
        .at = at,
    };
    struct request *writes[] = {&write};
    return syscall(SYS_io_submit, opened->context, 1, writes) == 1;
}

int64_t disk_write_end(struct disk_write *opened) {
    struct ended ended = {0};
    long count;
    do {
        count = syscall(SYS_io_getevents, opened->context, 1, 1, &ended, NULL);
    } while (count < 0 && errno == EINTR);
    return count == 1 ? ended.result : -errno;
}
