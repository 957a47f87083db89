/* SPDX-License-Identifier: Apache-2.0
 * Private to codec_cseg.c, cseg_rows.c and their tests: the inner loops of compressed_segmentation,
 * and which of them the processor can run. Pure, any thread.
 */
#ifndef VX_CODEC_CSEG_H
#define VX_CODEC_CSEG_H

#include "codec/codec.h"

enum cseg_level { CSEG_PORTABLE, CSEG_AVX2, CSEG_AVX512, CSEG_LEVELS };

/* Some rows of one block, each a whole number of groups of 8 voxels. A group is `bits` bytes of
 * values, and its first starts on a byte. */
struct cseg_rows {
	uint8_t *to;
	uint64_t row, plane; /* bytes from row to row, plane to plane of `to` */
	const uint8_t *values;
	uint64_t vrow, vplane; /* the same of `values` */
	const uint8_t *table;  /* 2^bits labels, all of them readable */
	uint64_t groups, ny, nz;
};

typedef void cseg_rows_fn(const struct cseg_rows *r);

/* Index of a width of values among the loops: 0, 1, 2, 4, 8, 16 bits. */
#define CSEG_BITS_CLASSES 6

struct cseg_kernels {
	cseg_rows_fn *rows[2][CSEG_BITS_CLASSES]; /* [uint64][bits class] */
	/* The same with stores that pass the caches by; NULL where there is none. Needs `to`, row
	 * and plane to be multiples of 64; stream_fence() must follow before others may look. */
	cseg_rows_fn *stream[2][CSEG_BITS_CLASSES];
};

/* NULL when this processor cannot. */
const struct cseg_kernels *cseg_kernels(enum cseg_level level);
enum cseg_level cseg_best_level(void);

/* vx_codec_cseg.decode at a given level, so that tests reach each of them. */
int cseg_decode(const struct cseg_kernels *k, const struct vx_chunk_form *f, const uint8_t *data, size_t len,
		const struct vx_box *part, const struct vx_place *to, struct vx_err *e);

#endif
