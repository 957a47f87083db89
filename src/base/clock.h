/* SPDX-License-Identifier: Apache-2.0
 * Monotonic time in nanoseconds. Any thread.
 */
#ifndef VX_BASE_CLOCK_H
#define VX_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define VX_MS ((uint64_t)1000000)
#define VX_SEC ((uint64_t)1000000000)

static inline uint64_t vx_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * VX_SEC + (uint64_t)t.tv_nsec;
}

#endif
