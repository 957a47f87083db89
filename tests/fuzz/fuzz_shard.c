/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a shard: the first say how it is laid out and which chunk is wanted, the rest is the object. Whatever
 * the indexes claim, each step is refused or leads to a span within the object.
 */
#include "base/limits.h"
#include "vol/shard.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct layout {
	uint8_t kind, preshift, minishard, shard, flags;
	uint8_t cells[3], slabs;
	uint8_t at[3];
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static struct vx_sharding sharding_of(const struct layout *l)
{
	struct vx_sharding s = {.kind = l->kind & 1 ? VX_SHARD_ZARR : VX_SHARD_PRECOMPUTED};

	s.preshift_bits = l->preshift;
	s.minishard_bits = l->minishard;
	s.shard_bits = l->shard;
	s.murmur = l->flags & 1;
	s.index_gzip = l->flags & 2;
	s.data_gzip = l->flags & 4;
	s.index_at_end = l->flags & 8;
	s.index_big_endian = l->flags & 16;
	s.index_crc32c = l->flags & 32;
	s.slabs = l->slabs;
	s.stride_c = (uint64_t)l->cells[0] * l->cells[1] * l->cells[2];
	for (int d = 0; d < 3; d++)
		s.cells[d] = l->cells[d];
	s.stride[0] = 1;
	s.stride[1] = l->cells[0];
	s.stride[2] = (uint64_t)l->cells[0] * l->cells[1];
	return s;
}

/* The bytes of a span, as a store returns them. */
static struct vx_buf *read_span(struct vx_pool *pool, const uint8_t *data, size_t size, const struct vx_span *span)
{
	uint64_t len = span->suffix ? vx_min_u64(span->len, size) : span->len;
	uint64_t off = span->suffix ? size - len : span->off;
	struct vx_buf *b;

	if (off > size || len > size - off)
		return NULL;
	b = vx_buf_get(pool, len ? len : 1);
	must(b != NULL);
	memcpy(b->data, data + off, len);
	b->len = len;
	return b;
}

static void follow(struct vx_pool *pool, const struct vx_sharding *s, const struct vx_shard_at *at, const uint8_t *data,
		   size_t size, bool sized)
{
	struct vx_shard_version v = {.total = sized ? size : 0};
	struct vx_span span = vx_shard_root_span(s, at);
	VX_AUTO_BUF struct vx_buf *bytes = read_span(pool, data, size, &span);
	VX_AUTO_BUF struct vx_buf *root = NULL;
	VX_AUTO_BUF struct vx_buf *leaf = NULL;
	VX_AUTO_BUF struct vx_buf *stored = NULL;
	struct vx_err e = {0};
	int r = bytes ? vx_shard_root_new(pool, s, at, &v, bytes->data, bytes->len, &root, &e) : -EBADMSG;

	if (r == 0 && vx_shard_has_leaves(s)) {
		r = vx_shard_leaf_span(s, at, root, &span, &e);
		must(r <= 0 || !sized || (span.off <= size && span.len <= size - span.off));
		must(r <= 0 || (span.len > 0 && span.len <= VX_MAX_SHARD_INDEX_BYTES));
		stored = r > 0 ? read_span(pool, data, size, &span) : NULL;
		must(r >= 0 || e.why[0]);
		r = stored ? vx_shard_leaf_new(pool, s, at, &v, stored, &leaf, &e) : -EBADMSG;
	}
	if (r < 0)
		return;
	r = vx_shard_chunk_span(s, at, leaf ? leaf : root, 1 << 20, &span, &e);
	must(r >= 0 || (r == -EBADMSG && e.why[0]));
	must(r <= 0 || (span.len > 0 && span.len <= 1 << 20 && span.off + span.len <= INT64_MAX));
	must(r <= 0 || !sized || span.off + span.len <= size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint64_t grid[3] = {256, 256, 256};
	struct vx_sharding s;
	struct vx_shard_at at;
	struct vx_pool *pool;
	struct layout l;
	char name[64];

	if (size < sizeof l)
		return 0;
	memcpy(&l, data, sizeof l);
	s = sharding_of(&l);
	if (vx_sharding_check(&s, NULL) < 0)
		return 0;
	vx_shard_find(&s, grid, (const uint64_t[]){l.at[0], l.at[1], l.at[2]}, l.slabs ? l.at[0] % l.slabs : 0, &at);
	if (s.kind == VX_SHARD_PRECOMPUTED)
		must(vx_shard_name(&s, "key", at.shard[0], name, sizeof name) > 0);
	must(vx_pool_new(&pool, 0) == 0);
	follow(pool, &s, &at, data + sizeof l, size - sizeof l, true);
	follow(pool, &s, &at, data + sizeof l, size - sizeof l, false);
	vx_pool_free(&pool);
	return 0;
}
