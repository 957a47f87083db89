/* SPDX-License-Identifier: Apache-2.0
 * 64-bit mixing for hash tables and for spreading places over workers. Not for security. Any
 * thread.
 */
#ifndef VX_BASE_HASH_H
#define VX_BASE_HASH_H

#include <stdint.h>

static inline uint64_t vx_mix64(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	x ^= x >> 32;
	return x;
}

static inline uint64_t vx_hash_add(uint64_t h, uint64_t v)
{
	return vx_mix64(h * 0x9e3779b97f4a7c15u + v);
}

#endif
