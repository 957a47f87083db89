/* SPDX-License-Identifier: Apache-2.0
 * Private to the codecs: copies from arrays whose axes lie in any order, with their bytes swapped if need be. Each line
 * of the source is read once while it is in the cache, each line of the destination written once. Pure, any thread.
 */
#ifndef VX_CODEC_PERMUTE_H
#define VX_CODEC_PERMUTE_H

#include "base/box.h"

/* Where voxels come from: voxel (x,y,z,c) is at at + x*x + y*row + z*plane + c*chan bytes. */
struct strided {
	const uint8_t *at;
	uint64_t x, row, plane, chan;
};

/* Copies n[0] x n[1] x n[2] voxels of `channels` channels, none of them 0; `width` is 1, 2, 4 or 8. `swap` turns each
 * voxel's bytes around. The two must not overlap. */
void permute_copy(const struct vx_place *to, const struct strided *from, const uint64_t n[3], uint32_t channels,
		  uint32_t width, bool swap);

/* Whether all of these bytes are 0 or 1. */
bool permute_is_bool(const struct strided *from, const uint64_t n[3], uint32_t channels);

#endif
