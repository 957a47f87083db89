/* SPDX-License-Identifier: Apache-2.0
 * Which volumes a mount has: the one that SOURCE names, or those that a JSON file lists.
 */
#ifndef VX_FS_VOLUMES_H
#define VX_FS_VOLUMES_H

#include "fs/mount.h"

/* Opens them all into fs->sources; on failure what was opened stays there for vx_fs_free. */
int vx_volumes_open(struct vx_fs *fs, struct vx_err *e);

#endif
