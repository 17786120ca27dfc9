#ifndef CRC32_H
#define CRC32_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32 as zlib has it, begun with the checksum of what comes before. */
uint32_t crc32_of(uint32_t before, const uint8_t *bytes, size_t count);

#endif
