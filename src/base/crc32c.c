/* SPDX-License-Identifier: Apache-2.0
 * CRC-32C: by the processor's own instruction where it has one, else by tables, eight bytes at a time.
 */
#include "base/crc32c.h"

#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* reflected */

/* table[k][b]: what byte b does to the checksum when k more bytes follow it. */
static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_make(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t c = b;

		for (int bit = 0; bit < 8; bit++)
			c = c >> 1 ^ (c & 1 ? POLYNOMIAL : 0);
		table[0][b] = c;
	}
	for (int k = 1; k < 8; k++)
		for (int b = 0; b < 256; b++)
			table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
}

static uint32_t eight_bytes(uint32_t c, const uint8_t *p)
{
	uint64_t v;
	uint32_t r = 0;

	memcpy(&v, p, sizeof v);
	v ^= c;
	for (int k = 0; k < 8; k++)
		r ^= table[7 - k][v >> (8 * k) & 0xff];
	return r;
}

uint32_t vx_crc32c_portable(const void *bytes, size_t len)
{
	const uint8_t *data = bytes;
	uint32_t c = ~0u;

	pthread_once(&table_once, table_make);
	for (; len >= 8; data += 8, len -= 8)
		c = eight_bytes(c, data);
	for (; len; data++, len--)
		c = c >> 8 ^ table[0][(c ^ *data) & 0xff];
	return ~c;
}

#ifdef __x86_64__
#include <nmmintrin.h>

/* The instruction's result comes after three cycles, and one can start in each: three stripes side by side, joined by
 * carrying the first two over what follows them. */
#define STRIPE ((size_t)4096)

static uint32_t over_stripe[4][256];
static pthread_once_t over_once = PTHREAD_ONCE_INIT;

__attribute__((target("sse4.2"))) static uint64_t words(uint64_t c, const uint8_t *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t v;

		memcpy(&v, p, sizeof v);
		c = _mm_crc32_u64(c, v);
	}
	return c;
}

/* What the checksum c becomes after STRIPE zero bytes; linear, so four tables by c's bytes hold it. */
static void over_make(void)
{
	static const uint8_t zeros[STRIPE];

	for (int k = 0; k < 4; k++)
		for (uint32_t b = 0; b < 256; b++)
			over_stripe[k][b] = (uint32_t)words((uint64_t)b << (8 * k), zeros, STRIPE);
}

static uint64_t carry(uint64_t c)
{
	return over_stripe[0][c & 0xff] ^ over_stripe[1][c >> 8 & 0xff] ^ over_stripe[2][c >> 16 & 0xff] ^
	       over_stripe[3][c >> 24 & 0xff];
}

__attribute__((target("sse4.2"))) static uint64_t three_stripes(uint64_t c, const uint8_t *p)
{
	uint64_t b = 0, a = 0;

	for (size_t i = 0; i < STRIPE; i += 8) {
		uint64_t v[3];

		for (int s = 0; s < 3; s++)
			memcpy(&v[s], p + (size_t)s * STRIPE + i, 8);
		c = _mm_crc32_u64(c, v[0]);
		b = _mm_crc32_u64(b, v[1]);
		a = _mm_crc32_u64(a, v[2]);
	}
	return carry(carry(c) ^ b) ^ a;
}

__attribute__((target("sse4.2"))) static uint32_t by_instruction(const uint8_t *data, size_t len)
{
	uint64_t c = ~0u;

	if (len >= 3 * STRIPE)
		pthread_once(&over_once, over_make);
	for (; len >= 3 * STRIPE; data += 3 * STRIPE, len -= 3 * STRIPE)
		c = three_stripes(c, data);
	c = words(c, data, len & ~(size_t)7);
	data += len & ~(size_t)7;
	for (len &= 7; len; data++, len--)
		c = _mm_crc32_u8((uint32_t)c, *data);
	return ~(uint32_t)c;
}

uint32_t vx_crc32c(const void *data, size_t len)
{
	return __builtin_cpu_supports("sse4.2") ? by_instruction(data, len) : vx_crc32c_portable(data, len);
}

#else

uint32_t vx_crc32c(const void *data, size_t len)
{
	return vx_crc32c_portable(data, len);
}

#endif
