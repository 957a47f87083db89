/* SPDX-License-Identifier: Apache-2.0
 * Baselines for image encodings: the same libraries as voxfs on whole chunk files, one set of buffers for each thread,
 * the voxels dropped. Grey images only.
 */
#include "benchlib/bench.h"

#include <spng.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#define THREADS_MAX 256
#define ROWS 16

struct image_loop {
	const struct bench_grid *grid;
	struct bench_cells cells;
	struct jpeg_decompress_struct jpeg[THREADS_MAX];
	struct jpeg_error_mgr errors; /* ends the program */
	uint8_t *stored[THREADS_MAX], *voxels[THREADS_MAX];
	size_t cap;
};

static size_t load_chunk(struct image_loop *l, unsigned thread, uint64_t i)
{
	char path[4096];

	bench_cell_name(l->grid, &l->cells.cell[i], path, sizeof path);
	return bench_load(path, l->stored[thread], l->cap);
}

static void decode_jpeg(void *ctx, unsigned thread, uint64_t i)
{
	struct image_loop *l = ctx;
	struct jpeg_decompress_struct *c = &l->jpeg[thread];

	jpeg_mem_src(c, l->stored[thread], load_chunk(l, thread, i));
	jpeg_read_header(c, TRUE);
	jpeg_start_decompress(c);
	while (c->output_scanline < c->output_height) {
		JSAMPROW row[ROWS];

		for (unsigned k = 0; k < ROWS; k++)
			row[k] = l->voxels[thread] + (size_t)(c->output_scanline + k) * c->output_width;
		jpeg_read_scanlines(c, row, ROWS);
	}
	jpeg_finish_decompress(c);
}

static void decode_png(void *ctx, unsigned thread, uint64_t i)
{
	struct image_loop *l = ctx;
	size_t len = load_chunk(l, thread, i);
	spng_ctx *c = spng_ctx_new(0);

	if (!c || spng_set_png_buffer(c, l->stored[thread], len) ||
	    spng_decode_image(c, l->voxels[thread], l->cap, SPNG_FMT_PNG, 0)) {
		errno = EBADMSG;
		bench_die("png");
	}
	spng_ctx_free(c);
}

int bench_images(const struct bench_args *a)
{
	unsigned threads = (unsigned)bench_number(a, "threads", 1);
	bool png = !strcmp(bench_text(a, "encoding", NULL), "png");
	static struct image_loop l;
	struct bench_grid g;
	double t0, cpu;

	bench_grid_read(a, &g);
	l.grid = &g;
	l.cap = g.chunk[0] * g.chunk[1] * g.chunk[2] * g.width * 2 + 65536;
	for (unsigned t = 0; t < threads && t < THREADS_MAX; t++) {
		l.stored[t] = bench_memory(l.cap);
		l.voxels[t] = bench_memory(l.cap);
		l.jpeg[t].err = jpeg_std_error(&l.errors);
		jpeg_create_decompress(&l.jpeg[t]);
	}
	cpu = bench_cpu();
	t0 = bench_now();
	bench_cells_of(&g, &g.box, &l.cells);
	bench_parallel(threads, l.cells.count, png ? decode_png : decode_jpeg, &l);
	printf("{\"seconds\": %.9f, \"cpu\": %.9f, \"chunks\": %llu}\n", bench_now() - t0, bench_cpu() - cpu,
	       (unsigned long long)l.cells.count);
	return 0;
}
