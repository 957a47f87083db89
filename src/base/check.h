/* SPDX-License-Identifier: Apache-2.0
 * Checked arithmetic for sizes that came from outside: true means the result fits and was stored.
 * Any thread.
 */
#ifndef VX_BASE_CHECK_H
#define VX_BASE_CHECK_H

#include "base/vx.h"

static inline bool vx_add_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_add_overflow(a, b, ret);
}

static inline bool vx_mul_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_mul_overflow(a, b, ret);
}

/* a and b must be small enough that a + b - 1 fits, which holds for every size below VX_MAX_EXTENT.
 */
static inline uint64_t vx_div_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

static inline uint64_t vx_round_up(uint64_t a, uint64_t pow2)
{
	return (a + pow2 - 1) & ~(pow2 - 1);
}

#endif
