/* SPDX-License-Identifier: Apache-2.0
 * Private to the codecs: CRC-32C (Castagnoli), as Zarr appends it. Pure, any thread.
 */
#ifndef VX_CODEC_CRC32C_H
#define VX_CODEC_CRC32C_H

#include "base/vx.h"

uint32_t crc32c(const uint8_t *data, size_t len);

/* The same by tables alone, so that tests reach it on every processor. */
uint32_t crc32c_portable(const uint8_t *data, size_t len);

#endif
