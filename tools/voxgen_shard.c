/* SPDX-License-Identifier: Apache-2.0
 * As CloudVolume lays it out: the shard index, all data minishard by minishard, then the minishards' indexes. Zarr's
 * index stands where the sharding says.
 */
#include "voxgen_shard.h"

#include "base/crc32c.h"

#include <libdeflate.h>
#include <string.h>

#define GZIP_LEVEL 6

struct chunk {
	struct vx_shard_at at;
	uint64_t off, len;
};

struct vg_shard {
	struct vx_sharding s;
	uint64_t head; /* bytes in front of the data */
	uint8_t *bytes;
	size_t len, cap;
	struct chunk *chunks;
	size_t n, room;
};

static uint64_t entries(const struct vx_sharding *s)
{
	if (s->kind == VX_SHARD_PRECOMPUTED)
		return (uint64_t)1 << s->minishard_bits;
	return s->cells[0] * s->cells[1] * s->cells[2] * s->slabs;
}

static bool index_in_front(const struct vx_sharding *s)
{
	return s->kind == VX_SHARD_PRECOMPUTED || !s->index_at_end;
}

static int append(struct vg_shard *s, const void *data, size_t len)
{
	if (s->cap - s->len < len) {
		size_t cap = 2 * (s->len + len) + 4096;
		uint8_t *more = realloc(s->bytes, cap);

		if (!more)
			return -ENOMEM;
		s->bytes = more;
		s->cap = cap;
	}
	if (data)
		memcpy(s->bytes + s->len, data, len);
	else if (len)
		memset(s->bytes + s->len, 0, len);
	s->len += len;
	return 0;
}

struct vg_shard *vg_shard_new(const struct vx_sharding *sharding)
{
	struct vg_shard *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->s = *sharding;
	if (index_in_front(sharding))
		s->head = entries(sharding) * 16 + (sharding->index_crc32c ? 4 : 0);
	if (append(s, NULL, s->head) < 0)
		vg_shard_free(&s);
	return s;
}

void vg_shard_free(struct vg_shard **shard)
{
	struct vg_shard *s = vx_steal(*shard);

	if (!s)
		return;
	free(s->bytes);
	free(s->chunks);
	free(s);
}

int vg_shard_add(struct vg_shard *s, const struct vx_shard_at *at, const void *data, size_t len)
{
	if (s->n == s->room) {
		size_t room = 2 * s->n + 64;
		struct chunk *more = realloc(s->chunks, room * sizeof *more);

		if (!more)
			return -ENOMEM;
		s->chunks = more;
		s->room = room;
	}
	s->chunks[s->n++] = (struct chunk){.at = *at, .off = s->len, .len = len};
	return append(s, data, len);
}

static void store64(uint8_t *to, uint64_t v, bool big)
{
	if (big)
		v = __builtin_bswap64(v);
	memcpy(to, &v, sizeof v);
}

static int append_gzip(struct vg_shard *s, const uint8_t *data, size_t len)
{
	struct libdeflate_compressor *c = libdeflate_alloc_compressor(GZIP_LEVEL);
	size_t bound = c ? libdeflate_gzip_compress_bound(c, len) : 0;
	uint8_t *packed = malloc(bound ? bound : 1);
	int r = c && packed ? append(s, packed, libdeflate_gzip_compress(c, data, len, packed, bound)) : -ENOMEM;

	free(packed);
	if (c)
		libdeflate_free_compressor(c);
	return r;
}

/* The index of the minishard of chunks [from, to). */
static int append_leaf(struct vg_shard *s, size_t from, size_t to)
{
	size_t n = to - from;
	uint8_t *rows = malloc(24 * n);
	uint64_t id = 0, pos = s->head, start = s->len;
	int r;

	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct chunk *c = &s->chunks[from + i];

		store64(rows + i * 8, c->at.chunk - id, false);
		store64(rows + (n + i) * 8, c->off - pos, false);
		store64(rows + (2 * n + i) * 8, c->len, false);
		id = c->at.chunk;
		pos = c->off + c->len;
	}
	r = s->s.index_gzip ? append_gzip(s, rows, 24 * n) : append(s, rows, 24 * n);
	free(rows);
	if (r < 0)
		return r;
	store64(s->bytes + s->chunks[from].at.minishard * 16, start - s->head, false);
	store64(s->bytes + s->chunks[from].at.minishard * 16 + 8, s->len - s->head, false);
	return 0;
}

static int finish_precomputed(struct vg_shard *s)
{
	for (size_t from = 0, to; from < s->n; from = to) {
		int r;

		to = from;
		while (to < s->n && s->chunks[to].at.minishard == s->chunks[from].at.minishard)
			to++;
		r = append_leaf(s, from, to);
		if (r < 0)
			return r;
	}
	return 0;
}

static int finish_zarr(struct vg_shard *s)
{
	uint64_t n = entries(&s->s);
	uint8_t *index;
	uint32_t crc;

	if (!index_in_front(&s->s) && append(s, NULL, n * 16 + (s->s.index_crc32c ? 4 : 0)) < 0)
		return -ENOMEM;
	index = index_in_front(&s->s) ? s->bytes : s->bytes + s->len - n * 16 - (s->s.index_crc32c ? 4 : 0);
	memset(index, 0xff, n * 16);
	for (size_t i = 0; i < s->n; i++) {
		store64(index + s->chunks[i].at.chunk * 16, s->chunks[i].off, s->s.index_big_endian);
		store64(index + s->chunks[i].at.chunk * 16 + 8, s->chunks[i].len, s->s.index_big_endian);
	}
	crc = vx_crc32c(index, n * 16);
	if (s->s.index_crc32c)
		memcpy(index + n * 16, &crc, sizeof crc);
	return 0;
}

const uint8_t *vg_shard_finish(struct vg_shard *s, size_t *ret_len)
{
	int r = s->s.kind == VX_SHARD_PRECOMPUTED ? finish_precomputed(s) : finish_zarr(s);

	*ret_len = s->len;
	return r < 0 ? NULL : s->bytes;
}
