/* SPDX-License-Identifier: Apache-2.0
 * FUSE passthrough on libfuse versions that do not know it: the wire structs and the three places where they matter.
 * Knows nothing of voxfs.
 */
#ifndef VX_FS_PASSTHROUGH_H
#define VX_FS_PASSTHROUGH_H

#include "fs/fuse_api.h"

#include <stdbool.h>
#include <stdint.h>

struct vx_init_patch {
	_Atomic bool offered;  /* the kernel's INIT offers passthrough */
	_Atomic bool direct;   /* it lets files be mapped that are read directly: asked for whenever offered */
	_Atomic uint64_t init; /* unique of the INIT request, until it is answered */
	bool wanted;
	bool replay; /* the answer to INIT is for nobody: another server gave it */
	void (*saw_init)(const void *request, size_t len); /* the kernel's, as it came; may be NULL */
};

/* Custom I/O for the session: sees INIT go by and asks for both in its answer. One session in a process. */
void vx_passthrough_install(struct fuse_session *se, struct vx_init_patch *p);

/* Hands the session the INIT request that the kernel sent to a server before, whose answer still holds. */
void vx_passthrough_replay(struct fuse_session *se, void *request, size_t len);

/* Asks the kernel for the requests that were read by a server before and never answered. */
int vx_resend(int fuse_fd);
/* Answers everything that waits with ENOTCONN, what a dead server has read included. */
void vx_refuse_requests(int fuse_fd);

/* The number of the request that this thread read last. */
uint64_t vx_request_unique(void);

/* Registers a backing file; an id > 0 or negative errno. Needs CAP_SYS_ADMIN. */
int vx_backing_open(int fuse_fd, int fd);
void vx_backing_close(int fuse_fd, int id);
int vx_reply_open_backing(fuse_req_t req, uint64_t fh, int id);

#endif
