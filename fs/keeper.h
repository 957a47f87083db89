/* SPDX-License-Identifier: Apache-2.0
 * The keeper: what stays when a server dies. It mounts, holds the device, the arena and the table, registers backing
 * files, starts servers and starts them again. It reads options and fixed messages, nothing that came from outside. One
 * thread.
 */
#ifndef VX_FS_KEEPER_H
#define VX_FS_KEEPER_H

#include "fs/options.h"

/* Serves the mount until its end; the exit status. `report` is written one zero byte to when the mount works (-1:
 * nobody waits, the terminal is kept). */
int vx_keeper_run(const struct vx_options *o, char **argv, int report);

#endif
