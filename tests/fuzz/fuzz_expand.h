/* SPDX-License-Identifier: Apache-2.0
 * For the codecs that expand: the first 4 bytes choose the chunk's form, the rest is the chunk. What is refused has a
 * sentence and leaves nothing in the pool. What is taken has the exact length, and every byte of it was written: twice
 * the same out of memory that held different things.
 */
#include "codec/codec.h"

#include <string.h>

#define HEAD 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vx_pool *expand_pool;

/* The buffer that is handed back last is the next to be had. */
static struct vx_buf *expand_once(const struct vx_codec *codec, const struct vx_chunk_form *f, struct vx_buf *stored,
				  int junk)
{
	struct vx_buf *ret = vx_buf_get(expand_pool, vx_chunk_form_bytes(f));
	struct vx_err e = {0};
	int err;

	memset(ret->data, junk, ret->cap);
	vx_buf_put(ret);
	ret = NULL;
	err = codec->expand(expand_pool, f, stored, &ret, &e);
	if (err < 0 ? err != -EBADMSG || e.code != err || !e.why[0] || ret : err || ret->len != vx_chunk_form_bytes(f))
		abort();
	return ret;
}

static void expand_chunk(const struct vx_codec *codec, const struct vx_chunk_form *f, const uint8_t *data, size_t size)
{
	struct vx_buf *stored, *one, *two;

	if (!expand_pool && vx_pool_new(&expand_pool, 8 << 20) < 0)
		abort();
	stored = vx_buf_get(expand_pool, size + 1);
	memcpy(stored->data, data, size);
	stored->len = size;
	one = expand_once(codec, f, stored, 0x55);
	two = expand_once(codec, f, stored, 0xaa);
	if (!one != !two || (one && memcmp(one->data, two->data, one->len)))
		abort();
	vx_buf_put(one);
	vx_buf_put(two);
	vx_buf_put(stored);
	if (vx_pool_bytes_used(expand_pool))
		abort();
}

static struct vx_chunk_form expand_form(const uint8_t *h, uint32_t channels, uint32_t width)
{
	return (struct vx_chunk_form){
	    .n = {1 + h[0] % 80, 1 + h[1] % 80, 1 + h[2] % 80}, .channels = channels, .width = width};
}
