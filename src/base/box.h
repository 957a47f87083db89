/* SPDX-License-Identifier: Apache-2.0
 * Half-open 3-D integer boxes [lo, hi) in voxels, and strided places in memory. Pure, any thread.
 * Coordinates stay within +-VX_MAX_EXTENT (checked where they enter), so that differences never
 * overflow.
 */
#ifndef VX_BASE_BOX_H
#define VX_BASE_BOX_H

#include "base/vx.h"

struct vx_box {
	int64_t lo[3], hi[3]; /* x, y, z */
};

static inline uint64_t vx_box_extent(const struct vx_box *b, int d)
{
	return (uint64_t)(b->hi[d] - b->lo[d]);
}

static inline void vx_box_extents(const struct vx_box *b, uint64_t n[3])
{
	for (int d = 0; d < 3; d++)
		n[d] = vx_box_extent(b, d);
}

static inline bool vx_box_empty(const struct vx_box *b)
{
	return b->lo[0] >= b->hi[0] || b->lo[1] >= b->hi[1] || b->lo[2] >= b->hi[2];
}

/* False when the number of voxels does not fit 64 bits. */
bool vx_box_voxels(const struct vx_box *b, uint64_t *ret);

bool vx_box_equal(const struct vx_box *a, const struct vx_box *b);
bool vx_box_contains(const struct vx_box *outer, const struct vx_box *inner);

/* The common part; false when it is empty (*ret is then unspecified). */
bool vx_box_clip(const struct vx_box *a, const struct vx_box *b, struct vx_box *ret);

/* `a` minus `b` as at most 6 disjoint boxes; returns how many. */
int vx_box_subtract(const struct vx_box *a, const struct vx_box *b, struct vx_box ret[6]);

uint64_t vx_box_hash(const struct vx_box *b);

/* Where voxels land or come from: voxel (x,y,z,c), counted from `at`, is at
 * at + x*width + y*row + z*plane + c*chan bytes. Voxels along x always adjoin. */
struct vx_place {
	uint8_t *at;
	uint64_t row, plane, chan;
};

/* The place of a box stored whole: x fastest, then y, z, channel, no gaps. */
struct vx_place vx_place_packed(void *at, const uint64_t n[3], uint32_t width);

/* `p`, the place of box `whole`, moved to the corner of `part`, which must lie inside. */
struct vx_place vx_place_at(const struct vx_place *p, const struct vx_box *whole, const struct vx_box *part,
			    uint32_t width);

/* Copies n[0] x n[1] x n[2] voxels of `channels` channels. Touches each byte once; merges rows and
 * planes that adjoin on both sides into larger copies. The two places must not overlap. */
void vx_place_copy(const struct vx_place *to, const struct vx_place *from, const uint64_t n[3], uint32_t channels,
		   uint32_t width);

void vx_place_zero(const struct vx_place *to, const uint64_t n[3], uint32_t channels, uint32_t width);
/* The same with one voxel's `width` bytes of `value`. */
void vx_place_fill(const struct vx_place *to, const uint64_t n[3], uint32_t channels, uint32_t width,
		   const uint8_t *value);

#endif
