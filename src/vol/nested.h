/* SPDX-License-Identifier: Apache-2.0
 * Chunks of Zarr v3 that are shards themselves: those within another shard, or with a compressor around them, which
 * leaves no way to read a part. They are put together whole, and that is what is kept of them. Pure functions of bytes
 * that may be hostile; any thread.
 */
#ifndef VX_VOL_NESTED_H
#define VX_VOL_NESTED_H

#include "codec/filter.h"
#include "vol/shard.h"

#define VX_SHARD_LEVELS_MAX 3

struct vx_nested_level {
	unsigned nlinks;
	enum vx_link_kind link[VX_CHAIN_LINKS_MAX]; /* around the shard, in the order in which they are undone */
	struct vx_sharding sharding;                /* VX_SHARD_ZARR */
	uint64_t part[3];                           /* voxels of each of its parts */
	uint32_t part_c;                            /* and channels */
};

/* vx_chunk_form.params of vx_codec_nested; begins with the chain that cuts from the chunk when it is whole: no links,
 * little-endian, x fastest, then y, z, channel. */
struct vx_nested {
	struct vx_chain chain;
	uint8_t fill[8];
	unsigned nlevels;
	struct vx_nested_level level[VX_SHARD_LEVELS_MAX]; /* the outermost first */
	struct vx_filtered leaf;                           /* what the last level's parts are */
};

extern const struct vx_codec vx_codec_nested;

#endif
