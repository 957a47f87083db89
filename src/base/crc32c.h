/* SPDX-License-Identifier: Apache-2.0
 * CRC-32C (Castagnoli), the checksum of Zarr's chunks and shard indexes. Pure, any thread.
 */
#ifndef VX_BASE_CRC32C_H
#define VX_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t vx_crc32c(const void *data, size_t len);

#endif
