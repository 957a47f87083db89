/* SPDX-License-Identifier: Apache-2.0
 * The command `voxfs --upgrade MOUNTPOINT`.
 */
#ifndef VX_FS_UPGRADE_H
#define VX_FS_UPGRADE_H

#include "base/err.h"

/* Asks the keeper of a mount to start the program that is installed now, and waits until that serves. */
int vx_upgrade(const char *mountpoint, struct vx_err *e);

#endif
