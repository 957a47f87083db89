/* SPDX-License-Identifier: Apache-2.0
 * Private to permute.c: the inner loops. Pure, any thread.
 */
#ifndef VX_CODEC_TRANSPOSE_H
#define VX_CODEC_TRANSPOSE_H

#include "base/vx.h"

struct gathering {
	uint64_t along, across;           /* elements in a row, and rows */
	uint64_t step_along, step_across; /* bytes from one to the next in the source */
	uint32_t width;
};

/* Gathers `across` rows of `along` elements, which lie in `to` without gaps. */
void gather(uint8_t *to, const uint8_t *from, const struct gathering *g);

/* Copies n elements, each with its bytes turned around; `to` may be `from`. */
void swap_copy(uint8_t *to, const uint8_t *from, uint64_t n, uint32_t width);

#endif
