/* SPDX-License-Identifier: Apache-2.0
 * Writes shards: chunks go in one by one, the object's bytes come out. One thread's; used by voxgen and by the tests.
 */
#ifndef VOXGEN_SHARD_H
#define VOXGEN_SHARD_H

#include "vol/shard.h"

struct vg_shard;

/* NULL: no memory. Kind VX_SHARD_ZARR writes what its fields say, too. */
struct vg_shard *vg_shard_new(const struct vx_sharding *s);
void vg_shard_free(struct vg_shard **shard);

/* Bytes as they are to be stored; Precomputed wants minishards in ascending order. 0 or -ENOMEM. */
int vg_shard_add(struct vg_shard *s, const struct vx_shard_at *at, const void *data, size_t len);

/* The object: all data, then what is left of the index. The bytes stay the shard's. NULL: no memory. */
const uint8_t *vg_shard_finish(struct vg_shard *s, size_t *ret_len);

#endif
