/* SPDX-License-Identifier: Apache-2.0
 * Shards: objects that hold many chunks, and the indexes that say where in them. Pure functions of bytes that may be
 * hostile; any thread.
 */
#ifndef VX_VOL_SHARD_H
#define VX_VOL_SHARD_H

#include "base/vx.h"

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
	bool index_at_end, index_big_endian, index_crc32c;
};

#endif
