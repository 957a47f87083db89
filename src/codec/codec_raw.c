/* SPDX-License-Identifier: Apache-2.0
 * The raw encoding: voxels as they are, x fastest, then y, z, channel. Decoding is one strided copy
 * that reads and writes each byte of the part once and nothing else; into a large box it passes the
 * caches by.
 */
#include "codec/expand.h"
#include "codec/stream.h"

#include <assert.h>
#include <inttypes.h>

int vx_raw_decode(const struct vx_chunk_form *f, const uint8_t *data, size_t len, const struct vx_box *part,
		  const struct vx_place *to, struct vx_err *e)
{
	const struct vx_box whole = {.hi = {(int64_t)f->n[0], (int64_t)f->n[1], (int64_t)f->n[2]}};
	uint64_t want = vx_chunk_form_bytes(f), n[3];
	uint32_t picked = vx_chunk_form_picked(f);
	struct vx_place from;

	assert(picked <= f->channels && f->pick.first <= f->channels - picked);
	if (len != want)
		return vx_fail(e, -EBADMSG, "raw chunk has %zu bytes, its shape needs %" PRIu64, len, want);
	from = vx_place_packed((uint8_t *)(uintptr_t)data, f->n, f->width); /* only read from */
	from = vx_place_at(&from, &whole, part, f->width);
	vx_box_extents(part, n);
	from.at += f->pick.first * from.chan;
	stream_or_copy(to, &from, n, picked, f->width);
	return 0;
}

const struct vx_codec vx_codec_raw = {
    .name = "raw",
    .max_payload = vx_chunk_form_bytes,
    .exact_payload = vx_chunk_form_bytes,
    .decode = vx_raw_decode,
};
