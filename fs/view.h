/* SPDX-License-Identifier: Apache-2.0
 * Names and what they mean: from a name in a directory to a view, from a view to its attributes and its text. Pure but
 * for vx_view_fail, which answers a request.
 */
#ifndef VX_FS_VIEW_H
#define VX_FS_VIEW_H

#include "fs/fuse_api.h"
#include "fs/mount.h"

/* What `name` means in directory `parent`; false: there is no such thing. Touches no network. */
bool vx_view_find(const struct vx_fs *fs, const struct vx_view *parent, const char *name, struct vx_view *ret);
/* Whether a view that was written down by somebody else is one of this mount; fills in its size. */
bool vx_view_check(const struct vx_fs *fs, struct vx_view *v);
/* Names of the entries of a directory that exist without being asked for, one call each. */
void vx_view_list(const struct vx_fs *fs, const struct vx_view *dir,
		  void (*f)(void *ctx, const char *name, const struct vx_view *v), void *ctx);

bool vx_view_is_dir(const struct vx_view *v);
void vx_view_stat(const struct vx_fs *fs, const struct vx_view *v, uint64_t ino, struct stat *ret);

/* "em/t3/mip1/0-64_0-64_0-64.raw", as the log names it. */
#define VX_VIEW_PATH_MAX (VX_MAX_NAME + VX_BOX_NAME_MAX + 48)
void vx_view_path(const struct vx_view *v, char ret[VX_VIEW_PATH_MAX]);

/* Remembers the failure (log, .voxfs/errors, the node's attribute) and answers with its errno. */
void vx_view_fail(struct vx_fs *fs, fuse_req_t req, uint64_t ino, const struct vx_view *v, const struct vx_err *e);

#endif
