/* SPDX-License-Identifier: Apache-2.0
 * Chains of Zarr and N5: the first bytes choose the chain, the shape and the part, the rest is what is stored. What
 * comes out obeys its limits, what fails says why, nothing leaks, nothing beside the part is written. The stored bytes
 * end where a page begins that cannot be read: the compressors' libraries are not instrumented.
 */
#include "base/hash.h"
#include "codec/chain.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD 20
#define MOST ((size_t)1 << 20)
#define MARGIN 64
#define GUARD 0xa5

static uint8_t *end_of_memory(void)
{
	static uint8_t *map;

	if (!map) {
		map = mmap(NULL, MOST + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (map == MAP_FAILED || mprotect(map + MOST, 4096, PROT_NONE))
			abort();
	}
	return map + MOST;
}

static bool choose_chain(const uint8_t *h, struct vx_chain *c)
{
	uint64_t bytes = 1;

	*c = (struct vx_chain){.n5 = h[0] & 1,
			       .big_endian = h[0] & 2,
			       .is_bool = h[0] & 4,
			       .width = 1u << (h[0] >> 3 & 3),
			       .nlinks = h[1] % 5,
			       .rank = h[6] % (VX_CHAIN_RANK_MAX + 1)};
	for (int i = 0; i < 4; i++)
		c->link[i] = h[2 + i] % (VX_LINK_CRC32C + 1);
	for (unsigned i = 0; i < c->rank; i++) {
		c->axis[i] = h[7 + i] % (VX_AXIS_ONE + 1);
		c->shape[i] = 1 + (uint64_t)h[12 + i];
		c->at[i] = c->axis[i] == VX_AXIS_ONE ? h[18] % c->shape[i] : 0;
		bytes *= c->shape[i];
	}
	return bytes <= 100000 && vx_chain_check(c, NULL) == 0;
}

static uint64_t within(uint64_t seed, int i, uint64_t n)
{
	return vx_mix64(seed * 16 + (uint64_t)i) % n;
}

/* The whole chunk, or clipped as at a volume's edge; all of its channels, or some. */
static struct vx_chunk_form choose_form(const uint8_t *h, const struct vx_chain *c)
{
	struct vx_chunk_form f = {.n = {1, 1, 1}, .channels = 1, .width = c->width, .params = c};

	for (unsigned i = 0; i < c->rank; i++) {
		uint64_t n = h[19] & 1 ? 1 + within(h[19], (int)i, c->shape[i]) : c->shape[i];

		if (c->axis[i] == VX_AXIS_CHANNEL)
			f.channels = (uint32_t)n;
		else if (c->axis[i] != VX_AXIS_ONE)
			f.n[c->axis[i]] = n;
	}
	if (h[18] & 1) {
		f.pick.first = (uint32_t)within(h[18], 8, f.channels);
		f.pick.some = 1 + (uint32_t)within(h[18], 9, f.channels - f.pick.first);
	}
	return f;
}

static void decode(const uint8_t *h, const struct vx_chunk_form *f, const uint8_t *data, size_t len)
{
	struct vx_box part;
	uint64_t n[3], bytes;
	struct vx_err e = {0};
	struct vx_place to;
	uint8_t *mem;
	int err;

	for (int d = 0; d < 3; d++) {
		part.lo[d] = h[17] & 1 ? (int64_t)within(h[17], d, f->n[d]) : 0;
		part.hi[d] = h[17] & 2 ? part.lo[d] + 1 + (int64_t)within(h[17], 3 + d, f->n[d] - (uint64_t)part.lo[d])
				       : (int64_t)f->n[d];
		n[d] = vx_box_extent(&part, d);
	}
	bytes = n[0] * n[1] * n[2] * vx_chunk_form_picked(f) * f->width;
	mem = malloc(bytes + 2 * MARGIN);
	memset(mem, GUARD, bytes + 2 * MARGIN);
	to = vx_place_packed(mem + MARGIN, n, f->width);
	err = vx_codec_chain.decode(f, data, len, &part, &to, &e);
	if (err != 0 && (e.code != err || !e.why[0]))
		abort();
	for (int i = 0; i < MARGIN; i++)
		if (mem[i] != GUARD || mem[MARGIN + bytes + (size_t)i] != GUARD)
			abort();
	free(mem);
}

static void expand(struct vx_pool *pool, const uint8_t *h, const struct vx_chunk_form *f, struct vx_buf *stored)
{
	uint64_t before = vx_pool_bytes_used(pool), exact = vx_codec_chain.exact_payload(f);
	struct vx_buf *payload = NULL;
	struct vx_err e = {0};
	int err = vx_codec_chain.expand(pool, f, stored, &payload, &e);

	if (err == 0) {
		if (!payload || payload->len > vx_codec_chain.max_payload(f) || (exact && payload->len != exact))
			abort();
		decode(h, f, payload->data, payload->len);
		vx_buf_put(payload);
	} else if ((err != -EBADMSG && err != -EOPNOTSUPP) || e.code != err || !e.why[0] || payload) {
		abort();
	}
	if (vx_pool_bytes_used(pool) != before || stored->refs != 1)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vx_pool *pool;
	struct vx_buf stored = {.refs = 1};
	struct vx_chunk_form f;
	struct vx_chain c;

	if (!pool && vx_pool_new(&pool, 8 << 20) < 0)
		abort();
	if (size < HEAD || size - HEAD > MOST || !choose_chain(data, &c))
		return 0;
	f = choose_form(data, &c);
	stored.len = stored.cap = size - HEAD;
	stored.data = end_of_memory() - stored.len;
	memcpy(stored.data, data + HEAD, stored.len);
	expand(pool, data, &f, &stored);
	decode(data, &f, stored.data, stored.len); /* as if it were what was kept */
	return 0;
}
