/* SPDX-License-Identifier: Apache-2.0
 * Touches free memory in the background. A virtual machine's first touch of a page goes to its host and is thirty times
 * slower than any later one; after this, the first fills of the cache are as fast as the later ones.
 */
#ifndef VX_FS_WARM_H
#define VX_FS_WARM_H

#include "sched/cache.h"

struct vx_warmer;

/* `bytes` UINT64_MAX: the cache's size on a virtual machine, else nothing. */
int vx_warmer_start(struct vx_warmer **ret, struct vx_cache *c, uint64_t bytes, struct vx_err *e);
void vx_warmer_stop(struct vx_warmer **w);

#endif
