/* SPDX-License-Identifier: Apache-2.0
 * CRC-32C (Castagnoli), the checksum of Zarr's chunks and shard indexes. Pure, any thread.
 */
#ifndef VX_BASE_CRC32C_H
#define VX_BASE_CRC32C_H

#include "base/vx.h"

uint32_t vx_crc32c(const void *data, size_t len);

/* The same by tables alone, so that tests reach it on every processor. */
uint32_t vx_crc32c_portable(const void *data, size_t len);

#endif
