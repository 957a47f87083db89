/* SPDX-License-Identifier: Apache-2.0
 * What every file of voxfs may take for granted: attributes, scope cleanup, small helpers. No
 * state, any thread.
 */
#ifndef VX_BASE_VX_H
#define VX_BASE_VX_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define VX_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define VX_CLEANUP(f) __attribute__((cleanup(f)))
#define VX_MUST __attribute__((warn_unused_result))
#define VX_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define VX_LIKELY(x) __builtin_expect(!!(x), 1)
#define VX_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define vx_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Moves a pointer out of a self-cleaning variable: the value is returned, the variable becomes
 * NULL. */
#define vx_steal(p)                          \
	({                                   \
		__typeof__(p) stolen_ = (p); \
		(p) = NULL;                  \
		stolen_;                     \
	})

static inline void vx_free_scope(void *p)
{
	free(*(void **)p);
}

static inline void vx_close_scope(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define VX_AUTO_FREE VX_CLEANUP(vx_free_scope)
#define VX_AUTO_CLOSE VX_CLEANUP(vx_close_scope)

static inline uint64_t vx_min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t vx_max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline int64_t vx_min_i64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline int64_t vx_max_i64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

#endif
