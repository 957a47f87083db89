/* SPDX-License-Identifier: Apache-2.0
 * merge: how long the engine takes for one box of a sharded volume, and with how many requests, when close ranges
 * become one up to a gap and a length. No mount, no client: the box lands in memory that was touched before. The first
 * run finds no index; the second, of the same box, finds the indexes but no chunk.
 */
#include "base/clock.h"
#include "base/ledger.h"
#include "benchlib/bench.h"
#include "sched/engine.h"

#include <semaphore.h>
#include <stdio.h>

#define INFLIGHT_BYTES ((uint64_t)24 << 20) /* as a mount has it */
#define TINY_CACHE ((uint64_t)1 << 30)

struct rig {
	struct vx_pool *pool;
	struct vx_fetcher *fetcher;
	struct vx_cache *cache;
	struct vx_engine *engine;
	struct vx_source *src;
};

struct run {
	struct vx_job job;
	struct vx_err err;
	sem_t over;
};

static void must(int r, const struct vx_err *e)
{
	if (r < 0) {
		fprintf(stderr, "%s\n", e->why);
		exit(1);
	}
}

static void start(struct rig *g, const struct bench_args *a)
{
	unsigned connections = (unsigned)bench_number(a, "connections", 64);
	struct vx_engine_opts eo = {.threads = (unsigned)bench_number(a, "threads", 2),
				    .inflight = connections + connections / 4 + 2,
				    .inflight_bytes = INFLIGHT_BYTES,
				    .merge_gap = bench_number(a, "gap", VX_MERGE_GAP),
				    .merge_bytes = bench_number(a, "bytes", VX_MERGE_BYTES),
				    .merge_tasks = (unsigned)bench_number(a, "tasks", VX_MERGE_TASKS)};
	struct vx_source_spec spec = {.name = "v", .cloudpath = bench_text(a, "url", NULL)};
	struct vx_fetch_opts fo;
	struct vx_sources one = {0};
	struct vx_err e = {0};

	vx_fetch_opts_default(&fo);
	fo.connections = connections;
	must(vx_pool_new(&g->pool, 8 << 20), &e);
	must(vx_fetcher_new(&g->fetcher, &fo, g->pool, &e), &e);
	must(vx_cache_new(&g->cache, TINY_CACHE, g->pool, NULL, &e), &e);
	must(vx_engine_new(&g->engine, &eo, g->cache, g->pool, &e), &e);
	must(vx_sources_open(&one, g->fetcher, &spec, &e), &e);
	g->src = one.at[0];
	free(one.at);
}

static void stop(struct rig *g)
{
	vx_engine_quit(g->engine);
	vx_fetcher_stop(g->fetcher);
	vx_engine_stop(g->engine);
	vx_source_close(&g->src);
	vx_engine_free(&g->engine);
	vx_fetcher_free(&g->fetcher);
	vx_cache_free(&g->cache);
	vx_pool_free(&g->pool);
}

static void done(struct vx_job *j, const struct vx_err *e)
{
	struct run *r = vx_container_of(j, struct run, job);

	r->err = *e;
	sem_post(&r->over);
}

static double fetch(struct rig *g, const struct vx_box *box, void *to)
{
	uint64_t n[3] = {vx_box_extent(box, 0), vx_box_extent(box, 1), vx_box_extent(box, 2)};
	struct run r = {.job = {.src = g->src, .nwants = 1, .done = done}};
	double begin = bench_now();

	r.job.want[0] = (struct vx_want){.box = *box,
					 .to = vx_place_packed(to, n, vx_dtype_width(g->src->meta->dtype)),
					 .nchan = g->src->meta->channels,
					 .grid = 0};
	sem_init(&r.over, 0, 0);
	vx_engine_submit(g->engine, &r.job);
	while (sem_wait(&r.over) < 0)
		;
	must(r.err.code, &r.err);
	return bench_now() - begin;
}

static void drop_chunks(struct rig *g, const struct vx_box *box)
{
	struct vx_cell_key k = {.space = vx_source_space(g->src, 0)};
	uint64_t lo[3], hi[3];

	vx_scale_cells(&g->src->meta->scales[0], 0, box, lo, hi);
	for (k.cell.at[2] = lo[2]; k.cell.at[2] < hi[2]; k.cell.at[2]++)
		for (k.cell.at[1] = lo[1]; k.cell.at[1] < hi[1]; k.cell.at[1]++)
			for (k.cell.at[0] = lo[0]; k.cell.at[0] < hi[0]; k.cell.at[0]++)
				vx_cache_unkeep(g->cache, &k);
}

int bench_merge(const struct bench_args *a)
{
	struct rig g;
	struct vx_box box;
	uint64_t bytes, cold_requests, requests, store_bytes;
	double cold, warm;
	void *to;

	start(&g, a);
	bench_box_read(bench_text(a, "box", NULL), &box);
	vx_volume_box_bytes(g.src->meta, &box, &bytes);
	to = bench_memory(bytes);
	cold = fetch(&g, &box, to);
	cold_requests = vx_ledger.shards_requests;
	drop_chunks(&g, &box);
	store_bytes = vx_ledger.store_bytes;
	warm = fetch(&g, &box, to);
	store_bytes = vx_ledger.store_bytes - store_bytes;
	requests = vx_ledger.shards_requests - cold_requests;
	stop(&g);
	printf("{\"seconds\": %.6f, \"requests\": %llu, \"warm_seconds\": %.6f, \"warm_requests\": %llu, "
	       "\"warm_bytes\": %llu}\n",
	       cold, (unsigned long long)cold_requests, warm, (unsigned long long)requests,
	       (unsigned long long)store_bytes);
	return 0;
}
