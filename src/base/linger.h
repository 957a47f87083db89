/* SPDX-License-Identifier: Apache-2.0
 * Waiting awake for a moment before going to sleep. To be woken on another processor costs tens of microseconds, on a
 * virtual machine more than most requests take. So where the last wait was shorter than that, the next one begins
 * awake, and goes to sleep only when it gets longer; whoever else can use the processor goes first.
 *
 * One struct, all zero at first, for the threads that wait for the same thing: at most one of them is awake. Any
 * thread.
 */
#ifndef VX_BASE_LINGER_H
#define VX_BASE_LINGER_H

#include "base/clock.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#define VX_LINGER_NS ((uint64_t)50000)

struct vx_linger {
	_Atomic uint64_t since_ns; /* when one of them last had nothing to do */
	_Atomic bool worth;        /* the last wait was short */
	_Atomic bool taken;        /* one of them is awake */
};

/* There is nothing to do. */
static inline void vx_linger_rest(struct vx_linger *l)
{
	l->since_ns = vx_now_ns();
}

/* True: the caller is to stay awake, until vx_linger_end. */
static inline bool vx_linger_begin(struct vx_linger *l)
{
	return l->worth && !atomic_exchange(&l->taken, true);
}

/* True as soon as `there` is; false when that takes too long. */
static inline bool vx_linger_until(const struct vx_linger *l, bool (*there)(void *ctx), void *ctx)
{
	uint64_t until = l->since_ns + VX_LINGER_NS;

	do {
		if (there(ctx))
			return true;
		sched_yield();
	} while (vx_now_ns() < until);
	return false;
}

static inline void vx_linger_end(struct vx_linger *l)
{
	l->taken = false;
}

/* There is something to do, awake or not. */
static inline void vx_linger_over(struct vx_linger *l)
{
	int64_t waited = (int64_t)(vx_now_ns() - l->since_ns); /* below 0: another one had nothing to do just now */
	bool worth = waited < (int64_t)VX_LINGER_NS;

	if (l->worth != worth)
		l->worth = worth;
}

#endif
