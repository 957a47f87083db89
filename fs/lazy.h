/* SPDX-License-Identifier: Apache-2.0
 * Lazy files: boxes too large to be filled at once, and all.raw. A READ fetches the chunks it touches; what a reader
 * is likely to want next is fetched ahead. FUSE threads; completions on workers.
 */
#ifndef VX_FS_LAZY_H
#define VX_FS_LAZY_H

#include "fs/fuse_api.h"
#include "fs/mount.h"

struct vx_lazy; /* one open lazy file */

struct vx_lazy *vx_lazy_open(struct vx_fs *fs, const struct vx_view *v);
void vx_lazy_close(struct vx_lazy *z); /* reads and fetches under way keep it alive until they end */

/* Answers the READ, now or later. */
void vx_lazy_read(struct vx_lazy *z, fuse_req_t req, fuse_ino_t ino, size_t size, uint64_t off);

#endif
