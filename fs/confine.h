/* SPDX-License-Identifier: Apache-2.0
 * Makes the server nobody: finds out what of the local disk it needs, takes the identity and enters the sandbox. From
 * the only thread, before anything from outside is parsed.
 */
#ifndef VX_FS_CONFINE_H
#define VX_FS_CONFINE_H

#include "arena/table.h"
#include "fs/broker.h"
#include "fs/options.h"
#include "fs/sandbox.h"

/* `table` remembers the list of volumes. */
int vx_confine(const struct vx_options *o, struct vx_table *table, const struct vx_inherited *h,
	       struct vx_sandbox_report *ret, struct vx_err *e);

#endif
