/* SPDX-License-Identifier: Apache-2.0
 * Filters of numcodecs, which change elements one by one before they are compressed. Pure functions of bytes that may
 * be hostile; any thread.
 */
#ifndef VX_CODEC_FILTER_H
#define VX_CODEC_FILTER_H

#include "codec/chain.h"

#define VX_FILTERS_MAX 4

enum vx_filter_kind {
	VX_FILTER_DELTA,   /* differences from the element before */
	VX_FILTER_SCALE,   /* fixedscaleoffset */
	VX_FILTER_CAST,    /* astype, quantize */
	VX_FILTER_SHUFFLE, /* first bytes of all elements, then second ones, ... */
};

/* Elements as numpy has them. */
struct vx_element {
	char kind; /* 'i', 'u', 'f' */
	uint32_t width;
	bool big_endian;
};

struct vx_filter {
	enum vx_filter_kind kind;
	struct vx_element stored, plain; /* what it makes when writing, and what it is given */
	double scale, offset;            /* VX_FILTER_SCALE */
	uint32_t step;                   /* VX_FILTER_SHUFFLE: bytes of what it takes for an element */
};

/* vx_chunk_form.params of vx_codec_filtered: begins with a chain, that of the elements when all is undone, which has no
 * links. */
struct vx_filtered {
	struct vx_chain chain;
	struct vx_chain stored; /* of the elements as they are compressed */
	unsigned nfilters;
	struct vx_filter filter[VX_FILTERS_MAX]; /* in the order in which they are undone */
};

extern const struct vx_codec vx_codec_filtered;

#endif
