/* SPDX-License-Identifier: Apache-2.0
 * The keeper's list of what it has registered: object -> backing id. An object is registered once, however often and by
 * however many servers that is asked for. One thread.
 */
#ifndef VX_FS_BACKINGS_H
#define VX_FS_BACKINGS_H

#include "base/err.h"

struct vx_backings;

/* `ro`: the read-only clone of the arena's mount, -1: there is none, nothing can be registered. */
int vx_backings_new(struct vx_backings **ret, int ro);
void vx_backings_free(struct vx_backings **b);
/* The mount's descriptor, once there is one. */
void vx_backings_set_mount(struct vx_backings *b, int fuse_fd);

/* An id > 0 or negative errno. The number may be anything: only a regular file of the arena is registered. */
int vx_backings_register(struct vx_backings *b, uint64_t object);
size_t vx_backings_count(const struct vx_backings *b);
/* 0, or -ENOENT. */
int vx_backings_unregister(struct vx_backings *b, uint64_t object);

#endif
