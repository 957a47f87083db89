/* SPDX-License-Identifier: Apache-2.0
 * Shards: objects that hold many chunks, and the indexes that say where in them. Pure functions of bytes that may be
 * hostile; any thread.
 *
 * A chunk is found in one step or two. The root index stands at a place that is known beforehand: all of Zarr's index,
 * or the block of Precomputed's shard index that has the minishard's entry. Zarr's root says where chunks are;
 * Precomputed's says where a leaf is, the minishard's index, and that says where chunks are.
 */
#ifndef VX_VOL_SHARD_H
#define VX_VOL_SHARD_H

#include "base/buf.h"
#include "base/err.h"

enum vx_shard_kind { VX_SHARD_PRECOMPUTED, VX_SHARD_ZARR };

/* How the chunks of one grid are laid into shards; checked when the metadata is parsed. */
struct vx_sharding {
	enum vx_shard_kind kind;
	/* neuroglancer_uint64_sharded_v1 */
	unsigned preshift_bits, minishard_bits, shard_bits;
	bool murmur; /* murmurhash3_x86_128, else identity */
	bool index_gzip, data_gzip;
	/* Zarr's sharding_indexed: a shard has cells[0] x cells[1] x cells[2] chunks of `slabs` slabs each; entry
	 * x * stride[0] + y * stride[1] + z * stride[2] + slab * stride_c of its index is that of one chunk. */
	uint64_t cells[3], stride[3];
	uint32_t slabs;
	uint64_t stride_c;
	/* Several time points of one shard: chunks have chunk_t of them each, a shard `times` chunks one after another,
	 * whose entries are stride_t apart. 0: one. */
	uint32_t chunk_t, times;
	uint64_t stride_t;
	bool index_at_end, index_big_endian, index_crc32c;
};

/* Whether numbers from metadata make a sharding that the functions below can work with; the sentence names the member.
 * -EBADMSG: against the format; -EFBIG: an index beyond what is supported. */
int vx_sharding_check(const struct vx_sharding *s, struct vx_err *e);

/* The bits of the three numbers interleaved, x lowest, without those that are 0 for all cells of the grid. `cells` must
 * have passed vx_compressed_morton_bits() <= 64. */
uint64_t vx_compressed_morton(const uint64_t cells[3], const uint64_t at[3]);
unsigned vx_compressed_morton_bits(const uint64_t cells[3]);
/* The first 64 bits of MurmurHash3 (x86, 128 bits, seed 0) of the eight little-endian bytes of `k`. */
uint64_t vx_murmur64(uint64_t k);

/* Where a chunk is to be looked for. */
struct vx_shard_at {
	uint64_t shard[3]; /* which object: Precomputed has its number in shard[0] */
	uint32_t slab;     /* and Zarr the group of slabs */
	uint64_t minishard;
	uint64_t chunk; /* Precomputed: the chunk's id; Zarr: the number of its entry */
};
void vx_shard_find(const struct vx_sharding *s, const uint64_t cells[3], const uint64_t cell[3], uint32_t slab,
		   struct vx_shard_at *ret);

/* Moves the entry to that of a time point. */
static inline void vx_shard_find_time(const struct vx_sharding *s, uint32_t time, struct vx_shard_at *at)
{
	if (s->times)
		at->chunk += time / s->chunk_t % s->times * s->stride_t;
}

/* "<key>/<hex>.shard"; the length, or -ENAMETOOLONG. Precomputed only. */
int vx_shard_name(const struct vx_sharding *s, const char *key, uint64_t shard, char *ret, size_t size);

/* Bytes [off, off + len) of an object, or with `suffix` its last `len`. */
struct vx_span {
	uint64_t off, len;
	bool suffix;
};

static inline bool vx_shard_has_leaves(const struct vx_sharding *s)
{
	return s->kind == VX_SHARD_PRECOMPUTED;
}

/* Tells apart the root blocks of one shard. */
uint64_t vx_shard_root_block(const struct vx_sharding *s, const struct vx_shard_at *at);
struct vx_span vx_shard_root_span(const struct vx_sharding *s, const struct vx_shard_at *at);

/* What the store said about the object that bytes are from: bytes of a later answer must agree with the index. */
struct vx_shard_version {
	uint64_t total; /* the object's size, 0: not said */
	uint64_t etag;  /* a hash, 0: not said */
};
/* False only when the two are known to differ. */
bool vx_shard_same(const struct vx_shard_version *a, const struct vx_shard_version *b);

/* An index as it is kept: a buffer that begins with this. Made by the two functions below, each from the bytes of a
 * span as they came; -EBADMSG and a sentence for what is damaged. */
struct vx_shard_index {
	struct vx_shard_version version;
	uint64_t count; /* root: bytes that follow; leaf: entries */
};
int vx_shard_root_new(struct vx_pool *pool, const struct vx_sharding *s, const struct vx_shard_at *at,
		      const struct vx_shard_version *v, const uint8_t *data, size_t len, struct vx_buf **ret,
		      struct vx_err *e);
int vx_shard_leaf_new(struct vx_pool *pool, const struct vx_sharding *s, const struct vx_shard_at *at,
		      const struct vx_shard_version *v, struct vx_buf *stored, struct vx_buf **ret, struct vx_err *e);

static inline const struct vx_shard_index *vx_shard_index_of(const struct vx_buf *index)
{
	return (const struct vx_shard_index *)index->data;
}

/* Both return 1 with the span, 0 when the shard does not have the chunk, or -EBADMSG and a sentence. */
int vx_shard_leaf_span(const struct vx_sharding *s, const struct vx_shard_at *at, const struct vx_buf *root,
		       struct vx_span *ret, struct vx_err *e);
/* `index` is the leaf, or the root where there are no leaves. The length is above 0 and below `max`. */
int vx_shard_chunk_span(const struct vx_sharding *s, const struct vx_shard_at *at, const struct vx_buf *index,
			uint64_t max, struct vx_span *ret, struct vx_err *e);

#endif
