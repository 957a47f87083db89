/* SPDX-License-Identifier: Apache-2.0
 * Who the server is. The keeper, which stays root, chooses an identity; the server takes it before it parses a byte
 * that came from outside, and can never get anything back. One thread each: capabilities belong to threads.
 */
#ifndef VX_FS_PRIVILEGES_H
#define VX_FS_PRIVILEGES_H

#include "base/err.h"

#include <sys/types.h>

struct vx_identity {
	uid_t uid;
	gid_t gid;
	bool change;   /* false: an ordinary user mounts, and stays who it is */
	char name[64]; /* of the user, or its number */
	char why[200]; /* one sentence: why this one */
};

/* Something on a local disk that the server must reach by itself. */
struct vx_identity_need {
	const char *path; /* a file or a directory */
	bool write;       /* the disk cache: files are made and removed there */
	bool pass;        /* only what lies in it is needed */
};

/* `runas`: "USER[:GROUP]", numbers or names, or NULL. Without it root becomes the user voxfs if there is one, else
 * nobody; where that user cannot reach a need, the owner of what it cannot reach; where that owner is root, or no owner
 * can reach everything, uid 0 without a single capability. What even root does not find is no need.
 *
 * Really tries, with the identity's effective ids: call it as root from a process with one thread. -EINVAL: no such
 * user; -EPERM: runas= by somebody who is not root; -EACCES: nobody reaches everything. */
int vx_identity_choose(struct vx_identity *ret, const char *runas, const struct vx_identity_need *needs, unsigned n,
		       struct vx_err *e);

/* The one that was chosen when the mount was made. */
void vx_identity_keep(struct vx_identity *ret, uid_t uid, gid_t gid);

/* Becomes it, for good: groups, ids, every capability set, securebits locked so that uid 0 gains nothing by an exec,
 * no_new_privs, not dumpable, no core files. Then tries to get something back, and fails when that works. From the only
 * thread. After it /proc/self belongs to root: open what is needed there before. */
int vx_identity_take(const struct vx_identity *i, struct vx_err *e);

#endif
