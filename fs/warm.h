/* SPDX-License-Identifier: Apache-2.0
 * Makes memory ready ahead of need, in the background: touched, cleared, mapped. Fresh pages must be cleared when they
 * are first touched; on a virtual machine the first touch of a page goes to its host and is thirty times slower than
 * any later one, and many hosts take freed memory back within seconds. So what is ready is held, within the cache's
 * budget, until a box or a chunk needs it.
 */
#ifndef VX_FS_WARM_H
#define VX_FS_WARM_H

#include "sched/engine.h"

struct vx_warmer;

/* While there are privileges: lets the thread be as modest as can be and still end at once. */
void vx_warmer_permit(void);
/* Opens what says how much memory the machine has. Once, before the sandbox is in the way. */
void vx_warmer_look(void);
/* `bytes` to hold ready at most; UINT64_MAX: the cache's size on a virtual machine, else a quarter of it. */
int vx_warmer_start(struct vx_warmer **ret, struct vx_cache *c, struct vx_engine *g, struct vx_pool *pool,
		    uint64_t bytes, struct vx_err *e);
void vx_warmer_stop(struct vx_warmer **w);

#endif
