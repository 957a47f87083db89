/* SPDX-License-Identifier: Apache-2.0
 * Making the mount and taking it away: the keeper's privileged part. One thread.
 */
#ifndef VX_FS_MOUNTING_H
#define VX_FS_MOUNTING_H

#include "fs/options.h"

struct vx_mounted {
	int fd;           /* the device */
	char *mountpoint; /* absolute */
	char device[32];  /* the mount's, "MAJOR:MINOR"; "": not known */
	void *session;    /* libfuse's, for mounting only */
};

/* Mounts; requests wait in the kernel until somebody reads them. */
int vx_mounting_mount(struct vx_mounted *ret, const struct vx_options *o, struct vx_err *e);
/* Is there a directory to mount on? Says so before any work is done. */
int vx_mounting_check(const char *mountpoint, struct vx_err *e);
/* After the kernel has had its first answer: the size of its read-ahead, which is far too small where pages come
 * through us. */
void vx_mounting_tune(const struct vx_mounted *m);
/* Detaches it, busy or not, where it still is: not what somebody has mounted there since. */
void vx_mounting_detach(const struct vx_mounted *m);
/* True: the kernel has ended the mount. Only while nobody reads requests: it is woken by each. */
bool vx_mounting_gone(const struct vx_mounted *m);
void vx_mounting_free(struct vx_mounted *m);

#endif
