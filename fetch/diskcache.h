/* SPDX-License-Identifier: Apache-2.0
 * A cache on a local disk of what remote stores said: bodies as they came, parts of them, and that something is not
 * there. One directory, shared by any number of mounts and processes of one user, on this machine. Knows neither
 * chunks nor volumes.
 *
 * Reading blocks on the local disk and happens in the caller's thread; writing, removing and counting are done by a
 * thread of its own, "vx-disk", that nobody waits for. A cache that is full, damaged, read-only or gone is no error to
 * anybody: it has less to give, says so once in the log, and counts.
 *
 * Privacy: the directory and everything in it belong to the daemon's user and nobody else may enter. Nothing of
 * credentials is written, but answers to one account are not given to another (fetch/account.h).
 */
#ifndef VX_FETCH_DISKCACHE_H
#define VX_FETCH_DISKCACHE_H

#include "base/buf.h"
#include "base/err.h"

struct vx_diskcache;

#define VX_CHECK_NEVER UINT64_MAX
#define VX_CHECK_MOUNT (UINT64_MAX - 1)

struct vx_diskcache_opts {
	const char *dir;
	uint64_t limit;      /* bytes of all entries, rounded up to pages; 0: what `percent` says */
	double percent;      /* of the filesystem */
	uint64_t check_ns;   /* an answer that is older is asked for again; VX_CHECK_NEVER; VX_CHECK_MOUNT: older than
				this cache */
	uint64_t missing_ns; /* the same for what is not there */
};
void vx_diskcache_opts_default(struct vx_diskcache_opts *o);

/* Makes the directory if need be. Everything afterwards is relative to it, nothing else is opened. -EINVAL, -EACCES
 * and others when it cannot be used at all. */
int vx_diskcache_new(struct vx_diskcache **ret, const struct vx_diskcache_opts *o, struct vx_pool *pool,
		     struct vx_err *e);
/* Writes what waits to be written first. No fetcher may use it any more. */
void vx_diskcache_free(struct vx_diskcache **dc);

struct vx_diskcache_stats {
	uint64_t limit, bytes; /* of all who share it, as last seen */
	uint64_t waiting_bytes;
};
void vx_diskcache_stats(struct vx_diskcache *dc, struct vx_diskcache_stats *ret);

#endif
