/* SPDX-License-Identifier: Apache-2.0
 * The text of the files in .voxfs, made when they are opened. Any thread.
 */
#ifndef VX_FS_CONTROL_H
#define VX_FS_CONTROL_H

#include "fs/mount.h"

/* malloc'd; NULL when memory is short. */
char *vx_control_stats(struct vx_fs *fs);
char *vx_control_errors(struct vx_fs *fs);

#endif
