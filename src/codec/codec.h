/* SPDX-License-Identifier: Apache-2.0
 * Codecs: from the stored bytes of one chunk to voxels in their place. Each codec decodes just the
 * sub-box asked for, straight into its destination. Pure functions of bytes that may be hostile:
 * any thread, no state.
 */
#ifndef VX_CODEC_CODEC_H
#define VX_CODEC_CODEC_H

#include "base/box.h"
#include "base/buf.h"
#include "base/err.h"

/* What a codec must know of the chunk beforehand. The chunk's own box is [0,n). */
struct vx_chunk_form {
	uint64_t n[3];      /* voxels along x, y, z: the clipped cell, each >= 1 */
	uint32_t channels;  /* >= 1 */
	uint32_t width;     /* bytes of one voxel of one channel: 1, 2, 4, 8 */
	uint32_t block[3];  /* compressed_segmentation only */
	const void *params; /* the codec's own, of the scale; constant */
	/* The channels to decode: `some` of them from `first` on; 0: all. */
	struct {
		uint32_t first, some;
	} pick;
};

static inline uint32_t vx_chunk_form_picked(const struct vx_chunk_form *f)
{
	return f->pick.some ? f->pick.some : f->channels;
}

/* Decoded bytes of the whole chunk. Forms are checked when a volume is opened: this fits and is <=
 * VX_MAX_CHUNK_BYTES. */
static inline uint64_t vx_chunk_form_bytes(const struct vx_chunk_form *f)
{
	return f->n[0] * f->n[1] * f->n[2] * f->channels * f->width;
}

struct vx_codec {
	const char *name; /* as the format spells it */

	/* Optional. From the bytes of the chunk as the format defines them to the payload that `decode` cuts from
	 * and that is kept: for what cannot be cut as it is stored (images, compressors). *ret is a new buffer of
	 * `pool`, or `stored` with another reference. -EBADMSG and a sentence for what is damaged. `max_stored`
	 * comes with it: the largest such bytes that a sound chunk can have. */
	int (*expand)(struct vx_pool *pool, const struct vx_chunk_form *f, struct vx_buf *stored, struct vx_buf **ret,
		      struct vx_err *e);
	uint64_t (*max_stored)(const struct vx_chunk_form *f);

	/* The largest payload that a sound chunk of this form can have: nothing larger is inflated
	 * or kept. */
	uint64_t (*max_payload)(const struct vx_chunk_form *f);

	/* The payload's exact length where the form fixes it (raw, images), else 0. */
	uint64_t (*exact_payload)(const struct vx_chunk_form *f);

	/* Decodes the voxels of `part` (inside [0,n), not empty), the picked channels, to `to`, which is
	 * the place of part's corner. On failure the destination holds rubbish: -EBADMSG and a
	 * sentence. Reads nothing outside data[0,len) and writes nothing outside the part. */
	int (*decode)(const struct vx_chunk_form *f, const uint8_t *data, size_t len, const struct vx_box *part,
		      const struct vx_place *to, struct vx_err *e);
};

extern const struct vx_codec vx_codec_raw;
extern const struct vx_codec vx_codec_cseg;
extern const struct vx_codec vx_codec_jpeg;
extern const struct vx_codec vx_codec_png;
extern const struct vx_codec vx_codec_jxl; /* only where built with libjxl */
extern const struct vx_codec vx_codec_compresso;

/* By the format's name, case-insensitively; NULL when unknown. */
const struct vx_codec *vx_codec_find(const char *name);

/* The library without which this program was built and which the codec `name` would need; else NULL. */
const char *vx_codec_lacks(const char *name);

/* ---- compression at rest
 * -------------------------------------------------------------------------------------- */

enum vx_pack {
	VX_PACK_UNKNOWN, /* nothing was said: look at the bytes */
	VX_PACK_NONE,
	VX_PACK_GZIP,
	VX_PACK_BROTLI,
	VX_PACK_ZSTD,
};

/* From a Content-Encoding ("gzip", "x-gzip", "br", "zstd", "identity", ""), case-insensitively.
 * Anything else: -EBADMSG and a sentence that names it. */
int vx_pack_from_content_encoding(const char *text, enum vx_pack *ret, struct vx_err *e);

/* By magic number: gzip or zstd, else NONE. Brotli has no magic. */
enum vx_pack vx_pack_sniff(const uint8_t *data, size_t len);

/* Unpacks the bytes of one chunk. `exact` is the payload's length where known, else 0; `max` bounds
 * it in any case and is enforced before memory is taken. VX_PACK_UNKNOWN sniffs, but takes bytes
 * that already have the exact length as they are. On success *ret holds one reference: a new
 * buffer, or `packed` itself where there was nothing to undo. Too long, too short, damaged, or
 * followed by rubbish: -EBADMSG and a sentence. */
int vx_unpack(struct vx_pool *pool, enum vx_pack pack, struct vx_buf *packed, uint64_t exact, uint64_t max,
	      struct vx_buf **ret, struct vx_err *e);

#endif
