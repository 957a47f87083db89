/* SPDX-License-Identifier: Apache-2.0
 * One mount: every part of it, made and ended in order. Shared by the operations, the control files and main.
 */
#ifndef VX_FS_MOUNT_H
#define VX_FS_MOUNT_H

#include "fs/node.h"
#include "fs/options.h"
#include "fs/pending.h"
#include "sched/boxes.h"

#include <time.h>

struct vx_session;
struct vx_broker;
struct vx_handles;
struct vx_sandbox_report;
struct vx_notifier;
struct vx_warmer;

struct vx_fs {
	/* --- constant while the mount serves ---------------------------------------------------------------------- */
	const struct vx_options *opt;
	struct vx_pool *pool;
	struct vx_diskcache *diskcache; /* NULL: none was asked for */
	struct vx_fetcher *fetcher;
	struct vx_source **sources;
	unsigned nsources;
	struct vx_cache *cache;
	struct vx_engine *engine;
	struct vx_boxes *boxes;
	struct vx_nodes *nodes;
	struct vx_session *session;
	int list; /* of volumes: a descriptor, or VX_NO_LIST; borrowed, as are the next two */
	struct vx_table *table;
	struct vx_broker *broker;
	struct vx_handles *handles;
	const struct vx_sandbox_report *sandbox; /* borrowed */
	uint32_t starts, keeper_pid;
	struct vx_notifier *notifier;
	struct vx_warmer *warmer;
	struct timespec started;
	uid_t uid;
	gid_t gid;
	/* --- any thread ----------------------------------------------------------------------------------------------
	 */
	_Atomic uint32_t refused;   /* programs that were to take over and cannot */
	_Atomic uint64_t lazy_work; /* reads of lazy files and fetches ahead of them, under way */
	/* --- guards itself ------------------------------------------------------------------------------------------
	 */
	struct vx_pendings pending;
};

/* Everything but the connection: opens the volumes and reads their metadata. `arena` is taken over; NULL: one of its
 * own. `table` and `broker` may be NULL where nothing is to be mounted. */
int vx_fs_new(struct vx_fs **ret, const struct vx_options *o, int list, struct vx_arena *arena, struct vx_table *table,
	      struct vx_broker *broker, struct vx_err *e);
/* Takes over what the server before had: after the session knows whether it shares, before it starts. */
int vx_fs_take_over(struct vx_fs *fs, struct vx_err *e);
/* After the session has ended. */
void vx_fs_free(struct vx_fs **fs);

#endif
