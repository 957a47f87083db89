/* SPDX-License-Identifier: Apache-2.0
 * Shared by the measuring programs of tools/bench: arguments as key=value, a monotonic clock, the chunks that a box
 * meets, a loop over them on several threads, and memory that costs no page faults. Each command prints one JSON object
 * and exits; what it measures lies between two calls of bench_now with nothing else between them.
 */
#ifndef VX_TOOLS_BENCH_H
#define VX_TOOLS_BENCH_H

#include "base/box.h"

#include <stdatomic.h>

struct bench_args {
	int argc;
	char **argv;
};

/* The value of key=value, or `fallback`; NULL as fallback makes it required. */
const char *bench_text(const struct bench_args *a, const char *key, const char *fallback);
uint64_t bench_number(const struct bench_args *a, const char *key, uint64_t fallback);
void bench_die(const char *what) __attribute__((noreturn));

double bench_now(void); /* seconds */
double bench_cpu(void); /* processor seconds that this process has used */

/* One grid of a Precomputed volume, and a box of it: dir= bounds= chunk= box= width= suffix= */
struct bench_grid {
	const char *dir, *suffix; /* of the chunks: a directory, or a URL */
	struct vx_box bounds, box;
	uint64_t chunk[3];
	uint32_t width, block[3];
};

struct bench_cell {
	struct vx_box box, part; /* the chunk's voxels; those that the box wants */
};

struct bench_cells {
	uint64_t count;
	struct bench_cell *cell; /* row by row */
};

void bench_grid_read(const struct bench_args *a, struct bench_grid *g);
void bench_cells_of(const struct bench_grid *g, const struct vx_box *box, struct bench_cells *ret);
void bench_cell_name(const struct bench_grid *g, const struct bench_cell *c, char *ret, size_t size);
uint64_t bench_box_bytes(const struct bench_grid *g, const struct vx_box *b);
void bench_box_read(const char *text, struct vx_box *ret);

/* Anonymous memory of 2 MiB pages, all of them touched. */
void *bench_memory(uint64_t bytes);
/* Anonymous memory that asks for 2 MiB pages, none of them touched. */
void *bench_fresh_memory(uint64_t bytes);

/* Touches `bytes` of memory and lets go of them. What starts at once gets these pages: a virtual machine may hand free
 * pages back to its host within seconds, and their next first touch costs the host's page fault. */
void bench_warm(uint64_t bytes);

/* Reads a whole file; returns its length. Dies when it is not there or larger than cap. */
size_t bench_load(const char *path, void *to, size_t cap);

/* Calls f(ctx, i) for each i below count, on `threads` threads (this one is one of them). */
void bench_parallel(unsigned threads, uint64_t count, void (*f)(void *ctx, unsigned thread, uint64_t i), void *ctx);

/* The commands. */
int bench_touch(const struct bench_args *a);
int bench_resident(const struct bench_args *a);
int bench_open(const struct bench_args *a);
int bench_crowd(const struct bench_args *a);
int bench_hold(const struct bench_args *a);
int bench_file(const struct bench_args *a);
int bench_boxes(const struct bench_args *a);
int bench_cseg(const struct bench_args *a);
int bench_slabs(const struct bench_args *a);
int bench_inflate(const struct bench_args *a);
int bench_http(const struct bench_args *a);
int bench_merge(const struct bench_args *a);
int bench_serve(const struct bench_args *a);

#endif
