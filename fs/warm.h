/* SPDX-License-Identifier: Apache-2.0
 * Touches memory in the background, at idle priority. Once after start: a virtual machine's first touch of a page goes
 * to its host and is thirty times slower than any later one. And from then on: the next few megabytes for chunk
 * buffers, so that a cold box finds pages that are mapped and cleared.
 */
#ifndef VX_FS_WARM_H
#define VX_FS_WARM_H

#include "sched/cache.h"

struct vx_warmer;

/* `bytes` to touch once; UINT64_MAX: the cache's size on a virtual machine, else nothing. */
int vx_warmer_start(struct vx_warmer **ret, struct vx_cache *c, struct vx_pool *pool, uint64_t bytes, struct vx_err *e);
void vx_warmer_stop(struct vx_warmer **w);

#endif
