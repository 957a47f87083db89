/* SPDX-License-Identifier: Apache-2.0
 * Every bound on what comes from outside, in one place. A larger value is refused with a sentence
 * that names it.
 */
#ifndef VX_BASE_LIMITS_H
#define VX_BASE_LIMITS_H

#include <stdint.h>

#define VX_MAX_EXTENT ((int64_t)1 << 48)       /* voxels along an axis, and the absolute value of any coordinate */
#define VX_MAX_CHUNK_BYTES ((uint64_t)1 << 31) /* one decoded chunk */
#define VX_MAX_CHANNELS 4096
#define VX_MAX_SCALES 64
#define VX_MAX_CHUNK_SIZES 16                 /* entries of one scale's chunk_sizes */
#define VX_MAX_INFO_BYTES ((uint64_t)1 << 20) /* a volume's metadata document: real ones have a few kilobytes */
#define VX_MAX_METADATA_BYTES \
	((uint64_t)16 << 20) /* a document of Zarr or N5: consolidated ones describe many arrays */
#define VX_MAX_TIMES 65536   /* time points of one volume */
#define VX_MAX_NAME 255      /* a file or volume name, as the kernel has it */
#define VX_MAX_URL 4096
#define VX_MAX_VOLUMES 4096 /* volumes of one mount */
#define VX_MAX_REDIRECTS 5
/* An object that is read whole for a part of it, because its server does not do byte ranges. */
#define VX_MAX_UNRANGED_BYTES ((uint64_t)16 << 20)
/* An index of a shard, as it is kept: a minishard of Precomputed that lists 2.7 million chunks, or a shard of Zarr of 4
 * million. */
#define VX_MAX_SHARD_INDEX_BYTES ((uint64_t)64 << 20)

#endif
