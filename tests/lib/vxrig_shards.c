/* SPDX-License-Identifier: Apache-2.0
 * Volumes in shards. Those laid out as Zarr does have Precomputed's metadata all the same: only their sharding and the
 * names of their objects are put in place when they are opened.
 */
#include "voxgen_shard.h"
#include "vxrig.h"

#include <inttypes.h>
#include <string.h>

struct place {
	struct vx_shard_at at;
	int64_t voxel[3];
};

static void cells_of(const struct vxr_volume *v, uint64_t cells[3])
{
	for (int d = 0; d < 3; d++)
		cells[d] = (uint64_t)((v->size[d] + v->chunk[0][d] - 1) / v->chunk[0][d]);
}

static int zarr_name(const uint64_t shard[3], char *ret, size_t size)
{
	return snprintf(ret, size, "s0/%" PRIu64 ".%" PRIu64 ".%" PRIu64, shard[2], shard[1], shard[0]);
}

static int zarr_chunk_name(const struct vx_scale *s, unsigned grid, const struct vx_cell *cell, char *ret, size_t size)
{
	struct vx_shard_at at;

	vx_shard_find(s->sharding, s->grids[grid].cells, cell->at, cell->slab, &at);
	return zarr_name(at.shard, ret, size);
}

static const struct vx_format zarr_like = {.name = "zarr-like", .chunk_name = zarr_chunk_name};

void vxr_shards_patch(const struct vxr_volume *v, struct vx_volume *meta)
{
	if (!v->sharding || v->sharding->kind != VX_SHARD_ZARR)
		return;
	meta->format = &zarr_like;
	meta->scales[0].sharding = malloc(sizeof *v->sharding);
	*meta->scales[0].sharding = *v->sharding;
}

void vxr_shards_info(const struct vxr_volume *v, char *text, size_t size)
{
	const struct vx_sharding *s = v->sharding;

	text[0] = 0;
	if (!s || s->kind == VX_SHARD_ZARR)
		return;
	snprintf(text, size,
		 ",\"sharding\":{\"@type\":\"neuroglancer_uint64_sharded_v1\",\"hash\":\"%s\",\"preshift_bits\":%u,"
		 "\"minishard_bits\":%u,\"shard_bits\":%u,\"minishard_index_encoding\":\"%s\"}",
		 s->murmur ? "murmurhash3_x86_128" : "identity", s->preshift_bits, s->minishard_bits, s->shard_bits,
		 s->index_gzip ? "gzip" : "raw");
}

static int by_shard(const void *pa, const void *pb)
{
	const struct place *a = pa, *b = pb;
	const uint64_t x[] = {a->at.shard[2], a->at.shard[1], a->at.shard[0], a->at.minishard, a->at.chunk};
	const uint64_t y[] = {b->at.shard[2], b->at.shard[1], b->at.shard[0], b->at.minishard, b->at.chunk};

	for (unsigned i = 0; i < VX_ARRAY_LEN(x); i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

static size_t plan(const struct vxr_volume *v, struct place *to)
{
	uint64_t cells[3], at[3];
	size_t n = 0;

	cells_of(v, cells);
	for (at[2] = 0; at[2] < cells[2]; at[2]++)
		for (at[1] = 0; at[1] < cells[1]; at[1]++)
			for (at[0] = 0; at[0] < cells[0]; at[0]++, n++) {
				vx_shard_find(v->sharding, cells, at, 0, &to[n].at);
				for (int d = 0; d < 3; d++)
					to[n].voxel[d] = v->offset[d] + (int64_t)at[d] * v->chunk[0][d];
			}
	qsort(to, n, sizeof *to, by_shard);
	return n;
}

static void write_shard(const struct vxr_volume *v, const struct vx_shard_at *at, struct vg_shard *s)
{
	char name[64], path[200];
	size_t len;
	const uint8_t *data = vg_shard_finish(s, &len);
	FILE *f;

	if (v->sharding->kind == VX_SHARD_ZARR)
		zarr_name(at->shard, name, sizeof name);
	else
		vx_shard_name(v->sharding, "s0", at->shard[0], name, sizeof name);
	snprintf(path, sizeof path, "%s/%s", v->dir, name);
	f = fopen(path, "wb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

void vxr_shards_write(const struct vxr_volume *v)
{
	VX_AUTO_FREE struct place *p = NULL;
	uint64_t cells[3];
	size_t n;

	cells_of(v, cells);
	p = calloc(cells[0] * cells[1] * cells[2], sizeof *p);
	n = plan(v, p);
	for (size_t from = 0, i; from < n; from = i) {
		struct vg_shard *s = vg_shard_new(v->sharding);

		for (i = from; i < n && !memcmp(p[i].at.shard, p[from].at.shard, sizeof p[i].at.shard); i++) {
			size_t len;
			VX_AUTO_FREE uint8_t *data = vxr_chunk_bytes(v, 0, p[i].voxel, &len);

			if (!vxr_is_dropped(v, p[i].voxel))
				ck_assert_int_eq(vg_shard_add(s, &p[i].at, data, len), 0);
		}
		write_shard(v, &p[from].at, s);
		vg_shard_free(&s);
	}
}
