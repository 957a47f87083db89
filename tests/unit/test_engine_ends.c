/* SPDX-License-Identifier: Apache-2.0
 * Jobs and fills that do not end well: chunks that are not there or damaged, openers that leave, jobs that are
 * cancelled, the end of the mount. And jobs as such, with several wants, channels, and read-ahead.
 */
#include "../lib/vxrig.h"
#include "base/ledger.h"
#include "sched/cache_impl.h"

#include <string.h>

static struct vxr_volume vols[] = {
    {.content = {.kind = VG_INDEX},
     .dtype = {"uint8", 1, false},
     .channels = 1,
     .offset = {-32, 16, -8},
     .size = {96, 80, 64},
     .ngrids = 1,
     .chunk = {{32, 32, 16}}},
    {.content = {.kind = VG_INDEX, .seed = 1},
     .dtype = {"uint16", 2, false},
     .channels = 3,
     .offset = {5, 0, -100},
     .size = {70, 60, 50},
     .ngrids = 1,
     .chunk = {{16, 16, 16}}},
    {.content = {.kind = VG_LABELS, .seed = 2},
     .dtype = {"uint32", 4, false},
     .channels = 2,
     .size = {50, 60, 40},
     .ngrids = 1,
     .chunk = {{24, 24, 20}},
     .cseg = true},
};

static struct vxr r;

static void start(const struct vxr_opts *o)
{
	vxr_start_with(&r, o, vols, VX_ARRAY_LEN(vols));
}

/* ---- failures ---- */

static struct vxr_volume broken = {.content = {.kind = VG_INDEX, .seed = 3},
				   .dtype = {"uint8", 1, false},
				   .channels = 1,
				   .size = {64, 64, 32},
				   .ngrids = 1,
				   .chunk = {{32, 32, 16}}};

static void start_broken(const struct vxr_opts *o, const char *name)
{
	vxr_volume_make(&broken, name);
	vxr_start(&r, o);
	vxr_add(&r, &broken);
}

static void end_broken(void)
{
	vxr_end(&r);
	vxr_volume_free(&broken);
}

static const int64_t spot[3] = {40, 3, 20};

START_TEST(missing_is_an_error)
{
	struct vx_box b = vxr_box(0, 64, 0, 64, 0, 32), clean = vxr_box(0, 32, 0, 64, 0, 32);
	struct vx_cache_stats s;
	struct vx_err e;
	char path[200];

	start_broken(&(struct vxr_opts){.threads = 2}, "missing");
	vxr_chunk_path(&broken, spot, path, sizeof path);
	ck_assert_int_eq(unlink(path), 0);
	for (int again = 0; again < 2; again++) {
		ck_assert_int_eq(vxr_open_once(&r, 0, &b, &e), -ENODATA);
		ck_assert_msg(strstr(e.why, "s0/32-64_0-32_16-32") != NULL, "%s", e.why);
	}
	ck_assert_int_eq(vxr_open_once(&r, 0, &clean, NULL), 0);
	vx_cache_stats(r.cache, &s);
	ck_assert_uint_eq(s.objects, 1);
	vxr_chunk_write(&broken, 0, spot);
	ck_assert_int_eq(vxr_open_once(&r, 0, &b, NULL), 0);
	end_broken();
}
END_TEST

START_TEST(missing_is_zeros)
{
	struct vx_box b = vxr_box(20, 64, 0, 40, 10, 32), hole = vxr_box(32, 64, 0, 32, 16, 32);
	struct vxr_open o;
	uint64_t missing, failed;
	char path[200];

	start_broken(&(struct vxr_opts){.threads = 2, .fill_missing = true}, "zeros");
	vxr_chunk_path(&broken, spot, path, sizeof path);
	ck_assert_int_eq(unlink(path), 0);
	for (int64_t z = 16; z < 32; z++)
		for (int64_t y = 0; y < 32; y++)
			memset(broken.whole + (z * 64 + y) * 64 + 32, 0, 32);
	missing = vx_ledger.chunks_missing;
	failed = vx_ledger.chunks_failed;
	ck_assert_int_eq(vxr_open_once(&r, 0, &b, NULL), 0);
	ck_assert_int_eq(vxr_open_once(&r, 0, &hole, NULL), 0);
	ck_assert_uint_eq(vx_ledger.chunks_missing - missing, 1); /* it is remembered that there is none */
	b = vxr_box(33, 40, 1, 5, 17, 18);
	vxr_open_start(&r, &o, 0, &b, 1);
	ck_assert_int_eq(vxr_open_await(&o), 0);
	vxr_open_check(&r, &o);
	vxr_open_close(&r, &o);
	ck_assert_uint_eq(vx_ledger.chunks_missing - missing, 1);
	ck_assert_uint_eq(vx_ledger.chunks_failed, failed);
	end_broken();
}
END_TEST

START_TEST(damage)
{
	struct vx_box b = vxr_box(0, 64, 0, 64, 0, 32), part = vxr_box(40, 44, 3, 4, 20, 21);
	struct vx_err e;
	uint64_t failed;
	char path[200];

	start_broken(&(struct vxr_opts){.threads = 2}, _i ? "damage1" : "damage0");
	vxr_chunk_path(&broken, spot, path, sizeof path);
	ck_assert_int_eq(truncate(path, _i ? 32 * 32 * 16 - 1 : 0), 0);
	failed = vx_ledger.chunks_failed;
	for (int again = 0; again < 2; again++) {
		ck_assert_int_eq(vxr_open_once(&r, 0, again ? &part : &b, &e), -EBADMSG);
		ck_assert_msg(strstr(e.why, "s0/32-64_0-32_16-32") != NULL, "%s", e.why);
	}
	ck_assert_uint_eq(vx_ledger.chunks_failed - failed, 2);
	vxr_chunk_write(&broken, 0, spot);
	ck_assert_int_eq(vxr_open_once(&r, 0, &b, NULL), 0);
	ck_assert_int_eq(vxr_open_once(&r, 0, &part, NULL), 0);
	end_broken();
}
END_TEST

START_TEST(after_the_end)
{
	struct vx_box a = vxr_box(-32, 64, 16, 96, -8, 24), b = vxr_box(-32, 64, 16, 96, 24, 56);
	struct vx_cbox *got;
	struct vxr_open first, waits;
	struct vx_err e;

	start(&(struct vxr_opts){.limit = 400 << 10});
	vxr_open_start(&r, &first, 0, &a, 1);
	ck_assert_int_eq(vxr_open_await(&first), 0);
	ck_assert_int_eq(vxr_open_start(&r, &waits, 0, &b, 1), -EINPROGRESS);
	vxr_stop(&r);
	ck_assert_int_eq(vxr_open_await(&waits), -ESHUTDOWN);
	ck_assert_int_eq(vxr_open_once(&r, 0, &b, &e), -ESHUTDOWN);
	ck_assert_int_eq(vxr_open_once(&r, 0, &a, &e), -ESHUTDOWN);
	ck_assert_int_eq(vx_boxes_open_resident(r.boxes, r.src[0], 0, &a, &got, &e), -EAGAIN);
	vxr_open_check(&r, &first);
	vxr_open_close(&r, &first);
	vxr_end(&r);
}
END_TEST

/* ---- leaving ---- */

/* With one worker: the fill of `b` has sent its job, of which nothing has been taken yet, when this returns. */
static void fill_half_way(struct vxr_open *o, const struct vx_box *b, struct vxr_block *second)
{
	struct vxr_block first;

	vxr_block_start(&r, &first);
	vxr_block_await(&first);
	ck_assert_int_eq(vxr_open_start(&r, o, 0, b, 1), -EINPROGRESS);
	vxr_block_start(&r, second); /* after `prepare`, before any task */
	vxr_block_end(&first);
	vxr_block_await(second);
}

static uint64_t queued(void)
{
	struct vx_engine_stats s;

	vx_engine_stats(r.engine, &s);
	return s.queued[VX_PRIO_FOREGROUND] + s.queued[VX_PRIO_PREFETCH];
}

START_TEST(last_opener_leaves)
{
	struct vx_box all = vxr_volume_box(&vols[0]);
	struct vxr_open o, p;
	struct vxr_block busy;
	struct vx_cache_stats s;
	uint64_t fetched, tasks;

	start(&(struct vxr_opts){.threads = 1});
	fetched = vx_ledger.chunks_fetched;
	fill_half_way(&o, &all, &busy);
	tasks = queued();
	ck_assert_uint_gt(tasks, 0);
	ck_assert_int_eq(vxr_open_start(&r, &p, 0, &all, 2), -EINPROGRESS);
	ck_assert(vxr_open_cancel(&r, &o));
	ck_assert_uint_eq(queued(), tasks); /* the other one waits still */
	ck_assert(vxr_open_cancel(&r, &p));
	ck_assert(!vxr_open_cancel(&r, &p));
	ck_assert_uint_eq(queued(), 0);
	if (_i == 0) { /* one who comes before the fill has ended gets one of its own */
		ck_assert_int_eq(vxr_open_start(&r, &p, 0, &all, 2), -EINPROGRESS);
		vxr_block_end(&busy);
		ck_assert_int_eq(vxr_open_await(&p), 0);
		vxr_open_check(&r, &p);
		vxr_open_close(&r, &p);
	} else if (_i == 1) { /* and may leave as well */
		ck_assert_int_eq(vxr_open_start(&r, &p, 0, &all, 2), -EINPROGRESS);
		ck_assert(vxr_open_cancel(&r, &p));
		vxr_block_end(&busy);
	} else {
		vxr_block_end(&busy);
	}
	if (_i) {
		vxr_block_start(&r, &busy);
		vxr_block_end(&busy); /* whatever was to be done has been done */
		vx_cache_stats(r.cache, &s);
		ck_assert(s.bytes == 0 && s.objects == 0);
		ck_assert_uint_eq(vx_ledger.chunks_fetched, fetched);
	}
	ck_assert_int_eq(vxr_open_once(&r, 0, &all, NULL), 0);
	vxr_end(&r);
}
END_TEST

START_TEST(leaving_before_it_starts)
{
	struct vx_box all = vxr_volume_box(&vols[0]);
	struct vx_cache_stats s;
	struct vxr_block busy;
	struct vxr_open o;

	start(&(struct vxr_opts){.threads = 1});
	vxr_block_start(&r, &busy);
	vxr_block_await(&busy);
	ck_assert_int_eq(vxr_open_start(&r, &o, 0, &all, 1), -EINPROGRESS);
	ck_assert(vxr_open_cancel(&r, &o));
	vxr_block_end(&busy);
	vxr_block_start(&r, &busy);
	vxr_block_end(&busy);
	vx_cache_stats(r.cache, &s);
	ck_assert(s.bytes == 0 && s.objects == 0);
	ck_assert_int_eq(vxr_open_once(&r, 0, &all, NULL), 0);
	vxr_end(&r);
}
END_TEST

/* ---- jobs ---- */

START_TEST(several_wants)
{
	struct vxt_rng rng = vxt_seed("several_wants", _i);
	unsigned vol = (unsigned)_i % VX_ARRAY_LEN(vols);

	start(&(struct vxr_opts){.threads = 2});
	for (int round = 0; round < 30; round++) {
		struct vx_box b[VX_WANTS_MAX];
		uint8_t *to[VX_WANTS_MAX];
		uint32_t chan[VX_WANTS_MAX], nchan[VX_WANTS_MAX];
		struct vxr_job j;

		vxr_job_init(&r, &j, vol);
		for (int k = 0; k < VX_WANTS_MAX; k++) {
			uint64_t n;

			b[k] = vxr_random_box(&vols[vol], &rng, 30);
			chan[k] = (uint32_t)vxt_rnd(&rng, vols[vol].channels);
			nchan[k] = 1 + (uint32_t)vxt_rnd(&rng, vols[vol].channels - chan[k]);
			n = vxr_bytes(&vols[vol], &b[k]) / vols[vol].channels * nchan[k];
			to[k] = vxt_rnd(&rng, 4) ? malloc(n) : NULL; /* exact: what is written beyond it is found */
			vxr_job_want(&r, &j, &b[k], chan[k], nchan[k], to[k]);
		}
		if (round % 3 == 0) { /* some of it may come from a box */
			struct vx_box big = vxr_random_box(&vols[vol], &rng, 60);

			ck_assert_int_eq(vxr_open_once(&r, vol, &big, NULL), 0);
		}
		vx_engine_submit(r.engine, &j.j);
		ck_assert_int_eq(vxr_job_await(&j), 0);
		for (int k = 0; k < VX_WANTS_MAX; k++) {
			if (to[k])
				vxr_check(&vols[vol], &b[k], chan[k], nchan[k], to[k]);
			free(to[k]);
		}
	}
	vxr_end(&r);
}
END_TEST

START_TEST(nothing_wanted)
{
	struct vxr_job j;

	start(&(struct vxr_opts){.threads = 1});
	vxr_job_init(&r, &j, 0);
	vx_engine_submit(r.engine, &j.j);
	ck_assert_int_eq(vxr_job_await(&j), 0);
	vxr_end(&r);
}
END_TEST

START_TEST(read_ahead)
{
	struct vx_box b = vxr_box(-32, 64, 16, 96, -8, 24);
	uint64_t fetched, prefetched;
	struct vxr_job j;

	start(&(struct vxr_opts){.threads = 2});
	fetched = vx_ledger.chunks_fetched;
	prefetched = vx_ledger.chunks_prefetched;
	vxr_job_init(&r, &j, 0);
	j.j.prio = VX_PRIO_PREFETCH;
	vxr_job_want(&r, &j, &b, 0, 1, NULL);
	vx_engine_submit(r.engine, &j.j);
	ck_assert_int_eq(vxr_job_await(&j), 0);
	ck_assert_uint_eq(vx_ledger.chunks_fetched - fetched, 18);
	ck_assert_uint_eq(vx_ledger.chunks_prefetched - prefetched, 18);
	ck_assert_int_eq(vxr_open_once(&r, 0, &b, NULL), 0); /* it is all here */
	ck_assert_uint_eq(vx_ledger.chunks_fetched - fetched, 18);
	vxr_end(&r);
}
END_TEST

START_TEST(promoted)
{
	struct vx_box ahead = vxr_box(-32, 64, 16, 96, -8, 56), now = vxr_box(-32, 0, 16, 48, -8, 8);
	uint64_t merged = vx_ledger.chunks_merged, prefetched = vx_ledger.chunks_prefetched;
	struct vx_engine_stats s, t;
	struct vxr_block busy;
	struct vxr_job slow, fast;
	uint8_t to[32 * 32 * 16];

	start(&(struct vxr_opts){.threads = 1});
	vxr_block_start(&r, &busy);
	vxr_block_await(&busy);
	vxr_job_init(&r, &slow, 0);
	slow.j.prio = VX_PRIO_PREFETCH;
	vxr_job_want(&r, &slow, &ahead, 0, 1, NULL);
	vx_engine_submit(r.engine, &slow.j);
	vx_engine_stats(r.engine, &s);
	ck_assert(s.queued[VX_PRIO_FOREGROUND] == 0 && s.queued[VX_PRIO_PREFETCH] > 0);
	vxr_job_init(&r, &fast, 0);
	vxr_job_want(&r, &fast, &now, 0, 1, to);
	vx_engine_submit(r.engine, &fast.j);
	vx_engine_stats(r.engine, &t);
	ck_assert(t.queued[VX_PRIO_FOREGROUND] == 1 && t.queued[VX_PRIO_PREFETCH] == s.queued[VX_PRIO_PREFETCH] - 1);
	ck_assert_uint_eq(vx_ledger.chunks_merged - merged, 1);
	vxr_block_end(&busy);
	ck_assert_int_eq(vxr_job_await(&fast), 0);
	vxr_check(&vols[0], &now, 0, 1, to);
	ck_assert_int_eq(vxr_job_await(&slow), 0);
	ck_assert_uint_eq(vx_ledger.chunks_prefetched - prefetched, 35);
	vxr_end(&r);
}
END_TEST

START_TEST(cancelled_jobs)
{
	struct vx_box all = vxr_volume_box(&vols[0]);
	struct vxr_block busy;
	struct vxr_job j, other;
	uint64_t tasks;

	start(&(struct vxr_opts){.threads = 1});
	vxr_job_init(&r, &j, 0);
	vxr_job_want(&r, &j, &all, 0, 1, NULL);
	vx_engine_cancel(r.engine, &j.j); /* before it was submitted: the submit ends it */
	ck_assert(!j.ended);
	vx_engine_submit(r.engine, &j.j);
	ck_assert_int_eq(vxr_job_await(&j), -ECANCELED);
	vxr_block_start(&r, &busy);
	vxr_block_await(&busy);
	vxr_job_init(&r, &j, 0);
	vxr_job_want(&r, &j, &all, 0, 1, NULL);
	vxr_job_init(&r, &other, 0);
	vxr_job_want(&r, &other, &all, 0, 1, NULL);
	vx_engine_submit(r.engine, &j.j);
	tasks = queued();
	ck_assert_uint_gt(tasks, 0);
	vx_engine_submit(r.engine, &other.j);
	vx_engine_cancel(r.engine, &j.j);
	vx_engine_cancel(r.engine, &j.j);   /* once more does no harm */
	ck_assert_uint_eq(queued(), tasks); /* the other one wants the same */
	vxr_block_end(&busy);
	ck_assert_int_eq(vxr_job_await(&j), -ECANCELED);
	ck_assert_int_eq(vxr_job_await(&other), 0);
	vxr_end(&r);
}
END_TEST

START_TEST(jobs_at_the_end)
{
	struct vx_box all = vxr_volume_box(&vols[0]);
	struct vxr_block busy;
	struct vxr_job queued_one, late;

	start(&(struct vxr_opts){.threads = 1});
	vxr_block_start(&r, &busy);
	vxr_block_await(&busy);
	vxr_job_init(&r, &queued_one, 0);
	vxr_job_want(&r, &queued_one, &all, 0, 1, NULL);
	vx_engine_submit(r.engine, &queued_one.j);
	vx_engine_quit(r.engine);
	vxr_job_init(&r, &late, 0);
	vxr_job_want(&r, &late, &all, 0, 1, NULL);
	vx_engine_submit(r.engine, &late.j);
	vxr_block_end(&busy);
	ck_assert_int_eq(vxr_job_await(&queued_one), -ESHUTDOWN);
	ck_assert_int_eq(vxr_job_await(&late), -ESHUTDOWN);
	vxr_end(&r);
}
END_TEST

static void make_all(void)
{
	vxr_volumes_make(vols, VX_ARRAY_LEN(vols));
}

static void remove_all(void)
{
	vxr_volumes_free(vols, VX_ARRAY_LEN(vols));
}

int main(void)
{
	Suite *s = suite_create("engine_ends");
	TCase *t = tcase_create("ends");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 300);
	tcase_add_unchecked_fixture(t, make_all, remove_all);
	tcase_add_test(t, missing_is_an_error);
	tcase_add_test(t, missing_is_zeros);
	tcase_add_loop_test(t, damage, 0, 2);
	tcase_add_test(t, after_the_end);
	tcase_add_loop_test(t, last_opener_leaves, 0, 3);
	tcase_add_test(t, leaving_before_it_starts);
	tcase_add_loop_test(t, several_wants, 0, 6);
	tcase_add_test(t, nothing_wanted);
	tcase_add_test(t, read_ahead);
	tcase_add_test(t, promoted);
	tcase_add_test(t, cancelled_jobs);
	tcase_add_test(t, jobs_at_the_end);
	return vxt_run(s);
}
