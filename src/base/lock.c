/* SPDX-License-Identifier: Apache-2.0
 * Ranked locks. Each thread remembers the ranks it holds; VX_DEBUG_LOCKS turns on the check that
 * they rise.
 */
#include "base/lock.h"
#include "base/clock.h"

#define PTOK(call)                \
	do {                      \
		int pt_ = (call); \
		assert(pt_ == 0); \
		(void)pt_;        \
	} while (0)

#ifdef VX_DEBUG_LOCKS
static _Thread_local enum vx_lock_rank held_ranks[16];
static _Thread_local unsigned held_count;

static void rank_push(enum vx_lock_rank rank)
{
	assert(held_count == 0 || held_ranks[held_count - 1] < rank);
	assert(held_count < VX_ARRAY_LEN(held_ranks));
	held_ranks[held_count++] = rank;
}

static void rank_pop(enum vx_lock_rank rank)
{
	for (unsigned i = held_count; i-- > 0;) {
		if (held_ranks[i] != rank)
			continue;
		for (; i + 1 < held_count; i++)
			held_ranks[i] = held_ranks[i + 1];
		held_count--;
		return;
	}
	assert(!"unlock of a lock that this thread does not hold");
}
#else
static void rank_push(enum vx_lock_rank rank)
{
	(void)rank;
}

static void rank_pop(enum vx_lock_rank rank)
{
	(void)rank;
}
#endif

void vx_mutex_init(struct vx_mutex *m, enum vx_lock_rank rank)
{
	pthread_mutexattr_t a;

	/* Held for some hundred nanoseconds: spinning that long beats a futex call and two switches. */
	PTOK(pthread_mutexattr_init(&a));
	PTOK(pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ADAPTIVE_NP));
	PTOK(pthread_mutex_init(&m->mtx, &a));
	PTOK(pthread_mutexattr_destroy(&a));
	m->rank = rank;
	m->held = false;
	m->owed = NULL;
	m->owing = 0;
}

void vx_mutex_done(struct vx_mutex *m)
{
	PTOK(pthread_mutex_destroy(&m->mtx));
}

void vx_lock(struct vx_mutex *m)
{
	rank_push(m->rank);
	PTOK(pthread_mutex_lock(&m->mtx));
	m->held = true;
}

void vx_unlock(struct vx_mutex *m)
{
	pthread_cond_t *owed = m->owed;
	unsigned owing = m->owing;

	assert(m->held);
	m->owing = 0;
	m->held = false;
	PTOK(pthread_mutex_unlock(&m->mtx));
	rank_pop(m->rank);
	while (owing--)
		pthread_cond_signal(owed);
}

void vx_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t a;

	PTOK(pthread_condattr_init(&a));
	PTOK(pthread_condattr_setclock(&a, CLOCK_MONOTONIC));
	PTOK(pthread_cond_init(c, &a));
	PTOK(pthread_condattr_destroy(&a));
}

void vx_cond_signal_after(pthread_cond_t *c, struct vx_mutex *m)
{
	assert(m->held && (!m->owed || m->owed == c));
	m->owed = c;
	m->owing++;
}

void vx_cond_wait(pthread_cond_t *c, struct vx_mutex *m)
{
	assert(!m->owing);
	m->held = false;
	PTOK(pthread_cond_wait(c, &m->mtx));
	m->held = true;
}

bool vx_cond_wait_until(pthread_cond_t *c, struct vx_mutex *m, uint64_t deadline_ns)
{
	struct timespec t = {.tv_sec = (time_t)(deadline_ns / VX_SEC), .tv_nsec = (long)(deadline_ns % VX_SEC)};
	int r;

	assert(!m->owing);
	m->held = false;
	r = pthread_cond_timedwait(c, &m->mtx, &t);
	m->held = true;
	assert(r == 0 || r == ETIMEDOUT);
	return r == 0;
}
