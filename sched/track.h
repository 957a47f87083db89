/* SPDX-License-Identifier: Apache-2.0
 * Where will a reader of a lazy file read next? Watches the offsets of one open file and answers with a range worth
 * fetching ahead. Pure, tested on traces; the caller locks.
 */
#ifndef VX_SCHED_TRACK_H
#define VX_SCHED_TRACK_H

#include "base/vx.h"

struct vx_track {
	uint64_t last_off, last_end; /* the read before */
	uint64_t run_lo, run_hi;     /* what was read since the last jump */
	int64_t stride;              /* between the starts of the last two reads */
	unsigned run;                /* reads in a row that fitted the pattern */
	uint64_t window;             /* bytes to be ahead, doubling while the pattern holds */
	uint64_t ahead_lo, ahead_hi; /* what was asked ahead already */
};

#define VX_TRACK_WINDOW_MIN ((uint64_t)256 << 10)

/* A read of [off, off + len) of a file of `size` bytes arrived. True: [*lo, *hi) is worth fetching now, at most
 * `window_max` bytes, inside the file, and not asked for before. */
bool vx_track_read(struct vx_track *t, uint64_t off, uint64_t len, uint64_t size, uint64_t window_max, uint64_t *lo,
		   uint64_t *hi);

#endif
