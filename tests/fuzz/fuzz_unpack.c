/* SPDX-License-Identifier: Apache-2.0
 * Unpacking: the first three bytes choose the pack, the limit and the exact length, the rest is the
 * data. Whatever comes out obeys the limits, and whatever fails says why and leaks nothing.
 */
#include "codec/codec.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(struct vx_pool *pool, enum vx_pack pack, struct vx_buf *in, uint64_t exact, uint64_t max)
{
	struct vx_buf *out = NULL;
	struct vx_err e = {0};
	uint64_t before = vx_pool_bytes_used(pool);
	int err = vx_unpack(pool, pack, in, exact, max, &out, &e);

	if (err == 0) {
		if (!out || (out != in && (out->len > max || (exact && out->len != exact))))
			abort();
		vx_buf_put(out);
	} else if (err != -EBADMSG || e.code != err || !e.why[0] || out) {
		abort();
	}
	if (vx_pool_bytes_used(pool) != before)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vx_pool *pool;
	uint64_t max, exact;
	struct vx_buf *in;

	if (!pool && vx_pool_new(&pool, 1 << 20) < 0)
		abort();
	if (size < 3)
		return 0;
	max = (uint64_t)1 << (data[1] % 21);
	exact = data[2] * (data[1] > 127 ? 1 : 37);
	in = vx_buf_get(pool, size);
	memcpy(in->data, data + 3, size - 3);
	in->len = size - 3;
	run(pool, (enum vx_pack)(data[0] % 5), in, 0, max);
	if (exact)
		run(pool, (enum vx_pack)(data[0] % 5), in, exact, exact > max ? exact : max);
	vx_buf_put(in);
	return 0;
}
