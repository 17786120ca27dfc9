#define _GNU_SOURCE
#include "disk_write.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct disk_write {
    aio_context_t context;
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
    struct iocb write = {
        .aio_fildes = (uint32_t)descriptor,
        .aio_lio_opcode = IOCB_CMD_PWRITE,
        .aio_rw_flags = RWF_DSYNC,
        .aio_buf = (uint64_t)(uintptr_t)bytes,
        .aio_nbytes = size,
        .aio_offset = at,
    };
    struct iocb *writes[] = {&write};
    return syscall(SYS_io_submit, opened->context, 1, writes) == 1;
}

int64_t disk_write_end(struct disk_write *opened) {
    struct io_event ended = {0};
    long count;
    do {
        count = syscall(SYS_io_getevents, opened->context, 1, 1, &ended, NULL);
    } while (count < 0 && errno == EINTR);
    return count == 1 ? ended.res : -errno;
}
