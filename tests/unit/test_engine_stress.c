/* SPDX-License-Identifier: Apache-2.0
 * Many threads open, check, hold, leave and ask ahead at random, in a cache that is too small for what they want. Which
 * result each of them may get is known; at the end the books must balance. Bounded by operations, never by time.
 */
#include "../lib/vxrig.h"
#include "base/ledger.h"
#include "sched/cache_impl.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#define THREADS 5
#define POOL 200 /* boxes: so few that threads collide */
#define AT_ONCE 4
#define HELD 3
#define LONGEST 48

static const int64_t gap_at[3] = {20, 33, 1};
static const struct vx_sharding minishards = {
    .kind = VX_SHARD_PRECOMPUTED, .preshift_bits = 1, .minishard_bits = 2, .shard_bits = 2, .index_gzip = true};
static const struct vx_sharding zarr = {.kind = VX_SHARD_ZARR,
					.cells = {2, 3, 2},
					.stride = {1, 2, 6},
					.slabs = 1,
					.index_at_end = true,
					.index_crc32c = true};

static struct vxr_volume vols[] = {
    {.content = {.kind = VG_INDEX},
     .dtype = {"uint8", 1, false},
     .channels = 1,
     .offset = {-32, 16, -8},
     .size = {96, 80, 64},
     .ngrids = 1,
     .chunk = {{16, 16, 16}}},
    {.content = {.kind = VG_INDEX, .seed = 1},
     .dtype = {"uint16", 2, false},
     .channels = 2,
     .offset = {5, 0, -100},
     .size = {70, 60, 50},
     .ngrids = 2,
     .chunk = {{24, 24, 24}, {70, 60, 2}}},
    {.content = {.kind = VG_LABELS, .seed = 2},
     .dtype = {"uint32", 4, false},
     .channels = 1,
     .size = {80, 60, 40},
     .ngrids = 1,
     .chunk = {{24, 24, 20}},
     .cseg = true},
    {.content = {.kind = VG_INDEX, .seed = 3}, /* one chunk of it is missing */
     .dtype = {"uint8", 1, false},
     .channels = 1,
     .size = {64, 64, 32},
     .ngrids = 1,
     .chunk = {{16, 16, 16}}},
    {.content = {.kind = VG_INDEX, .seed = 4},
     .dtype = {"uint16", 2, false},
     .channels = 1,
     .offset = {7, 0, -9},
     .size = {90, 70, 50},
     .ngrids = 1,
     .chunk = {{16, 16, 16}},
     .sharding = &minishards},
    {.content = {.kind = VG_INDEX, .seed = 5}, /* of this too */
     .dtype = {"uint8", 1, false},
     .channels = 1,
     .size = {64, 64, 32},
     .ngrids = 1,
     .chunk = {{16, 16, 16}},
     .sharding = &zarr,
     .dropped = gap_at},
};
#define GAPPED 3
#define GAPPED_SHARD 5
static const struct vx_box gap = {{16, 32, 0}, {32, 48, 16}};

static struct vxr r;
static struct {
	unsigned vol;
	struct vx_box box;
} pool[POOL];
static _Atomic unsigned done_ops, successes, no_space, cancels;
static _Atomic bool ending;
static pthread_rwlock_t submits = PTHREAD_RWLOCK_INITIALIZER; /* no job is submitted once workers are told to go */

struct opener {
	pthread_t thread;
	struct vxt_rng rng;
	unsigned ops, number;
	struct vxr_open open[AT_ONCE], held[HELD];
	bool is_open[AT_ONCE]; /* begun */
	struct {
		uint8_t *map;
		unsigned vol;
		struct vx_box box;
	} client; /* maps a box that it has closed */
};

static bool meets_gap(unsigned vol, const struct vx_box *b)
{
	struct vx_box common;

	return (vol == GAPPED || vol == GAPPED_SHARD) && vx_box_clip(b, &gap, &common);
}

static void check_code(int code, unsigned vol, const struct vx_box *b)
{
	if (code == -ESHUTDOWN && ending)
		return;
	if (code == -ENOSPC) {
		no_space++;
		return;
	}
	ck_assert_msg(code == (meets_gap(vol, b) ? -ENODATA : 0), "volume %u: %d", vol, code);
	successes += code == 0;
}

static void drop_client(struct opener *p)
{
	if (!p->client.map)
		return;
	vxr_check(r.vol[p->client.vol], &p->client.box, 0, r.vol[p->client.vol]->channels, p->client.map);
	munmap(p->client.map, vxr_bytes(r.vol[p->client.vol], &p->client.box));
	p->client.map = NULL;
}

/* Closes a box now or later; a client may keep its map beyond that. */
static void use(struct opener *p, struct vxr_open *o)
{
	unsigned k = (unsigned)vxt_rnd(&p->rng, HELD);

	if (vxt_rnd(&p->rng, 2))
		vxr_open_check(&r, o);
	if (r.opts.share && vxt_rnd(&p->rng, 3) == 0) {
		drop_client(p);
		p->client.map = vxr_client_map(&r.sharer, o->b->object.share_id, o->b->bytes);
		p->client.vol = o->vol;
		p->client.box = o->box;
	}
	if (p->held[k].b) {
		vxr_open_check(&r, &p->held[k]);
		vxr_open_close(&r, &p->held[k]);
	}
	p->held[k].b = NULL;
	if (vxt_rnd(&p->rng, 4) == 0) {
		p->held[k].vol = o->vol;
		p->held[k].box = o->box;
		p->held[k].b = vx_steal(o->b);
	} else {
		vxr_open_close(&r, o);
	}
}

static void finish(struct opener *p, unsigned k)
{
	struct vxr_open *o = &p->open[k];
	int code;

	if (!p->is_open[k])
		return;
	p->is_open[k] = false;
	if (vxt_rnd(&p->rng, 5) == 0 && vxr_open_cancel(&r, o)) {
		cancels++;
		return;
	}
	code = vxr_open_await(o);
	check_code(code, o->vol, &o->box);
	if (code == 0)
		use(p, o);
}

static void begin(struct opener *p, unsigned k)
{
	unsigned n = (unsigned)vxt_rnd(&p->rng, POOL);
	struct vxr_open *o = &p->open[k];

	if (vxt_rnd(&p->rng, 8) == 0) {
		struct vx_err e;

		o->vol = pool[n].vol;
		o->box = pool[n].box;
		if (vx_boxes_open_resident(r.boxes, r.src[o->vol], 0, &o->box, &o->b, &e) == 0)
			use(p, o);
		return;
	}
	vxr_open_start(&r, o, pool[n].vol, &pool[n].box, p->number);
	p->is_open[k] = true;
	if (vxt_rnd(&p->rng, 10) == 0 && vxr_open_cancel(&r, o)) {
		p->is_open[k] = false;
		cancels++;
	}
}

/* A job of its own, as a lazy file sends it: bytes for a reader, or chunks ahead of one. */
static void run_job(struct opener *p)
{
	unsigned vol = (unsigned)vxt_rnd(&p->rng, r.nvols);
	struct vx_box b[2] = {vxr_random_box(r.vol[vol], &p->rng, 30), vxr_random_box(r.vol[vol], &p->rng, 30)};
	bool ahead = vxt_rnd(&p->rng, 2), cancelled = vxt_rnd(&p->rng, 3) == 0;
	uint32_t chan = (uint32_t)vxt_rnd(&p->rng, r.vol[vol]->channels);
	VX_AUTO_FREE uint8_t *to = malloc(vxr_bytes(r.vol[vol], &b[0]));
	struct vxr_job j;
	int code;

	vxr_job_init(&r, &j, vol);
	j.j.client = p->number;
	j.j.prio = ahead ? VX_PRIO_PREFETCH : VX_PRIO_FOREGROUND;
	vxr_job_want(&r, &j, &b[0], chan, 1, ahead ? NULL : to);
	vxr_job_want(&r, &j, &b[1], 0, r.vol[vol]->channels, NULL);
	pthread_rwlock_rdlock(&submits);
	if (ending) {
		pthread_rwlock_unlock(&submits);
		return;
	}
	vx_engine_submit(r.engine, &j.j);
	pthread_rwlock_unlock(&submits);
	if (cancelled && !j.ended)
		vx_engine_cancel(r.engine, &j.j);
	code = vxr_job_await(&j);
	if (code == 0 && !ahead)
		vxr_check(r.vol[vol], &b[0], chan, 1, to);
	if (code == 0 || (code == -ECANCELED && cancelled) || (code == -ESHUTDOWN && ending))
		return;
	ck_assert_int_eq(code, -ENODATA);
	ck_assert(meets_gap(vol, &b[0]) || meets_gap(vol, &b[1]));
}

static void *opener_main(void *arg)
{
	struct opener *p = arg;

	for (unsigned op = 0; op < p->ops && !ending; op++) {
		unsigned k = (unsigned)vxt_rnd(&p->rng, AT_ONCE);

		finish(p, k);
		begin(p, k);
		if (vxt_rnd(&p->rng, 12) == 0)
			run_job(p);
		if (vxt_rnd(&p->rng, 50) == 0)
			drop_client(p);
		if (vxt_rnd(&p->rng, 200) == 0)
			vx_cache_probe(r.cache, 3);
		done_ops++;
	}
	for (unsigned k = 0; k < AT_ONCE; k++)
		finish(p, k);
	for (unsigned k = 0; k < HELD; k++)
		if (p->held[k].b)
			vxr_open_close(&r, &p->held[k]);
	drop_client(p);
	return NULL;
}

/* `stop_after` operations everything is stopped under the openers' feet; 0: they come to their own end. */
static void stress(const char *name, int seed, unsigned ops, unsigned stop_after)
{
	static struct opener openers[THREADS];
	struct vxt_rng rng = vxt_seed(name, seed);

	for (unsigned k = 0; k < VX_ARRAY_LEN(vols); k++)
		vxr_add(&r, &vols[k]);
	for (unsigned k = 0; k < POOL; k++) {
		pool[k].vol = (unsigned)vxt_rnd(&rng, vxt_rnd(&rng, 2) ? 1 : VX_ARRAY_LEN(vols));
		pool[k].box = vxr_random_box(&vols[pool[k].vol], &rng, LONGEST);
	}
	for (unsigned k = 0; k < THREADS; k++) {
		openers[k].rng = (struct vxt_rng){vxt_rnd(&rng, UINT64_MAX)};
		openers[k].ops = ops;
		openers[k].number = k;
		ck_assert_int_eq(pthread_create(&openers[k].thread, NULL, opener_main, &openers[k]), 0);
	}
	if (stop_after) {
		while (done_ops < stop_after)
			sched_yield();
		pthread_rwlock_wrlock(&submits);
		ending = true;
		pthread_rwlock_unlock(&submits);
		vxr_stop(&r);
	}
	for (unsigned k = 0; k < THREADS; k++)
		pthread_join(openers[k].thread, NULL);
	fprintf(stderr, "%s: %u opened, %u without space, %u left, %llu evictions, %llu refused, %llu copied\n", name,
		successes, no_space, cancels, (unsigned long long)vx_ledger.cache_evictions,
		(unsigned long long)vx_ledger.cache_lease_refused, (unsigned long long)vx_ledger.chunks_copied);
	ck_assert_uint_gt(successes, no_space);
	if (!stop_after)
		ck_assert_uint_gt(vx_ledger.cache_evictions, 0);
	vxr_end(&r);
}

/* Twenty held boxes and twenty on their way fit; two hundred do not. */
#define LIMIT ((uint64_t)5 << 20)

START_TEST(local)
{
	static const enum vx_policy policy[] = {VX_POLICY_AFFINITY, VX_POLICY_MORTON, VX_POLICY_FIFO};

	vxr_start(&r, &(struct vxr_opts){.limit = LIMIT, .threads = 3, .policy = policy[_i % 3]});
	stress("local", _i, vxt_ops(600), 0);
}
END_TEST

START_TEST(shared)
{
	vxr_start(&r, &(struct vxr_opts){.limit = LIMIT, .threads = 3, .share = true, .wait_ns = 20000000});
	stress("shared", _i, vxt_ops(600), 0);
}
END_TEST

/* Hardly anything fits: openers stand in line all the time, and some give up. */
START_TEST(cramped)
{
	vxr_start(&r, &(struct vxr_opts){.limit = LIMIT / 10, .threads = 2, .share = _i % 2, .wait_ns = 2000000});
	stress("cramped", _i, vxt_ops(200), 0);
}
END_TEST

START_TEST(stopped)
{
	vxr_start(&r, &(struct vxr_opts){.limit = LIMIT, .threads = 3, .share = _i % 2});
	stress("stopped", _i, UINT32_MAX, 50 + 37 * (unsigned)_i);
}
END_TEST

START_TEST(remote)
{
	if (!vxr_port)
		return;
	vxr_rules("[{\"match\":\"7_\",\"do\":\"delay\",\"ms\":3},{\"match\":\"-8_\",\"do\":\"reset\",\"times\":20},"
		  "{\"match\":\"-0_\",\"do\":\"status\",\"status\":503,\"times\":20}]");
	vxr_start(&r, &(struct vxr_opts){.limit = LIMIT,
					 .threads = 3,
					 .port = vxr_port,
					 .share = _i % 2,
					 .inflight = 8,
					 .inflight_bytes = 1 << 20,
					 .merge_bytes = _i % 3 ? 20000 : 0,
					 .wait_ns = 200000000});
	stress("remote", _i, vxt_ops(200), 0);
}
END_TEST

START_TEST(remote_stopped)
{
	if (!vxr_port)
		return;
	vxr_start(&r, &(struct vxr_opts){
			  .limit = LIMIT, .threads = 3, .port = vxr_port, .inflight = 8, .inflight_bytes = 1 << 20});
	vxr_rules("[{\"match\":\"7_\",\"do\":\"delay\",\"ms\":20}]");
	stress("remote_stopped", _i, UINT32_MAX, 30 + 23 * (unsigned)_i);
}
END_TEST

static void make_all(void)
{
	char path[200];

	vxr_volumes_make(vols, VX_ARRAY_LEN(vols));
	vxr_chunk_path(&vols[GAPPED], gap_at, path, sizeof path);
	ck_assert_int_eq(unlink(path), 0);
	vxr_server_start();
}

static void remove_all(void)
{
	vxr_server_stop();
	vxr_volumes_free(vols, VX_ARRAY_LEN(vols));
}

int main(void)
{
	Suite *s = suite_create("engine_stress");
	TCase *t = tcase_create("stress");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 600);
	tcase_add_unchecked_fixture(t, make_all, remove_all);
	tcase_add_loop_test(t, local, 0, 3);
	tcase_add_loop_test(t, shared, 0, 3);
	tcase_add_loop_test(t, cramped, 0, 4);
	tcase_add_loop_test(t, stopped, 0, 8);
	tcase_add_loop_test(t, remote, 0, 2);
	tcase_add_loop_test(t, remote_stopped, 0, 6);
	return vxt_run(s);
}
