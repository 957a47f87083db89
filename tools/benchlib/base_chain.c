/* SPDX-License-Identifier: Apache-2.0
 * Arrays of Zarr v2 for the benchmark, made from raw chunks, and two loops over their files: by the bare library with
 * one context and one set of buffers for each thread, and by our codec as a worker of voxfs runs it.
 */
#include "benchlib/bench.h"
#include "codec/chain.h"

#include <blosc.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#define THREADS_MAX 256
#define POOL_IDLE ((size_t)8 << 20)

struct array_loop {
	struct bench_grid grid;
	struct bench_cells cells;
	bool blosc;
	uint64_t chunk_bytes;
	size_t packed_cap;
	struct vx_place to; /* the box */
	/* the library's */
	ZSTD_DCtx *zstd[THREADS_MAX];
	uint8_t *packed[THREADS_MAX], *voxels[THREADS_MAX];
	/* ours */
	struct vx_pool *pool;
	struct vx_chain chain;
	/* of repack */
	const char *out;
};

static void loop_init(struct array_loop *l, const struct bench_args *a)
{
	struct bench_grid *g = &l->grid;
	uint64_t n[3];

	bench_grid_read(a, g);
	l->blosc = !strcmp(bench_text(a, "pack", NULL), "blosc");
	l->chunk_bytes = g->chunk[0] * g->chunk[1] * g->chunk[2] * g->width;
	l->packed_cap = l->chunk_bytes + l->chunk_bytes / 8 + 65536;
	for (int d = 0; d < 3; d++)
		n[d] = vx_box_extent(&g->box, d);
	l->to = vx_place_packed(NULL, n, g->width);
}

static void array_key(const struct bench_grid *g, const struct bench_cell *c, const char *dir, char *ret, size_t size)
{
	int64_t at[3];

	for (int d = 0; d < 3; d++)
		at[d] = (c->box.lo[d] - g->bounds.lo[d]) / (int64_t)g->chunk[d];
	snprintf(ret, size, "%s/%" PRId64 ".%" PRId64 ".%" PRId64, dir, at[2], at[1], at[0]);
}

/* ---- making one ---- */

static void write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len || close(fd))
		bench_die(path);
}

static void write_metadata(const struct array_loop *l)
{
	static const char zstd[] = "{\"id\":\"zstd\",\"level\":3}";
	static const char blosc[] = "{\"id\":\"blosc\",\"cname\":\"zstd\",\"clevel\":3,\"shuffle\":1,\"blocksize\":0}";
	const struct bench_grid *g = &l->grid;
	char path[4096], text[1024];
	int n = snprintf(text, sizeof text,
			 "{\"zarr_format\":2,\"shape\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "],\"chunks\":[%" PRIu64
			 ",%" PRIu64 ",%" PRIu64 "],\"dtype\":\"%s\",\"compressor\":%s,\"fill_value\":0,"
			 "\"order\":\"C\",\"filters\":null,\"dimension_separator\":\".\"}\n",
			 vx_box_extent(&g->bounds, 2), vx_box_extent(&g->bounds, 1), vx_box_extent(&g->bounds, 0),
			 g->chunk[2], g->chunk[1], g->chunk[0], g->width == 1 ? "|u1" : "<u8", l->blosc ? blosc : zstd);

	snprintf(path, sizeof path, "%s/.zarray", l->out);
	write_file(path, text, (size_t)n);
}

static void repack_chunk(void *ctx, unsigned thread, uint64_t i)
{
	struct array_loop *l = ctx;
	const struct bench_cell *c = &l->cells.cell[i];
	char path[4096];
	size_t len;

	bench_cell_name(&l->grid, c, path, sizeof path);
	len = bench_load(path, l->voxels[thread], l->packed_cap);
	if (len != l->chunk_bytes) {
		errno = EBADMSG; /* chunks at an edge would have to be padded */
		bench_die(path);
	}
	if (l->blosc)
		len = (size_t)blosc_compress_ctx(3, BLOSC_SHUFFLE, l->grid.width, len, l->voxels[thread],
						 l->packed[thread], l->packed_cap, "zstd", 0, 1);
	else
		len = ZSTD_compress(l->packed[thread], l->packed_cap, l->voxels[thread], len, 3);
	array_key(&l->grid, c, l->out, path, sizeof path);
	write_file(path, l->packed[thread], len);
}

/* The array begins at the box's corner. */
int bench_repack(const struct bench_args *a)
{
	unsigned threads = (unsigned)bench_number(a, "threads", 1);
	struct array_loop l = {.out = bench_text(a, "to", NULL)};

	loop_init(&l, a);
	for (unsigned t = 0; t < threads && t < THREADS_MAX; t++) {
		l.packed[t] = bench_memory(l.packed_cap);
		l.voxels[t] = bench_memory(l.packed_cap);
	}
	if (mkdir(l.out, 0777) && errno != EEXIST)
		bench_die(l.out);
	bench_cells_of(&l.grid, &l.grid.bounds, &l.cells);
	bench_parallel(threads, l.cells.count, repack_chunk, &l);
	write_metadata(&l);
	printf("{\"chunks\": %" PRIu64 "}\n", l.cells.count);
	return 0;
}

/* ---- reading one ---- */

static void unpack_and_copy(void *ctx, unsigned thread, uint64_t i)
{
	struct array_loop *l = ctx;
	const struct bench_cell *c = &l->cells.cell[i];
	uint8_t *packed = l->packed[thread], *voxels = l->voxels[thread];
	char path[4096];
	size_t len, got;

	array_key(&l->grid, c, l->grid.dir, path, sizeof path);
	len = bench_load(path, packed, l->packed_cap);
	if (l->blosc)
		got = (size_t)blosc_decompress_ctx(packed, voxels, l->chunk_bytes, 1);
	else
		got = ZSTD_decompressDCtx(l->zstd[thread], voxels, l->chunk_bytes, packed, len);
	if (got != l->chunk_bytes) {
		errno = EBADMSG;
		bench_die(path);
	}
	bench_copy_cell(&l->grid, c, voxels, &l->grid.box, &l->to);
}

static void decode_straight(void *ctx, unsigned thread, uint64_t i)
{
	struct array_loop *l = ctx;
	const struct bench_grid *g = &l->grid;
	const struct bench_cell *c = &l->cells.cell[i];
	struct vx_chunk_form f = {.channels = 1, .width = g->width, .params = &l->chain};
	struct vx_place to = vx_place_at(&l->to, &g->box, &c->part, g->width);
	VX_AUTO_BUF struct vx_buf *stored = vx_buf_get(l->pool, l->packed_cap), *payload = NULL;
	struct vx_box part = c->part;
	struct vx_err e = {0};
	char path[4096];

	for (int d = 0; d < 3; d++) {
		f.n[d] = vx_box_extent(&c->box, d);
		part.lo[d] -= c->box.lo[d];
		part.hi[d] -= c->box.lo[d];
	}
	array_key(g, c, g->dir, path, sizeof path);
	stored->len = bench_load(path, stored->data, stored->cap);
	if (vx_codec_chain.expand(l->pool, &f, stored, &payload, &e) < 0 ||
	    vx_codec_chain.decode(&f, payload->data, payload->len, &part, &to, &e) < 0) {
		errno = EBADMSG;
		bench_die(path);
	}
}

static void run(struct array_loop *l, const struct bench_args *a, void (*f)(void *ctx, unsigned thread, uint64_t i))
{
	unsigned threads = (unsigned)bench_number(a, "threads", 1);
	double t0, cpu;

	l->to.at = bench_memory(bench_box_bytes(&l->grid, &l->grid.box));
	cpu = bench_cpu();
	t0 = bench_now();
	bench_cells_of(&l->grid, &l->grid.box, &l->cells);
	bench_parallel(threads, l->cells.count, f, l);
	printf("{\"seconds\": %.9f, \"cpu\": %.9f, \"chunks\": %" PRIu64 "}\n", bench_now() - t0, bench_cpu() - cpu,
	       l->cells.count);
}

int bench_unpack(const struct bench_args *a)
{
	unsigned threads = (unsigned)bench_number(a, "threads", 1);
	struct array_loop l = {0};

	loop_init(&l, a);
	for (unsigned t = 0; t < threads && t < THREADS_MAX; t++) {
		l.zstd[t] = ZSTD_createDCtx();
		l.packed[t] = bench_memory(l.packed_cap);
		l.voxels[t] = bench_memory(l.chunk_bytes);
	}
	run(&l, a, unpack_and_copy);
	return 0;
}

static bool go_on(void *ctx)
{
	return true;
}

int bench_chain(const struct bench_args *a)
{
	struct array_loop l = {0};
	const struct bench_grid *g = &l.grid;

	loop_init(&l, a);
	if (vx_pool_new(&l.pool, POOL_IDLE) < 0)
		bench_die("pool");
	while (vx_pool_prepare(l.pool, 16, go_on, NULL)) /* as a mount does in the background */
		;
	l.chain = (struct vx_chain){.nlinks = 1,
				    .link = {l.blosc ? VX_LINK_BLOSC : VX_LINK_ZSTD},
				    .rank = 3,
				    .axis = {VX_AXIS_Z, VX_AXIS_Y, VX_AXIS_X},
				    .shape = {g->chunk[2], g->chunk[1], g->chunk[0]},
				    .width = g->width};
	run(&l, a, decode_straight);
	return 0;
}
