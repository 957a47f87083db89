/* SPDX-License-Identifier: Apache-2.0
 * Baseline for local volumes: each chunk is read by one pread into a buffer that stays in the processor's cache, and
 * its rows are copied to their place in the box. Nothing shares, keeps or checks anything.
 */
#include "benchlib/bench.h"

#include <stdio.h>
#include <string.h>

#define THREADS_MAX 256

struct file_loop {
	const struct bench_grid *grid;
	const struct bench_cells *cells;
	const struct vx_box *box;
	struct vx_place to;
	uint8_t *scratch[THREADS_MAX];
	size_t scratch_bytes;
};

static void copy_part(const struct file_loop *l, const struct bench_cell *c, uint8_t *chunk)
{
	uint64_t whole[3], part[3];
	struct vx_place from, to = vx_place_at(&l->to, l->box, &c->part, l->grid->width);

	for (int d = 0; d < 3; d++) {
		whole[d] = vx_box_extent(&c->box, d);
		part[d] = vx_box_extent(&c->part, d);
	}
	from = vx_place_packed(chunk, whole, l->grid->width);
	from = vx_place_at(&from, &c->box, &c->part, l->grid->width);
	vx_place_copy(&to, &from, part, 1, l->grid->width);
}

static void one_chunk(void *ctx, unsigned thread, uint64_t i)
{
	struct file_loop *l = ctx;
	const struct bench_cell *c = &l->cells->cell[i];
	char path[4096];

	bench_cell_name(l->grid, c, path, sizeof path);
	bench_load(path, l->scratch[thread], l->scratch_bytes);
	copy_part(l, c, l->scratch[thread]);
}

static void prepare(struct file_loop *l, const struct bench_grid *g, unsigned threads)
{
	if (threads > THREADS_MAX) {
		errno = EINVAL;
		bench_die("threads");
	}
	l->grid = g;
	l->scratch_bytes = g->chunk[0] * g->chunk[1] * g->chunk[2] * g->width + 4096;
	for (unsigned t = 0; t < threads; t++)
		l->scratch[t] = bench_memory(l->scratch_bytes);
}

static void aim(struct file_loop *l, const struct vx_box *box, void *to)
{
	uint64_t n[3] = {vx_box_extent(box, 0), vx_box_extent(box, 1), vx_box_extent(box, 2)};

	l->box = box;
	l->to = vx_place_packed(to, n, l->grid->width);
}

/* One box, on several threads. fresh=1: into memory that is mapped within the measured time. */
int bench_file(const struct bench_args *a)
{
	unsigned threads = (unsigned)bench_number(a, "threads", 1);
	bool fresh = bench_number(a, "fresh", 0);
	struct file_loop l = {0};
	struct bench_cells cells;
	struct bench_grid g;
	uint64_t bytes;
	void *to = NULL;
	double t0, cpu;

	bench_grid_read(a, &g);
	bytes = bench_box_bytes(&g, &g.box);
	prepare(&l, &g, threads);
	if (fresh)
		bench_warm(bytes * 2);
	else
		to = bench_memory(bytes);
	cpu = bench_cpu();
	t0 = bench_now();
	if (fresh)
		to = bench_fresh_memory(bytes);
	aim(&l, &g.box, to);
	bench_cells_of(&g, &g.box, &cells);
	l.cells = &cells;
	bench_parallel(threads, cells.count, one_chunk, &l);
	printf("{\"seconds\": %.9f, \"cpu\": %.9f, \"chunks\": %llu, \"bytes\": %llu}\n", bench_now() - t0,
	       bench_cpu() - cpu, (unsigned long long)cells.count, (unsigned long long)bytes);
	return 0;
}

/* Boxes on standard input, one after another, on one thread; each to a place of its own, for a cache has them all in
 * the end. count= of them at most. */
int bench_boxes(const struct bench_args *a)
{
	uint64_t count = bench_number(a, "count", 1), bytes;
	struct file_loop l = {0};
	struct bench_grid g;
	char line[256];
	uint8_t *to;

	bench_grid_read(a, &g);
	prepare(&l, &g, 1);
	bytes = bench_box_bytes(&g, &g.box); /* box= is the largest */
	to = bench_memory(bytes * count);
	printf("{\"boxes\": [");
	for (uint64_t n = 0; n < count && fgets(line, sizeof line, stdin); n++) {
		struct bench_cells cells;
		struct vx_box box;
		double t0;

		bench_box_read(line, &box);
		t0 = bench_now();
		aim(&l, &box, to + n * bytes);
		bench_cells_of(&g, &box, &cells);
		l.cells = &cells;
		for (uint64_t i = 0; i < cells.count; i++)
			one_chunk(&l, 0, i);
		printf("%s%.9f", n ? ", " : "", bench_now() - t0);
		free(cells.cell);
	}
	printf("]}\n");
	return 0;
}
