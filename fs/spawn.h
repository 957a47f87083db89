/* SPDX-License-Identifier: Apache-2.0
 * Starting a server: fork, exec of the program the keeper came from (or of the one installed since), with the
 * descriptors that it needs and no others. One thread.
 */
#ifndef VX_FS_SPAWN_H
#define VX_FS_SPAWN_H

#include "base/err.h"
#include "fs/proto.h"

#include <sys/types.h>

struct vx_program {
	int fd;    /* what is executed: the very file, whatever has come to stand under its name */
	int newer; /* the file that is to be executed from now on, if it proves to be one that can take over; else -1 */
	char *path; /* its name, for the next one */
	char *cwd;  /* where relative names in the arguments begin */
	char **argv;
	int64_t uid, gid; /* who servers are; -1: not known yet */
};
int vx_program_init(struct vx_program *p, char **argv, struct vx_err *e);
/* The newer file is the one that stands under the name now. */
int vx_program_renew(struct vx_program *p, struct vx_err *e);
/* Whether it can take over is known: it becomes the program, or is forgotten. */
void vx_program_settle(struct vx_program *p, bool proved);
/* Every server from now on is who this one has become: what it leaves on disks must not make the next one somebody
 * else. Nothing happens where we have no choice, or have chosen before. */
void vx_program_keep_identity(struct vx_program *p, pid_t server);
void vx_program_done(struct vx_program *p);

struct vx_child {
	pid_t pid; /* 0: none */
	int questions, news;
	uint64_t left_ns; /* when it was killed by us, or let go of its links; else 0 */
	bool prepared, serving, draining;
	bool mute, deaf; /* it has closed its end of a link: of questions, of news */
	uint64_t served_since_ns;
};

/* What the keeper holds and every server is given. */
struct vx_legacy {
	int table, arena, list; /* -1: there is none */
};

/* `fd`: of the program, the newer one or the other. */
int vx_child_start(struct vx_child *c, const struct vx_program *p, int fd, const struct vx_legacy *l, enum vx_out out,
		   struct vx_err *e);
void vx_child_kill(struct vx_child *c);
/* True: none of its threads will run again, though one may be held up in the kernel. To be asked of one that is to end.
 */
bool vx_child_is_dead(const struct vx_child *c);
/* Kills it, and waits for a while. False: the kernel has not let go of it. */
bool vx_child_end(struct vx_child *c);
/* After its death. */
void vx_child_done(struct vx_child *c);

#endif
