/* SPDX-License-Identifier: Apache-2.0
 * What the commands share; see bench.h.
 */
#include "benchlib/bench.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define HUGE ((uint64_t)2 << 20)

void bench_die(const char *what)
{
	fprintf(stderr, "voxbench: %s: %s\n", what, strerror(errno));
	exit(1);
}

const char *bench_text(const struct bench_args *a, const char *key, const char *fallback)
{
	size_t n = strlen(key);

	for (int i = 0; i < a->argc; i++)
		if (!strncmp(a->argv[i], key, n) && a->argv[i][n] == '=')
			return a->argv[i] + n + 1;
	if (!fallback) {
		fprintf(stderr, "voxbench: %s= is needed\n", key);
		exit(2);
	}
	return fallback;
}

uint64_t bench_number(const struct bench_args *a, const char *key, uint64_t fallback)
{
	const char *t = bench_text(a, key, "");

	return *t ? strtoull(t, NULL, 0) : fallback;
}

static double clock_seconds(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double bench_now(void)
{
	return clock_seconds(CLOCK_MONOTONIC);
}

double bench_cpu(void)
{
	return clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

/* ---- chunks ---- */

void bench_box_read(const char *text, struct vx_box *b)
{
	if (sscanf(text, "%" SCNd64 "-%" SCNd64 "_%" SCNd64 "-%" SCNd64 "_%" SCNd64 "-%" SCNd64, &b->lo[0], &b->hi[0],
		   &b->lo[1], &b->hi[1], &b->lo[2], &b->hi[2]) != 6) {
		errno = EINVAL;
		bench_die(text);
	}
}

static void triple(const char *text, uint64_t ret[3])
{
	if (sscanf(text, "%" SCNu64 ",%" SCNu64 ",%" SCNu64, &ret[0], &ret[1], &ret[2]) != 3) {
		errno = EINVAL;
		bench_die(text);
	}
}

void bench_grid_read(const struct bench_args *a, struct bench_grid *g)
{
	uint64_t block[3];

	g->dir = bench_text(a, "dir", NULL);
	g->suffix = bench_text(a, "suffix", "");
	g->width = (uint32_t)bench_number(a, "width", 1);
	bench_box_read(bench_text(a, "bounds", NULL), &g->bounds);
	bench_box_read(bench_text(a, "box", bench_text(a, "bounds", NULL)), &g->box);
	triple(bench_text(a, "chunk", "64,64,64"), g->chunk);
	triple(bench_text(a, "block", "8,8,8"), block);
	for (int d = 0; d < 3; d++)
		g->block[d] = (uint32_t)block[d];
}

void bench_cells_of(const struct bench_grid *g, const struct vx_box *box, struct bench_cells *ret)
{
	uint64_t lo[3], hi[3], at[3];

	for (int d = 0; d < 3; d++) {
		lo[d] = (uint64_t)(box->lo[d] - g->bounds.lo[d]) / g->chunk[d];
		hi[d] = ((uint64_t)(box->hi[d] - g->bounds.lo[d]) + g->chunk[d] - 1) / g->chunk[d];
	}
	ret->count = 0;
	ret->cell = calloc((hi[0] - lo[0]) * (hi[1] - lo[1]) * (hi[2] - lo[2]), sizeof *ret->cell);
	if (!ret->cell)
		bench_die("cells");
	for (at[2] = lo[2]; at[2] < hi[2]; at[2]++)
		for (at[1] = lo[1]; at[1] < hi[1]; at[1]++)
			for (at[0] = lo[0]; at[0] < hi[0]; at[0]++) {
				struct bench_cell *c = &ret->cell[ret->count++];
				struct vx_box whole;

				for (int d = 0; d < 3; d++) {
					whole.lo[d] = g->bounds.lo[d] + (int64_t)(at[d] * g->chunk[d]);
					whole.hi[d] = whole.lo[d] + (int64_t)g->chunk[d];
				}
				vx_box_clip(&whole, &g->bounds, &c->box);
				vx_box_clip(&c->box, box, &c->part);
			}
}

void bench_cell_name(const struct bench_grid *g, const struct bench_cell *c, char *ret, size_t size)
{
	const struct vx_box *b = &c->box;

	snprintf(ret, size, "%s/%" PRId64 "-%" PRId64 "_%" PRId64 "-%" PRId64 "_%" PRId64 "-%" PRId64 "%s", g->dir,
		 b->lo[0], b->hi[0], b->lo[1], b->hi[1], b->lo[2], b->hi[2], g->suffix);
}

uint64_t bench_box_bytes(const struct bench_grid *g, const struct vx_box *b)
{
	return vx_box_extent(b, 0) * vx_box_extent(b, 1) * vx_box_extent(b, 2) * g->width;
}

/* ---- memory and files ---- */

void *bench_fresh_memory(uint64_t bytes)
{
	char *m = mmap(NULL, bytes + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED)
		bench_die("mmap");
	madvise(m, bytes + HUGE, MADV_HUGEPAGE);
	return (void *)(((uintptr_t)m + HUGE - 1) / HUGE * HUGE);
}

void *bench_memory(uint64_t bytes)
{
	char *m = bench_fresh_memory(bytes);

	memset(m, 1, bytes);
	return m;
}

void bench_warm(uint64_t bytes)
{
	uint64_t step = (uint64_t)64 << 20, n = (bytes + step - 1) / step;
	void **slice = calloc(n + 1, sizeof *slice);

	for (unsigned round = 0; slice && round < 2;
	     round++) { /* the first may be slow; the second proves it is over */
		for (uint64_t i = 0; i < n; i++) {
			slice[i] = mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (slice[i] == MAP_FAILED)
				bench_die("mmap");
			madvise(slice[i], step, MADV_HUGEPAGE);
			memset(slice[i], 1, step);
		}
		for (uint64_t i = 0; i < n; i++)
			munmap(slice[i], step);
	}
	free(slice);
}

size_t bench_load(const char *path, void *to, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		bench_die(path);
	n = pread(fd, to, cap, 0);
	if (n < 0 || (size_t)n == cap)
		bench_die(path);
	close(fd);
	return (size_t)n;
}

/* ---- threads ---- */

struct loop {
	void (*f)(void *ctx, unsigned thread, uint64_t i);
	void *ctx;
	uint64_t count;
	_Atomic uint64_t next;
	_Atomic unsigned threads;
};

static void *loop_main(void *arg)
{
	struct loop *l = arg;
	unsigned thread = l->threads++;
	uint64_t i;

	while ((i = l->next++) < l->count)
		l->f(l->ctx, thread, i);
	return NULL;
}

void bench_parallel(unsigned threads, uint64_t count, void (*f)(void *ctx, unsigned thread, uint64_t i), void *ctx)
{
	struct loop l = {.f = f, .ctx = ctx, .count = count};
	pthread_t *t = calloc(threads, sizeof *t);

	if (!t)
		bench_die("threads");

	for (unsigned i = 1; i < threads; i++)
		if (pthread_create(&t[i], NULL, loop_main, &l))
			bench_die("thread");
	loop_main(&l);
	for (unsigned i = 1; i < threads; i++)
		pthread_join(t[i], NULL);
	free(t);
}
