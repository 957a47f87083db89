/* SPDX-License-Identifier: Apache-2.0
 * A run of bytes of a box's file, as boxes: what a READ of a lazy file has to fetch. Pure, any thread.
 */
#ifndef VX_VOL_ROWS_H
#define VX_VOL_ROWS_H

#include "base/box.h"

struct vx_run_piece {
	struct vx_box box; /* absolute voxels */
	uint32_t chan, nchan;
	uint64_t first; /* the file's voxel index at which the piece begins */
};
#define VX_RUN_PIECES_MAX 7

/* Cuts voxels [i0, i1) of the file of `box` with `channels` channels (x fastest, then y, z, channel) into boxes that
 * the file stores one after another. Returns how many. */
unsigned vx_run_cut(const struct vx_box *box, uint32_t channels, uint64_t i0, uint64_t i1,
		    struct vx_run_piece ret[VX_RUN_PIECES_MAX]);

#endif
