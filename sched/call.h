/* SPDX-License-Identifier: Apache-2.0
 * A function to be run by some worker thread, soon. The owner keeps it in place until it runs.
 */
#ifndef VX_SCHED_CALL_H
#define VX_SCHED_CALL_H

#include "base/list.h"

struct vx_call {
	struct vx_link link;
	void (*run)(struct vx_call *c);
	void *ctx; /* run's */
};

#endif
