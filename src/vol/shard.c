/* SPDX-License-Identifier: Apache-2.0
 * The shards of neuroglancer_uint64_sharded_v1 and of Zarr's sharding_indexed. A number from an index is believed only
 * after it was compared with what the object can hold. Entries may overlap, leave gaps and stand in any order: both
 * formats allow it, and no byte can be written wrong by it.
 */
#include "vol/shard.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "codec/codec.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROOT_ENTRY 16
#define ROOT_BLOCK 4096       /* entries of Precomputed's shard index that are read at once */
#define MAX_MINISHARD_BITS 58 /* one more, and no offset behind the shard index fits 63 bits */
#define LEAF_ENTRY 24         /* as stored */
#define ABSENT UINT64_MAX

struct leaf_entry {
	uint64_t id, off, len;
};

static uint64_t load64(const uint8_t *p, bool big)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return big ? __builtin_bswap64(v) : v;
}

static uint64_t low_bits(uint64_t v, unsigned n)
{
	return n >= 64 ? v : v & (((uint64_t)1 << n) - 1);
}

static uint64_t shift_right(uint64_t v, unsigned n)
{
	return n >= 64 ? 0 : v >> n;
}

/* ---- which shard ---- */

static unsigned axis_bits(uint64_t cells)
{
	return cells <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(cells - 1);
}

unsigned vx_compressed_morton_bits(const uint64_t cells[3])
{
	return axis_bits(cells[0]) + axis_bits(cells[1]) + axis_bits(cells[2]);
}

uint64_t vx_compressed_morton(const uint64_t cells[3], const uint64_t at[3])
{
	unsigned n[3] = {axis_bits(cells[0]), axis_bits(cells[1]), axis_bits(cells[2])};
	unsigned left = n[0] + n[1] + n[2], j = 0;
	uint64_t code = 0;

	assert(left <= 64);
	for (unsigned i = 0; left > 0; i++)
		for (int d = 0; d < 3; d++) {
			if (i >= n[d])
				continue;
			code |= (at[d] >> i & 1) << j++;
			left--;
		}
	return code;
}

static uint32_t rotl32(uint32_t x, int n)
{
	return x << n | x >> (32 - n);
}

static uint32_t murmur_mix(uint32_t x)
{
	x = (x ^ x >> 16) * 0x85ebca6b;
	x = (x ^ x >> 13) * 0xc2b2ae35;
	return x ^ x >> 16;
}

/* Eight bytes are less than one block of the hash: only its tail and its end are left. */
uint64_t vx_murmur64(uint64_t k)
{
	const uint32_t length = 8;
	uint32_t h1 = rotl32((uint32_t)k * 0x239b961b, 15) * 0xab0e9789 ^ length;
	uint32_t h2 = rotl32((uint32_t)(k >> 32) * 0xab0e9789, 16) * 0x38b34ae5 ^ length;
	uint32_t h34 = length;

	h1 += h2 + 2 * h34;
	h2 = murmur_mix(h2 + h1);
	h34 = murmur_mix(h34 + h1);
	h1 = murmur_mix(h1) + h2 + 2 * h34;
	return (uint64_t)(h2 + h1) << 32 | h1;
}

static void find_precomputed(const struct vx_sharding *s, uint64_t id, struct vx_shard_at *ret)
{
	uint64_t h = shift_right(id, s->preshift_bits);

	if (s->murmur)
		h = vx_murmur64(h);
	*ret = (struct vx_shard_at){
	    .shard = {low_bits(shift_right(h, s->minishard_bits), s->shard_bits)},
	    .minishard = low_bits(h, s->minishard_bits),
	    .chunk = id,
	};
}

void vx_shard_find(const struct vx_sharding *s, const uint64_t cells[3], const uint64_t cell[3], uint32_t slab,
		   struct vx_shard_at *ret)
{
	if (s->kind == VX_SHARD_PRECOMPUTED) {
		find_precomputed(s, vx_compressed_morton(cells, cell), ret);
		return;
	}
	*ret = (struct vx_shard_at){.slab = slab / s->slabs, .chunk = slab % s->slabs * s->stride_c};
	for (int d = 0; d < 3; d++) {
		ret->shard[d] = cell[d] / s->cells[d];
		ret->chunk += cell[d] % s->cells[d] * s->stride[d];
	}
}

int vx_shard_name(const struct vx_sharding *s, const char *key, uint64_t shard, char *ret, size_t size)
{
	int digits = s->shard_bits ? (int)(s->shard_bits + 3) / 4 : 1;
	int n = snprintf(ret, size, "%s%s%0*" PRIx64 ".shard", key, key[0] ? "/" : "", digits, shard);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : n;
}

/* ---- the root ---- */

/* Bytes in front of everything else. */
static uint64_t precomputed_base(const struct vx_sharding *s)
{
	return (uint64_t)ROOT_ENTRY << s->minishard_bits;
}

static uint64_t zarr_entries(const struct vx_sharding *s)
{
	return s->cells[0] * s->cells[1] * s->cells[2] * s->slabs * (s->times ? s->times : 1);
}

static uint64_t zarr_index_bytes(const struct vx_sharding *s)
{
	return zarr_entries(s) * ROOT_ENTRY + (s->index_crc32c ? sizeof(uint32_t) : 0);
}

static int check_precomputed(const struct vx_sharding *s, struct vx_err *e)
{
	if (s->preshift_bits > 64)
		return vx_fail(e, -EBADMSG, "preshift_bits is %u; it must be at most 64", s->preshift_bits);
	if (s->minishard_bits > 64)
		return vx_fail(e, -EBADMSG, "minishard_bits is %u; it must be at most 64", s->minishard_bits);
	if (s->shard_bits > 64 - s->minishard_bits)
		return vx_fail(e, -EBADMSG, "shard_bits is %u; with minishard_bits %u it must be at most %u",
			       s->shard_bits, s->minishard_bits, 64 - s->minishard_bits);
	if (s->minishard_bits > MAX_MINISHARD_BITS)
		return vx_fail(e, -EFBIG,
			       "minishard_bits is %u: no object can hold the index; at most %u are supported",
			       s->minishard_bits, MAX_MINISHARD_BITS);
	return 0;
}

static int check_zarr(const struct vx_sharding *s, struct vx_err *e)
{
	uint64_t n = s->slabs, last, step;

	for (int d = 0; d < 3; d++)
		if (!s->cells[d] || !s->slabs)
			return vx_fail(e, -EBADMSG, "a shard has no chunks");
	for (int d = 0; d < 3; d++)
		if (!vx_mul_u64(n, s->cells[d], &n) || n > VX_MAX_SHARD_INDEX_BYTES / ROOT_ENTRY)
			return vx_fail(e, -EFBIG, "the index of a shard has more than %" PRIu64 " bytes",
				       (uint64_t)VX_MAX_SHARD_INDEX_BYTES);
	if (s->times && (!s->chunk_t || !vx_mul_u64(n, s->times, &n) || n > VX_MAX_SHARD_INDEX_BYTES / ROOT_ENTRY))
		return vx_fail(e, -EFBIG, "the index of a shard has more than %" PRIu64 " bytes",
			       (uint64_t)VX_MAX_SHARD_INDEX_BYTES);
	if (!vx_mul_u64(s->slabs - 1, s->stride_c, &last))
		last = UINT64_MAX;
	if (s->times && (!vx_mul_u64(s->times - 1, s->stride_t, &step) || !vx_add_u64(last, step, &last)))
		last = UINT64_MAX;
	for (int d = 0; d < 3; d++)
		if (!vx_mul_u64(s->cells[d] - 1, s->stride[d], &step) || !vx_add_u64(last, step, &last))
			last = UINT64_MAX;
	return last < n ? 0 : vx_fail(e, -EBADMSG, "the index of a shard has too few entries");
}

int vx_sharding_check(const struct vx_sharding *s, struct vx_err *e)
{
	return s->kind == VX_SHARD_PRECOMPUTED ? check_precomputed(s, e) : check_zarr(s, e);
}

uint64_t vx_shard_root_block(const struct vx_sharding *s, const struct vx_shard_at *at)
{
	return s->kind == VX_SHARD_PRECOMPUTED ? at->minishard / ROOT_BLOCK : 0;
}

struct vx_span vx_shard_root_span(const struct vx_sharding *s, const struct vx_shard_at *at)
{
	struct vx_span span = {.len = (uint64_t)ROOT_BLOCK * ROOT_ENTRY};

	if (s->kind == VX_SHARD_ZARR)
		return (struct vx_span){.len = zarr_index_bytes(s), .suffix = s->index_at_end};
	span.off = vx_shard_root_block(s, at) * span.len;
	span.len = vx_min_u64(span.len, precomputed_base(s) - span.off);
	return span;
}

bool vx_shard_same(const struct vx_shard_version *a, const struct vx_shard_version *b)
{
	return (!a->total || !b->total || a->total == b->total) && (!a->etag || !b->etag || a->etag == b->etag);
}

static uint8_t *payload(const struct vx_buf *index)
{
	return index->data + sizeof(struct vx_shard_index);
}

static struct vx_buf *index_new(struct vx_pool *pool, const struct vx_shard_version *v, uint64_t count, uint64_t bytes,
				struct vx_err *e)
{
	struct vx_buf *b = vx_buf_get(pool, sizeof(struct vx_shard_index) + bytes);

	if (!b) {
		vx_fail(e, -ENOMEM, "no memory for a shard's index of %" PRIu64 " bytes", bytes);
		return NULL;
	}
	*(struct vx_shard_index *)b->data = (struct vx_shard_index){.version = *v, .count = count};
	b->len = sizeof(struct vx_shard_index) + bytes;
	return b;
}

int vx_shard_root_new(struct vx_pool *pool, const struct vx_sharding *s, const struct vx_shard_at *at,
		      const struct vx_shard_version *v, const uint8_t *data, size_t len, struct vx_buf **ret,
		      struct vx_err *e)
{
	uint64_t want = vx_shard_root_span(s, at).len;

	if (len != want)
		return vx_fail(e, -EBADMSG, "the shard is cut off: %zu bytes of its index instead of %" PRIu64, len,
			       want);
	if (s->kind == VX_SHARD_ZARR && s->index_crc32c) {
		uint32_t is = vx_crc32c(data, len - sizeof is), said;

		memcpy(&said, data + len - sizeof said, sizeof said);
		if (is != said)
			return vx_fail(e, -EBADMSG, "the shard's index is damaged: its checksum is %08x, not %08x", is,
				       said);
		len -= sizeof is;
	}
	*ret = index_new(pool, v, len, len, e);
	if (!*ret)
		return -ENOMEM;
	memcpy(payload(*ret), data, len);
	return 0;
}

/* [off, off + len), counted from the object's first byte, lies in it as far as its size is known. */
static bool lies_within(const struct vx_shard_version *v, uint64_t off, uint64_t len)
{
	uint64_t end;

	return vx_add_u64(off, len, &end) && end <= INT64_MAX && (!v->total || end <= v->total);
}

int vx_shard_leaf_span(const struct vx_sharding *s, const struct vx_shard_at *at, const struct vx_buf *root,
		       struct vx_span *ret, struct vx_err *e)
{
	const struct vx_shard_version *v = &vx_shard_index_of(root)->version;
	const uint8_t *entry = payload(root) + at->minishard % ROOT_BLOCK * ROOT_ENTRY;
	uint64_t start = load64(entry, false), end = load64(entry + 8, false), off;

	assert(at->minishard % ROOT_BLOCK * ROOT_ENTRY < vx_shard_index_of(root)->count);
	if (start == end)
		return 0;
	if (end < start || !vx_add_u64(precomputed_base(s), start, &off) || !lies_within(v, off, end - start))
		return vx_fail(e, -EBADMSG,
			       "the shard's index puts that of minishard %" PRIu64 " at %" PRIu64 " to %" PRIu64
			       ", which is not in the shard",
			       at->minishard, start, end);
	if (end - start > VX_MAX_SHARD_INDEX_BYTES)
		return vx_fail(e, -EBADMSG,
			       "the index of minishard %" PRIu64 " has %" PRIu64 " bytes, more than %" PRIu64,
			       at->minishard, end - start, (uint64_t)VX_MAX_SHARD_INDEX_BYTES);
	*ret = (struct vx_span){.off = off, .len = end - start};
	return 1;
}

/* ---- the leaf ---- */

static int undo_deltas(const struct vx_sharding *s, const struct vx_shard_at *at, const uint8_t *rows, uint64_t n,
		       struct leaf_entry *to, struct vx_err *e)
{
	uint64_t id = 0, pos = precomputed_base(s);

	for (uint64_t i = 0; i < n; i++) {
		struct vx_shard_at is;

		/* Modulo 2^64: a chunk may stand before its forerunner. Where it ends up is checked when it is wanted.
		 */
		id += load64(rows + i * 8, false);
		pos += load64(rows + (n + i) * 8, false);
		to[i] = (struct leaf_entry){.id = id, .off = pos, .len = load64(rows + (2 * n + i) * 8, false)};
		pos += to[i].len;
		find_precomputed(s, id, &is);
		if (is.shard[0] != at->shard[0] || is.minishard != at->minishard)
			return vx_fail(e, -EBADMSG,
				       "the index of minishard %" PRIu64 " lists chunk %" PRIu64
				       ", which belongs to minishard %" PRIu64 " of shard %" PRIx64,
				       at->minishard, id, is.minishard, is.shard[0]);
	}
	return 0;
}

struct ranked {
	struct leaf_entry entry;
	uint64_t nth;
};

static int by_id_then_place(const void *pa, const void *pb)
{
	const struct ranked *a = pa, *b = pb;

	if (a->entry.id != b->entry.id)
		return a->entry.id < b->entry.id ? -1 : 1;
	return a->nth < b->nth ? -1 : 1;
}

/* Writers list ids in ascending order; the format asks for none, and of an id that is listed twice the first counts. */
static int sort_by_id(struct leaf_entry *l, uint64_t *n, struct vx_err *e)
{
	VX_AUTO_FREE struct ranked *r = NULL;
	uint64_t sorted = 1, kept = 0;

	while (sorted < *n && l[sorted - 1].id < l[sorted].id)
		sorted++;
	if (sorted >= *n)
		return 0;
	r = calloc(*n, sizeof *r);
	if (!r)
		return vx_fail(e, -ENOMEM, "no memory for the index of a minishard");
	for (uint64_t i = 0; i < *n; i++)
		r[i] = (struct ranked){.entry = l[i], .nth = i};
	qsort(r, *n, sizeof *r, by_id_then_place);
	for (uint64_t i = 0; i < *n; i++)
		if (i == 0 || r[i].entry.id != r[i - 1].entry.id)
			l[kept++] = r[i].entry;
	*n = kept;
	return 0;
}

int vx_shard_leaf_new(struct vx_pool *pool, const struct vx_sharding *s, const struct vx_shard_at *at,
		      const struct vx_shard_version *v, struct vx_buf *stored, struct vx_buf **ret, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *rows = NULL;
	VX_AUTO_BUF struct vx_buf *leaf = NULL;
	enum vx_pack pack = s->index_gzip ? VX_PACK_GZIP : VX_PACK_NONE;
	struct leaf_entry *entries;
	uint64_t n;
	int r = vx_unpack(pool, pack, stored, 0, VX_MAX_SHARD_INDEX_BYTES, &rows, e);

	if (r < 0)
		return vx_fail_prefix(e, "the index of minishard %" PRIu64, at->minishard);
	if (rows->len % LEAF_ENTRY)
		return vx_fail(e, -EBADMSG,
			       "the index of minishard %" PRIu64 " has %zu bytes, which is no multiple of %d",
			       at->minishard, rows->len, LEAF_ENTRY);
	n = rows->len / LEAF_ENTRY;
	leaf = index_new(pool, v, n, n * sizeof *entries, e);
	if (!leaf)
		return -ENOMEM;
	entries = (struct leaf_entry *)payload(leaf);
	if ((r = undo_deltas(s, at, rows->data, n, entries, e)) < 0 || (r = sort_by_id(entries, &n, e)) < 0)
		return r;
	((struct vx_shard_index *)leaf->data)->count = n;
	*ret = vx_steal(leaf);
	return 0;
}

/* ---- the chunk ---- */

static const struct leaf_entry *leaf_find(const struct vx_buf *leaf, uint64_t id)
{
	const struct leaf_entry *l = (const struct leaf_entry *)payload(leaf);
	uint64_t lo = 0, hi = vx_shard_index_of(leaf)->count;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (l[mid].id == id)
			return &l[mid];
		if (l[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* A chunk that is neither in the index's way nor outside. */
static bool is_sound_zarr(const struct vx_sharding *s, const struct vx_shard_version *v, uint64_t off, uint64_t len)
{
	uint64_t index = zarr_index_bytes(s);

	if (!len || !lies_within(v, off, len))
		return false;
	if (!s->index_at_end)
		return off >= index;
	return !v->total || (v->total >= index && off + len <= v->total - index);
}

int vx_shard_chunk_span(const struct vx_sharding *s, const struct vx_shard_at *at, const struct vx_buf *index,
			uint64_t max, struct vx_span *ret, struct vx_err *e)
{
	const struct vx_shard_version *v = &vx_shard_index_of(index)->version;
	uint64_t off, len;
	bool sound;

	if (s->kind == VX_SHARD_PRECOMPUTED) {
		const struct leaf_entry *l = leaf_find(index, at->chunk);

		if (!l || (!l->len && !s->data_gzip))
			return 0;
		off = l->off;
		len = l->len;
		sound = len && off >= precomputed_base(s) && lies_within(v, off, len);
	} else {
		const uint8_t *entry = payload(index) + at->chunk * ROOT_ENTRY;

		assert(at->chunk * ROOT_ENTRY < vx_shard_index_of(index)->count);
		off = load64(entry, s->index_big_endian);
		len = load64(entry + 8, s->index_big_endian);
		if (off == ABSENT && len == ABSENT)
			return 0;
		sound = is_sound_zarr(s, v, off, len);
	}
	if (!sound)
		return vx_fail(e, -EBADMSG,
			       "the shard's index gives it %" PRIu64 " bytes at %" PRIu64
			       ", where the shard has no chunk",
			       len, off);
	if (len > max)
		return vx_fail(e, -EBADMSG,
			       "the shard's index gives it %" PRIu64 " bytes, more than the %" PRIu64 " it can need",
			       len, max);
	*ret = (struct vx_span){.off = off, .len = len};
	return 1;
}
