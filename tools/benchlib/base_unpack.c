/* SPDX-License-Identifier: Apache-2.0
 * Baselines for packed volumes: inflate by libdeflate with one decompressor and one set of buffers for each thread, and
 * for compressed_segmentation our own codec on whole chunks. Buffers are touched before the clock starts.
 */
#include "benchlib/bench.h"
#include "codec/codec.h"

#include <libdeflate.h>
#include <stdio.h>
#include <string.h>

#define THREADS_MAX 256

struct unpack_loop {
	const struct bench_grid *grid;
	struct bench_cells cells;
	struct libdeflate_decompressor *d[THREADS_MAX];
	uint8_t *packed[THREADS_MAX], *payload[THREADS_MAX], *voxels[THREADS_MAX];
	size_t packed_cap, payload_cap;
	uint8_t *chunks; /* slabs: all payloads, in the order of cells */
	uint64_t chunk_bytes;
	struct vx_place to; /* inflate: the box */
	_Atomic uint64_t bytes;
};

static void prepare(struct unpack_loop *l, const struct bench_grid *g, unsigned threads, uint64_t payload_cap)
{
	l->grid = g;
	l->chunk_bytes = g->chunk[0] * g->chunk[1] * g->chunk[2] * g->width;
	l->payload_cap = payload_cap;
	l->packed_cap = payload_cap + payload_cap / 8 + 65536;
	for (unsigned t = 0; t < threads && t < THREADS_MAX; t++) {
		l->d[t] = libdeflate_alloc_decompressor();
		l->packed[t] = bench_memory(l->packed_cap);
		l->payload[t] = bench_memory(payload_cap);
		l->voxels[t] = bench_memory(l->chunk_bytes);
	}
}

static size_t inflate_chunk(struct unpack_loop *l, unsigned thread, const struct bench_cell *c, uint8_t *to)
{
	char path[4096];
	size_t n, len;

	bench_cell_name(l->grid, c, path, sizeof path);
	n = bench_load(path, l->packed[thread], l->packed_cap);
	if (libdeflate_gzip_decompress(l->d[thread], l->packed[thread], n, to, l->payload_cap, &len)) {
		errno = EBADMSG;
		bench_die(path);
	}
	return len;
}

static struct vx_chunk_form form_of(const struct bench_grid *g, const struct bench_cell *c)
{
	struct vx_chunk_form f = {.channels = 1, .width = g->width};

	for (int d = 0; d < 3; d++) {
		f.n[d] = vx_box_extent(&c->box, d);
		f.block[d] = g->block[d];
	}
	return f;
}

void bench_copy_cell(const struct bench_grid *g, const struct bench_cell *c, uint8_t *chunk, const struct vx_box *box,
		     const struct vx_place *whole)
{
	struct vx_box part;
	struct vx_place from, to;
	uint64_t n[3], ext[3];

	if (!vx_box_clip(&c->box, box, &part))
		return;
	for (int d = 0; d < 3; d++) {
		n[d] = vx_box_extent(&c->box, d);
		ext[d] = vx_box_extent(&part, d);
	}
	from = vx_place_packed(chunk, n, g->width);
	from = vx_place_at(&from, &c->box, &part, g->width);
	to = vx_place_at(whole, box, &part, g->width);
	vx_place_copy(&to, &from, ext, 1, g->width);
}

static void decode_whole(void *ctx, unsigned thread, uint64_t i)
{
	struct unpack_loop *l = ctx;
	const struct bench_cell *c = &l->cells.cell[i];
	struct vx_chunk_form f = form_of(l->grid, c);
	struct vx_box all = {.hi = {(int64_t)f.n[0], (int64_t)f.n[1], (int64_t)f.n[2]}};
	struct vx_place to = vx_place_packed(l->voxels[thread], f.n, f.width);
	struct vx_err e = {0};
	size_t len = inflate_chunk(l, thread, c, l->payload[thread]);

	if (vx_codec_cseg.decode(&f, l->payload[thread], len, &all, &to, &e) < 0) {
		errno = EBADMSG;
		bench_die("cseg");
	}
	l->bytes += vx_chunk_form_bytes(&f);
	if (l->to.at)
		bench_copy_cell(l->grid, c, l->voxels[thread], &l->grid->box, &l->to);
}

static void aim(struct unpack_loop *l, void *to)
{
	const struct vx_box *b = &l->grid->box;
	uint64_t n[3] = {vx_box_extent(b, 0), vx_box_extent(b, 1), vx_box_extent(b, 2)};

	l->to = vx_place_packed(to, n, l->grid->width);
}

/* crop=1: the box is copied out of the decoded chunks, into memory that is mapped within the measured time. */
int bench_cseg(const struct bench_args *a)
{
	unsigned threads = (unsigned)bench_number(a, "threads", 1);
	bool crop = bench_number(a, "crop", 0);
	struct unpack_loop l = {0};
	struct bench_grid g;
	double t0, cpu;

	bench_grid_read(a, &g);
	prepare(&l, &g, threads, g.chunk[0] * g.chunk[1] * g.chunk[2] * g.width * 2);
	if (crop)
		bench_warm(bench_box_bytes(&g, &g.box) * 2);
	cpu = bench_cpu();
	t0 = bench_now();
	if (crop)
		aim(&l, bench_fresh_memory(bench_box_bytes(&g, &g.box)));
	bench_cells_of(&g, &g.box, &l.cells);
	bench_parallel(threads, l.cells.count, decode_whole, &l);
	printf("{\"seconds\": %.9f, \"cpu\": %.9f, \"chunks\": %llu, \"bytes\": %llu}\n", bench_now() - t0,
	       bench_cpu() - cpu, (unsigned long long)l.cells.count, (unsigned long long)l.bytes);
	return 0;
}

/* ---- slabs ---- */

static void inflate_and_stay(void *ctx, unsigned thread, uint64_t i)
{
	struct unpack_loop *l = ctx;

	inflate_chunk(l, thread, &l->cells.cell[i], l->chunks + i * l->chunk_bytes);
}

static void copy_slab(const struct unpack_loop *l, const struct vx_box *slab, uint8_t *to)
{
	uint64_t n[3] = {vx_box_extent(slab, 0), vx_box_extent(slab, 1), vx_box_extent(slab, 2)};
	struct vx_place whole = vx_place_packed(to, n, l->grid->width);

	for (uint64_t i = 0; i < l->cells.count; i++)
		bench_copy_cell(l->grid, &l->cells.cell[i], l->chunks + i * l->chunk_bytes, slab, &whole);
}

/* The box's slabs along z, one voxel thick each. */
int bench_slabs(const struct bench_args *a)
{
	unsigned threads = (unsigned)bench_number(a, "threads", 1);
	struct unpack_loop l = {0};
	struct bench_grid g;
	uint64_t slab_bytes;
	double t0, cpu, inflated;
	uint8_t *to;

	bench_grid_read(a, &g);
	prepare(&l, &g, threads, g.chunk[0] * g.chunk[1] * g.chunk[2] * g.width + 1);
	bench_cells_of(&g, &g.box, &l.cells);
	l.chunks = bench_memory((l.cells.count + 1) * l.chunk_bytes);
	slab_bytes = bench_box_bytes(&g, &g.box) / vx_box_extent(&g.box, 2);
	to = bench_memory(bench_box_bytes(&g, &g.box));
	cpu = bench_cpu();
	t0 = bench_now();
	bench_parallel(threads, l.cells.count, inflate_and_stay, &l);
	inflated = bench_now() - t0;
	for (int64_t z = g.box.lo[2]; z < g.box.hi[2]; z++) {
		struct vx_box slab = g.box;

		slab.lo[2] = z;
		slab.hi[2] = z + 1;
		copy_slab(&l, &slab, to + (uint64_t)(z - g.box.lo[2]) * slab_bytes);
	}
	printf("{\"seconds\": %.9f, \"cpu\": %.9f, \"inflating\": %.9f, \"chunks\": %llu}\n", bench_now() - t0,
	       bench_cpu() - cpu, inflated, (unsigned long long)l.cells.count);
	return 0;
}

/* ---- a whole box ---- */

static void inflate_and_copy(void *ctx, unsigned thread, uint64_t i)
{
	struct unpack_loop *l = ctx;
	const struct bench_cell *c = &l->cells.cell[i];

	inflate_chunk(l, thread, c, l->payload[thread]);
	bench_copy_cell(l->grid, c, l->payload[thread], &l->grid->box, &l->to);
}

int bench_inflate(const struct bench_args *a)
{
	unsigned threads = (unsigned)bench_number(a, "threads", 1);
	struct unpack_loop l = {0};
	struct bench_grid g;
	double t0, cpu;

	bench_grid_read(a, &g);
	prepare(&l, &g, threads, g.chunk[0] * g.chunk[1] * g.chunk[2] * g.width + 1);
	aim(&l, bench_memory(bench_box_bytes(&g, &g.box)));
	cpu = bench_cpu();
	t0 = bench_now();
	bench_cells_of(&g, &g.box, &l.cells);
	bench_parallel(threads, l.cells.count, inflate_and_copy, &l);
	printf("{\"seconds\": %.9f, \"cpu\": %.9f, \"chunks\": %llu}\n", bench_now() - t0, bench_cpu() - cpu,
	       (unsigned long long)l.cells.count);
	return 0;
}
