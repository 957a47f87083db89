/* SPDX-License-Identifier: Apache-2.0
 * codec_dump ENCODING X Y Z CHANNELS WIDTH: the chunk on standard input as voxels on standard output, for tests that
 * compare with other decoders. Damage: the sentence on standard error, status 1. An encoding that this build lacks: 77.
 */
#include "codec/codec.h"

#include <stdio.h>
#include <string.h>

static struct vx_buf *slurp(struct vx_pool *pool)
{
	struct vx_buf *b = vx_buf_get(pool, 1 << 20);
	size_t got;

	while ((got = fread(b->data + b->len, 1, b->cap - b->len, stdin)) > 0) {
		b->len += got;
		if (b->len == b->cap && vx_buf_grow(&b, 2 * b->cap) < 0)
			abort();
	}
	return b;
}

int main(int argc, char **argv)
{
	const struct vx_codec *c = argc == 7 ? vx_codec_find(argv[1]) : NULL;
	struct vx_buf *stored, *payload = NULL;
	struct vx_chunk_form f = {.channels = 1};
	struct vx_pool *pool = NULL;
	struct vx_err e = {0};
	int err;

	if (!c || !c->expand)
		return argc == 7 && vx_codec_lacks(argv[1]) ? 77 : 2;
	for (int d = 0; d < 3; d++)
		f.n[d] = strtoull(argv[2 + d], NULL, 10);
	f.channels = (uint32_t)strtoul(argv[5], NULL, 10);
	f.width = (uint32_t)strtoul(argv[6], NULL, 10);
	if (vx_pool_new(&pool, 1 << 20) < 0)
		return 2;
	stored = slurp(pool);
	err = c->expand(pool, &f, stored, &payload, &e);
	if (err < 0)
		fprintf(stderr, "%s: %s\n", vx_errno_name(err), e.why);
	else
		fwrite(payload->data, 1, payload->len, stdout);
	if (stored->len > c->max_stored(&f))
		fprintf(stderr, "%zu bytes are more than the largest that is fetched\n", stored->len);
	vx_buf_put(payload);
	vx_buf_put(stored);
	vx_pool_free(&pool);
	return err < 0;
}
