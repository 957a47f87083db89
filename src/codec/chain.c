/* SPDX-License-Identifier: Apache-2.0
 * Chunks of Zarr and N5. Undoing a chain: each compressor unpacks into a buffer of the pool that goes back as soon as
 * the next link has read it; checksums are verified where they lie and cut off. How long the array is follows from the
 * shape, or from N5's header after that was held against the shape; how long what comes before it may be follows from
 * what sound writers do. So nothing larger than that is ever unpacked.
 */
#include "codec/chain.h"
#include "codec/chain_links.h"
#include "codec/permute.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/limits.h"

#define N5_MODE_DEFAULT 0
#define N5_MODE_VARLENGTH 1
#define N5_MODE_OBJECT 2

/* The array of one chunk, as it lies in memory. */
struct array {
	uint64_t front; /* bytes of N5's header before it */
	uint64_t bytes;
	uint64_t tail; /* bytes of checksums behind it */
	uint64_t n[VX_CHAIN_RANK_MAX];
};

static const struct vx_chain *chain_of(const struct vx_chunk_form *f)
{
	return f->params;
}

/* ---- what a chain may be ---- */

static bool shape_bytes(const uint64_t *n, unsigned rank, uint32_t width, uint64_t *ret)
{
	*ret = width;
	for (unsigned i = 0; i < rank; i++)
		if (!vx_mul_u64(*ret, n[i], ret) || *ret > VX_MAX_CHUNK_BYTES)
			return false;
	return true;
}

static int check_axes(const struct vx_chain *c, struct vx_err *e)
{
	unsigned seen = 0;

	for (unsigned i = 0; i < c->rank; i++) {
		unsigned bit = 1u << c->axis[i];

		if (c->axis[i] > VX_AXIS_ONE || (c->axis[i] != VX_AXIS_ONE && seen & bit))
			return vx_fail(e, -EINVAL, "axis %u of a chunk is not known or there twice", i);
		if (c->shape[i] == 0 || c->at[i] >= c->shape[i] || (c->axis[i] != VX_AXIS_ONE && c->at[i]))
			return vx_fail(e, -EINVAL, "a chunk has length %" PRIu64 " along axis %u", c->shape[i], i);
		seen |= bit;
	}
	return 0;
}

int vx_chain_check(const struct vx_chain *c, struct vx_err *e)
{
	uint64_t bytes;
	int err;

	if (c->rank > VX_CHAIN_RANK_MAX || c->nlinks > VX_CHAIN_LINKS_MAX)
		return vx_fail(e, -EINVAL, "chunks of %u axes and %u compressors are beyond the limits (%d, %d)",
			       c->rank, c->nlinks, VX_CHAIN_RANK_MAX, VX_CHAIN_LINKS_MAX);
	if ((c->width != 1 && c->width != 2 && c->width != 4 && c->width != 8) || (c->is_bool && c->width != 1))
		return vx_fail(e, -EINVAL, "elements of %u bytes are not known", c->width);
	for (unsigned i = 0; i < c->nlinks; i++)
		if (c->link[i] > VX_LINK_CRC32C)
			return vx_fail(e, -EINVAL, "compressor %d is not known", (int)c->link[i]);
	err = check_axes(c, e);
	if (err < 0)
		return err;
	if (!shape_bytes(c->shape, c->rank, c->width, &bytes))
		return vx_fail(e, -EFBIG, "a chunk has more than %" PRIu64 " bytes", VX_MAX_CHUNK_BYTES);
	return 0;
}

/* ---- lengths ---- */

static uint64_t header_bytes(const struct vx_chain *c)
{
	return c->n5 ? 4 + 4 * (uint64_t)c->rank : 0;
}

/* The index behind the last compressor: from there on only checksums follow. */
static unsigned behind_compressors(const struct vx_chain *c)
{
	unsigned n = c->nlinks;

	while (n > 0 && c->link[n - 1] == VX_LINK_CRC32C)
		n--;
	return n;
}

static struct array whole_array(const struct vx_chain *c)
{
	struct array a = {.front = header_bytes(c)};
	bool fits = shape_bytes(c->shape, c->rank, c->width, &a.bytes);

	assert(fits); /* vx_chain_check */
	(void)fits;
	memcpy(a.n, c->shape, sizeof a.n);
	if (behind_compressors(c) == 0)
		a.tail = c->nlinks * CRC32C_BYTES;
	return a;
}

uint64_t vx_chain_max_payload(const struct vx_chunk_form *f)
{
	struct array a = whole_array(chain_of(f));

	return a.front + a.bytes + a.tail;
}

uint64_t vx_chain_exact_payload(const struct vx_chunk_form *f)
{
	return chain_of(f)->n5 ? 0 : vx_chain_max_payload(f);
}

/* The most bytes that `array` bytes can have before links [from, nlinks) are undone. */
static uint64_t packed_max(const struct vx_chain *c, unsigned from, uint64_t array)
{
	for (unsigned i = c->nlinks; i > from; i--)
		array = link_packed_max(c->link[i - 1], array);
	return array;
}

static uint64_t max_stored(const struct vx_chunk_form *f)
{
	struct array a = whole_array(chain_of(f));

	return a.front + packed_max(chain_of(f), 0, a.bytes);
}

/* ---- N5's header ---- */

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int n5_mode(const uint8_t *data, struct vx_err *e)
{
	unsigned mode = (unsigned)data[0] << 8 | data[1];

	switch (mode) {
	case N5_MODE_DEFAULT:
		return 0;
	case N5_MODE_VARLENGTH:
		return vx_fail(e, -EOPNOTSUPP, "N5 blocks of variable length (mode 1) are not supported");
	case N5_MODE_OBJECT:
		return vx_fail(e, -EOPNOTSUPP, "N5 blocks of objects (mode 2) are not supported");
	default:
		return vx_fail(e, -EBADMSG, "the N5 block's header is damaged: mode %u", mode);
	}
}

/* Lengths come fastest axis first. */
static int n5_shape(const struct vx_chain *c, const uint8_t *data, struct array *a, struct vx_err *e)
{
	for (unsigned i = 0; i < c->rank; i++) {
		uint64_t n = be32(data + 4 + 4 * (c->rank - 1 - i));

		if (n == 0 || n > c->shape[i])
			return vx_fail(e, -EBADMSG,
				       "the N5 block's header says length %" PRIu64 " where blocks have %" PRIu64, n,
				       c->shape[i]);
		a->n[i] = n;
	}
	return shape_bytes(a->n, c->rank, c->width, &a->bytes) ? 0 : vx_fail(e, -EFBIG, "the N5 block is too large");
}

/* The array that the stored bytes, or those kept, hold. */
static int find_array(const struct vx_chain *c, const uint8_t *data, size_t len, struct array *ret, struct vx_err *e)
{
	int err;

	*ret = whole_array(c);
	if (!c->n5)
		return 0;
	if (len < ret->front)
		return vx_fail(e, -EBADMSG, "the N5 block of %zu bytes is cut off in its header", len);
	err = n5_mode(data, e);
	if (err < 0)
		return err;
	if (((unsigned)data[2] << 8 | data[3]) != c->rank)
		return vx_fail(e, -EBADMSG, "the N5 block's header says %u axes where the dataset has %u",
			       (unsigned)data[2] << 8 | data[3], c->rank);
	return n5_shape(c, data, ret, e);
}

static int check_length(const struct vx_chain *c, const struct array *a, uint64_t len, struct vx_err *e)
{
	if (len == a->bytes)
		return 0;
	return vx_fail(e, -EBADMSG, "the chunk has %" PRIu64 " bytes, its %s needs %" PRIu64, len,
		       c->n5 ? "header" : "shape", a->bytes);
}

/* ---- undoing the chain ---- */

/* Verifies the checksum behind the data and leaves it off. */
static int undo_crc32c(const uint8_t *data, uint64_t *len, struct vx_err *e)
{
	uint32_t want;

	if (*len < CRC32C_BYTES)
		return vx_fail(e, -EBADMSG, "the chunk is cut off in its checksum");
	*len -= CRC32C_BYTES;
	memcpy(&want, data + *len, sizeof want);
	if (vx_crc32c(data, *len) != want)
		return vx_fail(e, -EBADMSG, "the chunk is damaged: its crc32c differs");
	return 0;
}

/* What link `i` must make, or at most. */
static struct out output_of(const struct vx_chain *c, unsigned i, const struct array *a, struct vx_err *e)
{
	struct out o = {.limit = packed_max(c, i + 1, a->bytes), .e = e};
	unsigned behind = behind_compressors(c);

	if (i + 1 == behind) {
		o.exact = o.limit;
		o.front = a->front;
	}
	return o;
}

static int undo_links(struct vx_pool *pool, const struct vx_chain *c, const struct array *a, struct vx_buf *stored,
		      struct vx_buf **ret, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *at = vx_buf_ref(stored);
	uint64_t front = a->front, len = stored->len - front;
	int err = 0;

	for (unsigned i = 0; i < c->nlinks; i++) {
		struct out o = output_of(c, i, a, e);

		if (c->link[i] == VX_LINK_CRC32C) {
			err = undo_crc32c(at->data + front, &len, e);
		} else {
			err = link_undo(c->link[i], pool, at->data + front, len, &o);
			vx_buf_put(at);
			at = o.buf;
			front = o.front;
			len = at ? at->len - front : 0;
		}
		if (err < 0)
			return err;
	}
	err = check_length(c, a, len, e);
	if (err < 0)
		return err;
	if (at != stored) {
		memcpy(at->data, stored->data, front);
		at->len = front + len;
	}
	*ret = vx_steal(at);
	return 0;
}

static int expand(struct vx_pool *pool, const struct vx_chunk_form *f, struct vx_buf *stored, struct vx_buf **ret,
		  struct vx_err *e)
{
	const struct vx_chain *c = chain_of(f);
	struct array a;
	int err;

	if (stored->len == 0)
		return vx_fail(e, -EBADMSG, "the chunk is empty");
	err = find_array(c, stored->data, stored->len, &a, e);
	return err < 0 ? err : undo_links(pool, c, &a, stored, ret, e);
}

/* ---- links around bytes of no fixed length ---- */

uint64_t vx_link_packed_max(enum vx_link_kind kind, uint64_t bytes)
{
	return link_packed_max(kind, bytes);
}

static int undo_link(struct vx_pool *pool, enum vx_link_kind kind, uint64_t limit, struct vx_buf **at, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *from = vx_steal(*at);
	struct out o = {.limit = limit, .e = e};
	uint64_t len = from->len;
	int err;

	if (kind == VX_LINK_CRC32C) {
		err = undo_crc32c(from->data, &len, e);
		*at = err < 0 ? NULL : vx_buf_slice(from, 0, len);
		return err < 0 || *at ? err : vx_fail(e, -ENOMEM, "no memory for a chunk");
	}
	err = link_undo(kind, pool, from->data, len, &o);
	*at = o.buf;
	return err;
}

int vx_links_undo(struct vx_pool *pool, const enum vx_link_kind *link, unsigned n, uint64_t limit,
		  struct vx_buf *stored, struct vx_buf **ret, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *at = vx_buf_ref(stored);
	int err = at ? 0 : vx_fail(e, -ENOMEM, "no memory for a chunk");

	for (unsigned i = 0; err == 0 && i < n; i++) {
		uint64_t room = limit;

		for (unsigned k = n; k-- > i + 1;)
			room = link_packed_max(link[k], room);
		err = undo_link(pool, link[i], room, &at, e);
	}
	if (err == 0)
		*ret = vx_steal(at);
	return err;
}

/* ---- cutting a part out ---- */

/* Where the voxels of the chunk's corner lie, and how many are there along x, y, z and channel. */
static struct strided place_of(const struct vx_chain *c, const struct array *a, const uint8_t *data, uint64_t have[4])
{
	struct strided s = {.at = data + a->front};
	uint64_t step = c->width, *steps[] = {&s.x, &s.row, &s.plane, &s.chan};
	bool served = true;

	for (int d = 0; d < 4; d++)
		have[d] = 1;
	for (unsigned i = c->rank; i-- > 0; step *= a->n[i]) {
		if (c->axis[i] == VX_AXIS_ONE) {
			s.at += c->at[i] * step;
			served &= c->at[i] < a->n[i]; /* else N5 cut it off: all is zero */
		} else {
			*steps[c->axis[i]] = step;
			have[c->axis[i]] = a->n[i];
		}
	}
	if (!served)
		have[0] = 0;
	return s;
}

static struct vx_place moved(const struct vx_chunk_form *f, const struct vx_place *to, const struct vx_box *part,
			     const struct vx_box *piece, uint32_t channel)
{
	struct vx_place p = vx_place_at(to, part, piece, f->width);

	p.at += channel * to->chan;
	return p;
}

/* The voxels of `piece`, `channels` of the picked ones, which are all there. */
static int copy_piece(const struct vx_chunk_form *f, const struct strided *whole, const struct vx_box *part,
		      const struct vx_box *piece, uint32_t channels, const struct vx_place *to, struct vx_err *e)
{
	const struct vx_chain *c = chain_of(f);
	struct vx_place at = moved(f, to, part, piece, 0);
	struct strided from = *whole;
	uint64_t n[3];

	vx_box_extents(piece, n);
	from.at += (uint64_t)piece->lo[0] * from.x + (uint64_t)piece->lo[1] * from.row +
		   (uint64_t)piece->lo[2] * from.plane + f->pick.first * from.chan;
	if (c->is_bool && !permute_is_bool(&from, n, channels))
		return vx_fail(e, -EBADMSG, "the chunk is damaged: bytes of bool that are neither 0 nor 1");
	permute_copy(&at, &from, n, channels, f->width, c->big_endian);
	return 0;
}

static void zero_piece(const struct vx_chunk_form *f, const struct vx_box *part, const struct vx_box *piece,
		       uint32_t first, uint32_t channels, const struct vx_place *to)
{
	struct vx_place at = moved(f, to, part, piece, first);
	uint64_t n[3];

	vx_box_extents(piece, n);
	vx_place_zero(&at, n, channels, f->width);
}

/* What an N5 block that was cut short does not hold is zero. */
static int decode_array(const struct vx_chunk_form *f, const struct strided *whole, const uint64_t have[4],
			const struct vx_box *part, const struct vx_place *to, struct vx_err *e)
{
	const struct vx_box there = {.hi = {(int64_t)have[0], (int64_t)have[1], (int64_t)have[2]}};
	uint32_t picked = vx_chunk_form_picked(f), channels;
	struct vx_box common, rest[6];
	int nrest = vx_box_subtract(part, &there, rest);

	for (int i = 0; i < nrest; i++)
		zero_piece(f, part, &rest[i], 0, picked, to);
	if (!vx_box_clip(part, &there, &common))
		return 0;
	channels = have[3] <= f->pick.first ? 0 : (uint32_t)vx_min_u64(picked, have[3] - f->pick.first);
	if (channels < picked)
		zero_piece(f, part, &common, channels, picked - channels, to);
	return channels ? copy_piece(f, whole, part, &common, channels, to, e) : 0;
}

int vx_chain_decode(const struct vx_chunk_form *f, const uint8_t *data, size_t len, const struct vx_box *part,
		    const struct vx_place *to, struct vx_err *e)
{
	const struct vx_chain *c = chain_of(f);
	uint64_t have[4];
	struct strided whole;
	struct array a;
	int err = find_array(c, data, len, &a, e);

	assert(f->width == c->width);
	if (err == 0 && len < a.front + a.tail)
		err = vx_fail(e, -EBADMSG, "the chunk of %zu bytes is cut off", len);
	if (err == 0)
		err = check_length(c, &a, len - a.front - a.tail, e);
	if (err < 0)
		return err;
	whole = place_of(c, &a, data, have);
	for (int d = 0; d < 4 && !c->n5; d++)
		assert((d < 3 ? f->n[d] : f->channels) <= have[d]);
	return decode_array(f, &whole, have, part, to, e);
}

const struct vx_codec vx_codec_chain = {
    .name = "chain",
    .expand = expand,
    .max_stored = max_stored,
    .max_payload = vx_chain_max_payload,
    .exact_payload = vx_chain_exact_payload,
    .decode = vx_chain_decode,
};
