/* SPDX-License-Identifier: Apache-2.0
 * Private to the codecs whose expanded payload is that of raw (images, compresso): the parts of raw that they share,
 * and what images have in common. An image is a chunk folded into rows, pixel by pixel in the order of its voxels;
 * any width and height whose product is the number of voxels will do. Pure, any thread.
 */
#ifndef VX_CODEC_EXPAND_H
#define VX_CODEC_EXPAND_H

#include "codec/codec.h"

/* vx_codec_raw.decode. */
int vx_raw_decode(const struct vx_chunk_form *f, const uint8_t *data, size_t len, const struct vx_box *part,
		  const struct vx_place *to, struct vx_err *e);

static inline uint64_t expand_voxels(const struct vx_chunk_form *f)
{
	return f->n[0] * f->n[1] * f->n[2];
}

/* A buffer for the expanded chunk, its length set. */
int expand_payload(struct vx_pool *pool, const struct vx_chunk_form *f, struct vx_buf **ret, struct vx_err *e);

/* The least that is sure to hold `body` bytes and what an image may say besides (colour profiles, texts). */
uint64_t expand_stored_bound(uint64_t body);

struct expand_image {
	const char *what; /* "png" */
	uint64_t width, height;
	uint32_t channels, bits; /* of a sample */
};

/* -EBADMSG unless the image is the chunk: to be called before its pixels cost memory. */
int expand_image_check(const struct vx_chunk_form *f, const struct expand_image *i, struct vx_err *e);

/* From `count` pixels, the samples of each side by side, to the planes of `payload`, from voxel `first` on. */
void expand_split(const struct vx_chunk_form *f, uint8_t *payload, uint64_t first, const uint8_t *pixels,
		  uint64_t count);

#endif
