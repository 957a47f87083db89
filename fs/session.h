/* SPDX-License-Identifier: Apache-2.0
 * The FUSE session: the threads that read requests, and passthrough. All that depends on the version of
 * libfuse or on the kernel's wire format is in session.c and passthrough.c.
 */
#ifndef VX_FS_SESSION_H
#define VX_FS_SESSION_H

#include "fs/fuse_api.h"
#include "fs/mount.h"

struct vx_session;

/* On the connection of a mount that the keeper has made; takes over the descriptor. */
int vx_session_new(struct vx_session **ret, struct vx_fs *fs, int fd, struct vx_err *e);
/* Goes on where another server was stopped. False: no server has answered the kernel yet. Before start. */
bool vx_session_resume(struct vx_session *s);
/* Starts the threads and waits until the kernel has been answered and zero copy has been tried. */
int vx_session_start(struct vx_session *s, struct vx_err *e);
/* Returns when the mount has been taken away (umount) or vx_session_end was called. */
void vx_session_wait(struct vx_session *s);
/* Makes vx_session_wait return. Any thread. */
void vx_session_stop(struct vx_session *s);
/* Reads no more requests, and waits until those that were read are answered: false when some are not by the deadline.
 * Whoever serves next will be sent them again. */
bool vx_session_drain(struct vx_session *s, uint64_t deadline_ns);
/* Answers whoever waits; with `wait`, when the mount has been detached, gives clients a while to let go; then ends.
 * From main. */
void vx_session_end(struct vx_session *s, bool wait);
void vx_session_free(struct vx_session **s);

/* True: opens of boxes are answered with passthrough. Decided once, at the first call; any thread after INIT. */
bool vx_session_passthrough(struct vx_session *s);
/* True: a file that is opened for direct I/O can be mapped too. */
bool vx_session_maps_direct(const struct vx_session *s);
const char *vx_session_zerocopy_reason(struct vx_session *s);

/* Answers OPEN with a backing. */
int vx_session_reply_passthrough(fuse_req_t req, uint64_t fh, int backing_id);

struct fuse_session *vx_session_fuse(struct vx_session *s);

/* ops.c */
extern const struct fuse_lowlevel_ops vx_ops;

#endif
