/* SPDX-License-Identifier: Apache-2.0
 * Mutexes with ranks. A thread may only take a lock of higher rank than those it holds; debug and
 * sanitizer builds check it at each lock. The table below is the lock order of the whole program.
 *
 * Plain mutexes have no rank. Innermost, with nothing locked under them: arena/table (free slots), fs/broker (a
 * question, until the keeper has answered), fs/session (the state of its threads), fs/lazy (what a reader does),
 * fs/handle (what handles stand for), fetch/account (the last digest).
 */
#ifndef VX_BASE_LOCK_H
#define VX_BASE_LOCK_H

#include "base/vx.h"

#include <assert.h>

/* name, rank, what it guards */
#define VX_LOCK_RANKS(X)                                                    \
	X(FS_PENDING, 10, "requests not answered yet (fs/pending)")         \
	X(FS_NODES, 20, "node table (fs/node)")                             \
	X(CACHE, 30, "boxes, chunks, budget, eviction order (sched/cache)") \
	X(ARENA, 35, "objects made ahead of need (arena/reserve)")          \
	X(ENGINE, 40, "jobs, tasks and their queues (sched/engine)")        \
	X(FETCH, 50, "inbox of the transfer loop (fetch/)")                 \
	X(TOKENS, 55, "credentials (fetch/token)")                          \
	X(DISKCACHE, 56, "writes to the disk cache (fetch/diskcache)")      \
	X(POOL, 60, "free buffers (base/buf)")                              \
	X(LEDGER, 70, "text of recent errors (base/ledger)")

enum vx_lock_rank {
#define X(name, rank, text) VX_RANK_##name = rank,
	VX_LOCK_RANKS(X)
#undef X
};

struct vx_mutex {
	pthread_mutex_t mtx;
	enum vx_lock_rank rank;
	bool held; /* read by its holder only, for asserts */
	/* --- under itself --------------------------------------------------------------------------------------- */
	pthread_cond_t *owed; /* to be signalled `owing` times when it is let go */
	unsigned owing;
};

void vx_mutex_init(struct vx_mutex *m, enum vx_lock_rank rank);
void vx_mutex_done(struct vx_mutex *m);
void vx_lock(struct vx_mutex *m);
void vx_unlock(struct vx_mutex *m);

static inline void vx_assert_held(const struct vx_mutex *m)
{
	assert(m->held);
	(void)m;
}

/* Condition variables on the monotonic clock. */
void vx_cond_init(pthread_cond_t *c);
/* Signals `c` once `m`, which is held, has been let go: who wakes does not find it taken. One condition for a mutex. */
void vx_cond_signal_after(pthread_cond_t *c, struct vx_mutex *m);
void vx_cond_wait(pthread_cond_t *c, struct vx_mutex *m);
/* Returns false when `deadline_ns` (vx_now_ns clock) has passed. */
bool vx_cond_wait_until(pthread_cond_t *c, struct vx_mutex *m, uint64_t deadline_ns);

static inline void vx_unlock_scope(struct vx_mutex **m)
{
	vx_unlock(*m);
}

static inline struct vx_mutex *vx_lock_get(struct vx_mutex *m)
{
	vx_lock(m);
	return m;
}

#define VX_LOCK_NAME_(line) vx_lock_scope_##line
#define VX_LOCK_SCOPE_(m, line)     \
	VX_CLEANUP(vx_unlock_scope) \
	__attribute__((unused)) struct vx_mutex *VX_LOCK_NAME_(line) = vx_lock_get(m)
#define VX_LOCK_SCOPE__(m, line) VX_LOCK_SCOPE_(m, line)
/* Holds the mutex until the end of the enclosing block. */
#define VX_LOCK_SCOPE(m) VX_LOCK_SCOPE__(m, __LINE__)

#endif
