/* SPDX-License-Identifier: Apache-2.0
 * The order in which the cells of a box are visited: along a Morton (Z) curve, so that neighbours
 * in time are neighbours in space, or row by row. Constant memory, no allocation; the number of
 * steps between two cells grows with the logarithm of the gap, however thin the box. The struct
 * belongs to one thread.
 */
#ifndef VX_VOL_ORDER_H
#define VX_VOL_ORDER_H

#include "base/vx.h"

#define VX_MORTON_BITS 21 /* per axis */

/* Bits of the three numbers interleaved, x lowest; only their lowest VX_MORTON_BITS count. */
uint64_t vx_morton(const uint64_t cell[3]);

struct vx_order {
	/* private */
	uint64_t lo[3], hi[3];
	uint64_t base[3]; /* morton: what is subtracted before bits are interleaved */
	uint64_t code;    /* morton: where to go on looking */
	uint64_t at[3];   /* raster: the next cell */
	bool morton, done;
};

/* Cells [lo, hi); coordinates below 2^62. A box longer than 2^21 cells along some axis is visited row by row even if
 * `morton` is asked for. Where all cells lie within one aligned cube of 2^21, the order is that of vx_morton; elsewhere
 * it is a Morton curve anchored near the box. */
void vx_order_init(struct vx_order *o, const uint64_t lo[3], const uint64_t hi[3], bool morton);

/* False when every cell has been handed out, and ever after. */
bool vx_order_next(struct vx_order *o, uint64_t cell[3]);

#endif
