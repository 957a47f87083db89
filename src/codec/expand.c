/* SPDX-License-Identifier: Apache-2.0
 * What the codecs that expand to raw have in common.
 */
#include "codec/expand.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"

#define METADATA_BYTES ((uint64_t)1 << 20)

int expand_payload(struct vx_pool *pool, const struct vx_chunk_form *f, struct vx_buf **ret, struct vx_err *e)
{
	uint64_t bytes = vx_chunk_form_bytes(f);
	struct vx_buf *b = vx_buf_get(pool, bytes);

	if (!b)
		return vx_fail(e, -ENOMEM, "no memory for a chunk of %" PRIu64 " bytes", bytes);
	b->len = bytes;
	*ret = b;
	return 0;
}

uint64_t expand_stored_bound(uint64_t body)
{
	return vx_min_u64(body, 2 * VX_MAX_CHUNK_BYTES) + METADATA_BYTES;
}

int expand_image_check(const struct vx_chunk_form *f, const struct expand_image *i, struct vx_err *e)
{
	uint64_t pixels;

	if (!vx_mul_u64(i->width, i->height, &pixels) || pixels != expand_voxels(f))
		return vx_fail(e, -EBADMSG,
			       "%s image of %" PRIu64 " x %" PRIu64 " pixels does not fold into a chunk of %" PRIu64
			       " x %" PRIu64 " x %" PRIu64,
			       i->what, i->width, i->height, f->n[0], f->n[1], f->n[2]);
	if (i->channels != f->channels)
		return vx_fail(e, -EBADMSG, "%s image has %u channels, the volume %u", i->what, i->channels,
			       f->channels);
	if (i->bits != f->width * 8)
		return vx_fail(e, -EBADMSG, "%s image has samples of %u bits, the volume of %u", i->what, i->bits,
			       f->width * 8);
	return 0;
}

static inline __attribute__((always_inline)) void split(uint8_t *to, uint64_t plane, const uint8_t *pixels,
							uint64_t count, uint32_t channels, uint32_t width)
{
	for (uint32_t c = 0; c < channels; c++)
		for (uint64_t i = 0; i < count; i++)
			memcpy(to + c * plane + i * width, pixels + (i * channels + c) * width, width);
}

void expand_split(const struct vx_chunk_form *f, uint8_t *payload, uint64_t first, const uint8_t *pixels,
		  uint64_t count)
{
	uint64_t plane = expand_voxels(f) * f->width;
	uint8_t *to = payload + first * f->width;

	assert(count <= expand_voxels(f) && first <= expand_voxels(f) - count);
	if (f->channels == 1)
		memcpy(to, pixels, count * f->width);
	else if (f->width == 1 && f->channels == 3)
		split(to, plane, pixels, count, 3, 1);
	else if (f->width == 1)
		split(to, plane, pixels, count, f->channels, 1);
	else
		split(to, plane, pixels, count, f->channels, f->width);
}
