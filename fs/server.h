/* SPDX-License-Identifier: Apache-2.0
 * The server: everything that parses, fetches or decodes. Started by the keeper, trusted with nothing; it may die at
 * any instant.
 */
#ifndef VX_FS_SERVER_H
#define VX_FS_SERVER_H

#include "fs/broker.h"
#include "fs/options.h"

/* Serves until the keeper or the kernel ends it; the exit status. */
int vx_server_run(struct vx_options *o, const struct vx_inherited *h);

/* Opens the volumes and ends: what `mount --fake` wants to know. */
int vx_server_try(const struct vx_options *o);

#endif
