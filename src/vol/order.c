/* SPDX-License-Identifier: Apache-2.0
 * Morton-order iteration. The curve is an octree walked depth first: a code with 3n trailing zero
 * bits begins a cube of 2^n cells along each side, so a cube that misses the box is skipped by one
 * addition, and one that meets it is entered by trying the next smaller cube in the same place.
 */
#include "vol/order.h"

#include <string.h>

static uint64_t spread(uint64_t x) /* abc -> a00b00c */
{
	x &= 0x1fffff;
	x = (x | x << 32) & 0x001f00000000ffff;
	x = (x | x << 16) & 0x001f0000ff0000ff;
	x = (x | x << 8) & 0x100f00f00f00f00f;
	x = (x | x << 4) & 0x10c30c30c30c30c3;
	x = (x | x << 2) & 0x1249249249249249;
	return x;
}

static uint64_t gather(uint64_t x) /* a00b00c -> abc */
{
	x &= 0x1249249249249249;
	x = (x | x >> 2) & 0x10c30c30c30c30c3;
	x = (x | x >> 4) & 0x100f00f00f00f00f;
	x = (x | x >> 8) & 0x001f0000ff0000ff;
	x = (x | x >> 16) & 0x001f00000000ffff;
	x = (x | x >> 32) & 0x1fffff;
	return x;
}

uint64_t vx_morton(const uint64_t cell[3])
{
	return spread(cell[0]) | spread(cell[1]) << 1 | spread(cell[2]) << 2;
}

/* `lo` rounded down to the coarsest power of two that leaves [lo, hi) within VX_MORTON_BITS; hi - lo fits them. */
static uint64_t anchor(uint64_t lo, uint64_t hi)
{
	int bits = VX_MORTON_BITS;
	uint64_t base;

	do
		base = lo & ~(((uint64_t)1 << bits--) - 1);
	while (hi - base > (uint64_t)1 << VX_MORTON_BITS);
	return base;
}

void vx_order_init(struct vx_order *o, const uint64_t lo[3], const uint64_t hi[3], bool morton)
{
	*o = (struct vx_order){.morton = morton};
	for (int d = 0; d < 3; d++) {
		o->lo[d] = o->at[d] = lo[d];
		o->hi[d] = hi[d];
		if (lo[d] >= hi[d])
			o->done = true;
		else if (hi[d] - lo[d] > (uint64_t)1 << VX_MORTON_BITS)
			o->morton = false;
	}
	if (o->done || !o->morton)
		return;
	for (int d = 0; d < 3; d++) {
		o->base[d] = anchor(lo[d], hi[d]);
		o->lo[d] -= o->base[d];
		o->hi[d] -= o->base[d];
	}
	o->code = vx_morton(o->lo); /* codes grow with each coordinate: the lower corner comes first */
}

static bool cube_meets_box(const struct vx_order *o, const uint64_t at[3], int level)
{
	for (int d = 0; d < 3; d++)
		if (at[d] >= o->hi[d] || at[d] + ((uint64_t)1 << level) <= o->lo[d])
			return false;
	return true;
}

/* Moves o->code to the next cell of the box that is not before it, and gives its place relative to the base. There
 * must be one. */
static void find_cell(struct vx_order *o, uint64_t at[3])
{
	int level = VX_MORTON_BITS;

	for (;;) {
		if (o->code)
			level = (int)vx_min_u64((uint64_t)level, (uint64_t)__builtin_ctzll(o->code) / 3);
		for (int d = 0; d < 3; d++)
			at[d] = gather(o->code >> d);
		while (cube_meets_box(o, at, level)) {
			if (at[0] >= o->lo[0] && at[1] >= o->lo[1] && at[2] >= o->lo[2])
				return; /* and below hi, as the cube meets the box */
			level--;
		}
		o->code += (uint64_t)1 << 3 * level;
		level = VX_MORTON_BITS;
	}
}

static bool next_raster(struct vx_order *o, uint64_t cell[3])
{
	memcpy(cell, o->at, sizeof o->at);
	for (int d = 0; d < 3; d++) {
		if (++o->at[d] < o->hi[d])
			return true;
		o->at[d] = o->lo[d];
	}
	o->done = true;
	return true;
}

bool vx_order_next(struct vx_order *o, uint64_t cell[3])
{
	uint64_t at[3];
	bool last = true;

	if (o->done)
		return false;
	if (!o->morton)
		return next_raster(o, cell);
	find_cell(o, at);
	for (int d = 0; d < 3; d++) {
		cell[d] = at[d] + o->base[d];
		last &= at[d] + 1 == o->hi[d];
	}
	o->code++;
	o->done = last; /* the upper corner comes last */
	return true;
}
