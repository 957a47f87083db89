/* SPDX-License-Identifier: Apache-2.0
 * Private to codec_compresso.c and compresso_label.c: what the first reads out of a stream, and the second makes labels
 * of. Pure, any thread.
 */
#ifndef VX_CODEC_COMPRESSO_H
#define VX_CODEC_COMPRESSO_H

#include "codec/codec.h"

#include <string.h>

/* The sections of a stream, all of them inside it; what they hold is not checked yet. */
struct compresso {
	const struct vx_chunk_form *f;
	struct vx_err *e;
	const uint8_t *ids, *values, *locations, *windows, *index;
	uint64_t n_ids, n_values, n_locations, n_windows; /* n_windows: as stored, runs being one */
	uint32_t step[3], window_bytes;
	uint64_t grid[3]; /* windows along each axis */
	bool six;         /* connectivity 6: components go through slices */
	bool alone;       /* each slice can be decoded alone; `index` then says what it has */
	uint32_t index_bytes;
};

/* Which voxels are on a boundary: a bit for each, rows padded to bytes, BITS_SLACK bytes behind the last. */
#define BITS_SLACK 8

struct compresso_bits {
	uint8_t *at;
	uint64_t row, slice; /* bytes */
};

/* Writes the labels of all voxels to `payload`, or says what is wrong. */
int compresso_label(const struct compresso *s, const struct compresso_bits *b, uint8_t *payload);

static inline uint64_t compresso_load(const uint8_t *p, uint32_t bytes)
{
	uint64_t v = 0;

	memcpy(&v, p, bytes);
	return v;
}

#endif
