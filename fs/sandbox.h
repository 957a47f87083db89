/* SPDX-License-Identifier: Apache-2.0
 * What the server can still do once it serves: read its sources, write its cache, speak to the network, answer the
 * kernel. Two layers that do not rely on each other, Landlock for files and seccomp for system calls, beside the
 * identity (fs/privileges.h). A layer that the kernel lacks is reported and the server goes on.
 *
 * Enter it after the identity has been taken and before any other thread runs. Afterwards nothing can be executed, not
 * even code in a file that is mapped; libraries which glibc loads late (name services) are loaded by vx_sandbox_enter
 * before.
 */
#ifndef VX_FS_SANDBOX_H
#define VX_FS_SANDBOX_H

#include "base/err.h"

struct json_t;

/* A file, or a directory with all below it: by path, or by a descriptor when `path` is NULL. */
struct vx_sandbox_tree {
	const char *path; /* one that does not exist is left out */
	int fd;
};

struct vx_sandbox {
	const struct vx_sandbox_tree *read; /* sources, directories that `../` keys lead to, credential files */
	unsigned nread;
	const struct vx_sandbox_tree *write; /* disk cache, arena: files are made, read, written, truncated, removed */
	unsigned nwrite;
	bool probe; /* try what is forbidden and tell what came of it: for tests */
};

struct vx_layer {
	bool on;
	char why[200]; /* one sentence when it is not on, else "" */
};

#define VX_SANDBOX_PROBES 24

struct vx_sandbox_report {
	struct vx_layer user, capabilities, no_new_privs, seccomp, landlock;
	unsigned uid, gid;
	unsigned landlock_abi; /* 0: not in force */
	unsigned nprobes;
	struct {
		const char *what; /* static */
		int code;         /* negative errno; 0: it worked, which it should not */
	} probe[VX_SANDBOX_PROBES];
};

/* -ENOMEM and the like only: a missing layer is no failure but part of the report. */
int vx_sandbox_enter(const struct vx_sandbox *s, struct vx_sandbox_report *ret);

/* The object `sandbox` of stats.json; a new reference. */
struct json_t *vx_sandbox_json(const struct vx_sandbox_report *r);

#endif
