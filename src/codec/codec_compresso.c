/* SPDX-License-Identifier: Apache-2.0
 * The compresso encoding: labels of one channel as the boundaries between them, one bit a voxel, and the labels of what
 * the boundaries enclose. Voxels off the boundary form components, numbered in raster order; those on it have the label
 * of a neighbour off it, or one from a list of exceptions.
 *
 * A part could be cut out only along z, and only of the common kind (version 1, connectivity 4): a component's number
 * depends on all of its slice. So the chunk is decoded once and kept as raw, and every later part is a copy.
 *
 * Besides the payload this takes a bit for each voxel (a byte where chunks are one voxel wide) and 8 bytes for each run
 * of voxels between boundaries, of one slice at a time in the common kind. Every count and index is hostile until
 * checked.
 */
#include "codec/compresso.h"
#include "codec/expand.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"

#define HEAD_BYTES 36
#define SIDE_MAX 65535 /* sides are stored in 16 bits */

/* ---- the stream ---- */

static uint32_t window_bytes(uint32_t voxels)
{
	return voxels <= 8 ? 1 : voxels <= 16 ? 2 : voxels <= 32 ? 4 : 8;
}

/* Of a number in the index of slices. */
static uint32_t index_bytes(const struct vx_chunk_form *f)
{
	uint64_t most = 2 * f->n[0] * f->n[1];

	return most < 255 ? 1 : most < 65535 ? 2 : most < 4294967295 ? 4 : 8;
}

static int bad_header(const struct compresso *s, const char *what)
{
	return vx_fail(s->e, -EBADMSG, "compresso header has %s", what);
}

/* Takes `count` items of `bytes` each off the front of [*at, end). */
static bool take_items(const uint8_t **at, const uint8_t *end, uint64_t count, uint64_t bytes, const uint8_t **ret)
{
	uint64_t size;

	if (!vx_mul_u64(count, bytes, &size) || size > (uint64_t)(end - *at))
		return false;
	*ret = *at;
	*at += size;
	return true;
}

static int read_sections(struct compresso *s, const uint8_t *data, size_t len, bool has_index)
{
	const uint8_t *at = data + HEAD_BYTES, *end = data + len;
	uint64_t tail = has_index ? 2 * s->f->n[2] * (uint64_t)s->index_bytes : 0;

	s->n_ids = compresso_load(data + 15, 8);
	s->n_values = compresso_load(data + 23, 4);
	s->n_locations = compresso_load(data + 27, 8);
	if (tail > (uint64_t)(end - at))
		return vx_fail(s->e, -EBADMSG, "compresso data is cut off");
	end -= tail;
	s->index = end;
	if (!take_items(&at, end, s->n_ids, s->f->width, &s->ids) ||
	    !take_items(&at, end, s->n_values, s->window_bytes, &s->values) ||
	    !take_items(&at, end, s->n_locations, s->f->width, &s->locations))
		return vx_fail(s->e, -EBADMSG, "compresso data is cut off");
	if ((uint64_t)(end - at) % s->window_bytes)
		return vx_fail(s->e, -EBADMSG, "compresso data ends within a window");
	s->windows = at;
	s->n_windows = (uint64_t)(end - at) / s->window_bytes;
	return 0;
}

static int read_header(struct compresso *s, const uint8_t *data, size_t len)
{
	uint32_t voxels = 1;

	if (len < HEAD_BYTES || memcmp(data, "cpso", 4))
		return vx_fail(s->e, -EBADMSG, "the chunk is no compresso stream");
	if (data[4] > 1)
		return vx_fail(s->e, -EBADMSG, "compresso version %u is not known", data[4]);
	if (data[5] != s->f->width)
		return vx_fail(s->e, -EBADMSG, "compresso labels have %u bytes, those of the volume %u", data[5],
			       s->f->width);
	for (int d = 0; d < 3; d++) {
		uint64_t side = compresso_load(data + 6 + 2 * d, 2);

		if (side != s->f->n[d])
			return vx_fail(s->e, -EBADMSG,
				       "compresso chunk has %" PRIu64 " voxels along %c instead of %" PRIu64, side,
				       "xyz"[d], s -> f -> n[d]);
		s->step[d] = data[12 + d];
		voxels *= s->step[d]; /* at most 2^24 */
		if (voxels == 0 || voxels > 64)
			return bad_header(s, "windows that are not of 1 to 64 voxels");
		s->grid[d] = vx_div_up(side, s->step[d]);
	}
	if (data[35] != 4 && data[35] != 6)
		return bad_header(s, "a connectivity that is neither 4 nor 6");
	s->six = data[35] == 6;
	s->alone = !s->six && data[4] == 1;
	s->window_bytes = window_bytes(voxels);
	s->index_bytes = index_bytes(s->f);
	return read_sections(s, data, len, data[4] == 1);
}

/* ---- boundaries ---- */

static void or_bits(uint8_t *row, uint64_t x, uint64_t v)
{
	unsigned shift = x % 8;

	row += x / 8;
	*row |= (uint8_t)(v << shift);
	for (v >>= 8 - shift; v; v >>= 8)
		*++row |= (uint8_t)v;
}

static uint64_t low_bits(uint64_t n)
{
	return n >= 64 ? UINT64_MAX : ((uint64_t)1 << n) - 1;
}

/* Window number i of all, clipped to the volume. */
static void put_window(const struct compresso *s, const struct compresso_bits *b, uint64_t i, uint64_t value)
{
	const uint64_t *n = s->f->n;
	uint64_t lo[3] = {i % s->grid[0] * s->step[0], i / s->grid[0] % s->grid[1] * s->step[1],
			  i / s->grid[0] / s->grid[1] * s->step[2]};
	uint64_t width = vx_min_u64(s->step[0], n[0] - lo[0]);

	for (uint64_t z = 0; z < s->step[2] && lo[2] + z < n[2]; z++)
		for (uint64_t y = 0; y < s->step[1] && lo[1] + y < n[1]; y++) {
			uint64_t v = value >> (s->step[0] * (y + s->step[1] * z)) & low_bits(width);

			if (v)
				or_bits(b->at + (lo[2] + z) * b->slice + (lo[1] + y) * b->row, lo[0], v);
		}
}

static void put_windows(const struct compresso *s, const struct compresso_bits *b, uint64_t i, uint64_t count,
			uint64_t value)
{
	for (; value && count > 0; count--)
		put_window(s, b, i++, value);
}

static int read_windows(const struct compresso *s, const struct compresso_bits *b)
{
	uint64_t all = s->grid[0] * s->grid[1] * s->grid[2], i = 0;
	uint64_t usual = s->n_values ? compresso_load(s->values, s->window_bytes) : 0;

	for (uint64_t k = 0; k < s->n_windows; k++) {
		uint64_t w = compresso_load(s->windows + k * s->window_bytes, s->window_bytes), v = w >> 1;
		uint64_t count = w & 1 ? v : 1; /* odd: a run of windows of the first value */

		if (count > all - i)
			return vx_fail(s->e, -EBADMSG, "compresso data has more than %" PRIu64 " windows", all);
		if (!(w & 1) && v >= s->n_values)
			return vx_fail(s->e, -EBADMSG, "compresso window %" PRIu64 " has a value that does not exist",
				       i);
		put_windows(s, b, i, count,
			    w & 1 ? usual : compresso_load(s->values + v * s->window_bytes, s->window_bytes));
		i += count;
	}
	put_windows(s, b, i, all - i, usual);
	return 0;
}

/* ---- all ---- */

static int decode_stream(const struct compresso *s, struct vx_pool *pool, struct vx_buf *payload)
{
	const uint64_t *n = s->f->n;
	struct compresso_bits b = {.row = vx_div_up(n[0], 8)};
	VX_AUTO_BUF struct vx_buf *bits = NULL;
	uint64_t bytes;
	int err;

	b.slice = b.row * n[1];
	bytes = b.slice * n[2] + BITS_SLACK;
	bits = vx_buf_get(pool, bytes);
	if (!bits)
		return vx_fail(s->e, -ENOMEM, "no memory for a compresso chunk");
	memset(bits->data, 0, bytes);
	b.at = bits->data;
	err = read_windows(s, &b);
	return err < 0 ? err : compresso_label(s, &b, payload->data);
}

static int expand(struct vx_pool *pool, const struct vx_chunk_form *f, struct vx_buf *stored, struct vx_buf **ret,
		  struct vx_err *e)
{
	struct compresso s = {.f = f, .e = e};
	VX_AUTO_BUF struct vx_buf *payload = NULL;
	int err;

	if (f->channels != 1 || f->n[0] > SIDE_MAX || f->n[1] > SIDE_MAX || f->n[2] > SIDE_MAX)
		return vx_fail(e, -EBADMSG, "compresso cannot hold chunks of this shape");
	err = read_header(&s, stored->data, stored->len);
	if (err == 0)
		err = expand_payload(pool, f, &payload, e);
	if (err == 0)
		err = decode_stream(&s, pool, payload);
	if (err < 0)
		return err;
	*ret = vx_steal(payload);
	return 0;
}

/* Windows of one voxel each, all different, and every voxel an exception. */
static uint64_t max_stored(const struct vx_chunk_form *f)
{
	return expand_stored_bound(expand_voxels(f) * (3 * f->width + 16) + 16 * f->n[2]);
}

const struct vx_codec vx_codec_compresso = {
    .name = "compresso",
    .expand = expand,
    .max_stored = max_stored,
    .max_payload = vx_chunk_form_bytes,
    .exact_payload = vx_chunk_form_bytes,
    .decode = vx_raw_decode,
};
