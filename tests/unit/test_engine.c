/* SPDX-License-Identifier: Apache-2.0
 * Opening boxes, from the store to the last byte: what is fetched, how often, and what happens when it cannot be had.
 * Everything is driven from one thread; where something must happen in between, a worker is kept busy.
 */
#include "../lib/vxrig.h"
#include "base/clock.h"
#include "base/ledger.h"
#include "sched/cache_impl.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

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
     .ngrids = 2,
     .chunk = {{16, 16, 16}, {70, 60, 1}}},
    {.content = {.kind = VG_LABELS, .seed = 2},
     .dtype = {"uint64", 8, false},
     .channels = 1,
     .size = {100, 60, 40},
     .ngrids = 1,
     .chunk = {{24, 24, 20}},
     .cseg = true},
};

static struct vxr r;

struct counts {
	uint64_t fetched, merged, kept_hits, copied, missing, failed, no_space, prefetched;
};

static struct counts counts(void)
{
	return (struct counts){vx_ledger.chunks_fetched, vx_ledger.chunks_merged,    vx_ledger.chunks_kept_hits,
			       vx_ledger.chunks_copied,  vx_ledger.chunks_missing,   vx_ledger.chunks_failed,
			       vx_ledger.cache_no_space, vx_ledger.chunks_prefetched};
}

static void start(const struct vxr_opts *o)
{
	vxr_start_with(&r, o, vols, VX_ARRAY_LEN(vols));
}

/* Marks the cells of the box; returns how many were new. */
static unsigned mark_cells(const struct vx_box *b, bool seen[64][64][64])
{
	unsigned grid = vx_scale_best_grid(&r.src[0]->meta->scales[0], b), fresh = 0;
	uint64_t lo[3], hi[3];

	vx_scale_cells(&r.src[0]->meta->scales[0], grid, b, lo, hi);
	for (uint64_t z = lo[2]; z < hi[2]; z++)
		for (uint64_t y = lo[1]; y < hi[1]; y++)
			for (uint64_t x = lo[0]; x < hi[0]; x++) {
				fresh += !seen[z][y][x];
				seen[z][y][x] = true;
			}
	return fresh;
}

START_TEST(every_byte)
{
	static const enum vx_policy policies[] = {VX_POLICY_AFFINITY, VX_POLICY_MORTON, VX_POLICY_FIFO};
	struct vxt_rng rng = vxt_seed("every_byte", _i);

	start(&(struct vxr_opts){.threads = 1 + (unsigned)_i, .policy = policies[_i]});
	for (int k = 0; k < 150; k++) {
		unsigned vol = (unsigned)vxt_rnd(&rng, VX_ARRAY_LEN(vols));
		struct vx_box b = vxr_random_box(&vols[vol], &rng, 70);

		ck_assert_int_eq(vxr_open_once(&r, vol, &b, NULL), 0);
		ck_assert_int_eq(vxr_open_once(&r, vol, &b, NULL), 0);
	}
	for (unsigned vol = 0; vol < VX_ARRAY_LEN(vols); vol++) {
		struct vx_box all = vxr_volume_box(&vols[vol]);

		ck_assert_int_eq(vxr_open_once(&r, vol, &all, NULL), 0);
	}
	vxr_end(&r);
}
END_TEST

START_TEST(hits_and_misses)
{
	struct vx_box b = vxr_box(0, 10, 20, 30, 0, 10), other = vxr_box(0, 11, 20, 30, 0, 10);
	uint64_t hits, misses;
	struct vx_cbox *got = NULL;
	struct vxr_open o, p;
	struct vx_err e;

	start(&(struct vxr_opts){.limit = 8 << 20});
	hits = vx_ledger.cache_hits;
	misses = vx_ledger.cache_misses;
	ck_assert_int_eq(vx_boxes_open_resident(r.boxes, r.src[0], 0, &b, &got, &e), -EAGAIN);
	ck_assert_int_eq(vxr_open_start(&r, &o, 0, &b, 1), -EINPROGRESS);
	ck_assert_int_eq(vxr_open_await(&o), 0);
	ck_assert_int_eq(vxr_open_start(&r, &p, 0, &b, 2), 0); /* at once, and the same */
	ck_assert_ptr_eq(p.b, o.b);
	ck_assert_int_eq(vx_boxes_open_resident(r.boxes, r.src[0], 0, &b, &got, &e), 0);
	ck_assert_ptr_eq(got, o.b);
	ck_assert_int_eq(vx_boxes_open_resident(r.boxes, r.src[0], 0, &other, &got, &e), -EAGAIN);
	ck_assert_int_eq(vx_boxes_open_resident(r.boxes, r.src[1], 0, &b, &got, &e), -EAGAIN);
	ck_assert_uint_eq(vx_ledger.cache_hits, hits + 2);
	ck_assert_uint_eq(vx_ledger.cache_misses, misses + 1);
	vx_boxes_close(r.boxes, o.b);
	vx_boxes_close(r.boxes, o.b);
	vx_boxes_close(r.boxes, o.b);
	vxr_end(&r);
}
END_TEST

START_TEST(each_chunk_once)
{
	struct vxt_rng rng = vxt_seed("each_chunk_once", _i);
	static bool seen[64][64][64];
	struct vxr_open o[40];
	struct counts before;
	unsigned chunks = 0;

	start(&(struct vxr_opts){.threads = _i % 2 ? 1 : 4});
	memset(seen, 0, sizeof seen);
	before = counts();
	for (unsigned k = 0; k < VX_ARRAY_LEN(o); k++) { /* all of them at once */
		struct vx_box b = vxr_random_box(&vols[0], &rng, 60);

		chunks += mark_cells(&b, seen);
		vxr_open_start(&r, &o[k], 0, &b, k % 3);
	}
	for (unsigned k = 0; k < VX_ARRAY_LEN(o); k++) {
		ck_assert_int_eq(vxr_open_await(&o[k]), 0);
		vxr_open_check(&r, &o[k]);
		vxr_open_close(&r, &o[k]);
	}
	ck_assert_uint_eq(counts().fetched - before.fetched, chunks);
	for (unsigned k = 0; k < VX_ARRAY_LEN(o); k++) { /* and again, other boxes of what is here */
		struct vx_box b = vxr_random_box(&vols[0], &rng, 60);

		chunks += mark_cells(&b, seen);
		ck_assert_int_eq(vxr_open_once(&r, 0, &b, NULL), 0);
	}
	ck_assert_uint_eq(counts().fetched - before.fetched, chunks);
	vxr_end(&r);
}
END_TEST

/* Boxes of exactly a chunk are read straight into their objects; others who want part of it at the same time find it
 * there, or had come first. */
START_TEST(chunks_as_boxes)
{
	struct vxt_rng rng = vxt_seed("chunks_as_boxes", _i);
	struct vx_box all = vxr_volume_box(&vols[0]);
	struct vxr_open o[3 * 3 * 4][2];
	struct counts before;
	unsigned n = 0;

	start(&(struct vxr_opts){.threads = 1 + (unsigned)_i % 4});
	before = counts();
	for (int64_t z = all.lo[2]; z < all.hi[2]; z += 16)
		for (int64_t y = all.lo[1]; y < all.hi[1]; y += 32)
			for (int64_t x = all.lo[0]; x < all.hi[0]; x += 32, n++) {
				struct vx_box cell = vxr_box(x, x + 32, y, y + 32, z, z + 16), other, b[2];

				vx_box_clip(&cell, &all, &b[0]);
				other = vxr_random_box(&vols[0], &rng, 40);
				b[1] = other;
				vxr_open_start(&r, &o[n][0], 0, &b[_i % 2], 1);
				vxr_open_start(&r, &o[n][1], 0, &b[!(_i % 2)], 2);
			}
	ck_assert_uint_eq(n, VX_ARRAY_LEN(o));
	for (n = 0; n < VX_ARRAY_LEN(o); n++)
		for (unsigned k = 0; k < 2; k++) {
			ck_assert_int_eq(vxr_open_await(&o[n][k]), 0);
			vxr_open_check(&r, &o[n][k]);
			vxr_open_close(&r, &o[n][k]);
		}
	ck_assert_uint_eq(counts().fetched - before.fetched, n);
	for (int64_t z = -100; z < -50; z++) { /* chunks of a plane, three channels */
		struct vx_box plane = vxr_box(5, 75, 0, 60, z, z + 1);

		ck_assert_int_eq(vxr_open_once(&r, 1, &plane, NULL), 0);
	}
	ck_assert_uint_eq(counts().fetched - before.fetched, n + 50);
	vxr_end(&r);
}
END_TEST

START_TEST(kept_chunks)
{
	struct vx_box left = vxr_box(-32, -16, 16, 48, -8, 8), right = vxr_box(-16, 0, 16, 48, -8, 8);
	struct vx_cache_stats s;
	struct counts c;

	start(&(struct vxr_opts){.threads = 2});
	c = counts();
	ck_assert_int_eq(vxr_open_once(&r, 0, &left, NULL), 0);
	ck_assert_uint_eq(counts().fetched - c.fetched, 1);
	vx_cache_stats(r.cache, &s);
	ck_assert_uint_eq(s.kept, 1);
	ck_assert_int_eq(vxr_open_once(&r, 0, &right, NULL), 0);
	ck_assert_uint_eq(counts().fetched - c.fetched, 1);
	ck_assert_uint_eq(counts().kept_hits - c.kept_hits, 1);
	left = vxr_box(0, 32, 16, 48, -8, 8); /* a whole chunk: the box itself keeps it */
	ck_assert_int_eq(vxr_open_once(&r, 0, &left, NULL), 0);
	vx_cache_stats(r.cache, &s);
	ck_assert_uint_eq(s.kept, 1);
	ck_assert_uint_eq(s.objects, 3);
	vxr_end(&r);
}
END_TEST

/* Takes and returns all of the budget that is not in use, so that whatever can go goes. */
static void squeeze(void)
{
	struct vx_cache_stats s;

	vx_cache_stats(r.cache, &s);
	ck_assert_int_eq(vx_cache_reserve(r.cache, s.limit - s.pinned_bytes), 0);
	vx_cache_unreserve(r.cache, s.limit - s.pinned_bytes);
	vx_cache_stats(r.cache, &s);
	ck_assert_uint_eq(s.bytes, s.pinned_bytes);
	ck_assert_uint_eq(s.kept, 0);
}

START_TEST(cut_from_other_boxes)
{
	struct vxr_open slab[8];
	struct vx_box middle = vxr_box(-30, 60, 20, 90, -5, 47), gap = vxr_box(-30, 60, 20, 90, -5, 56);
	struct counts c;

	start(&(struct vxr_opts){.limit = 4 << 20, .threads = 2});
	for (int k = 0; k < 8; k++) { /* planes through the chunks, 7 thick: none holds a whole chunk */
		struct vx_box b = vxr_box(-32, 64, 16, 96, -8 + 7 * k, -8 + 7 * k + 7);

		vxr_open_start(&r, &slab[k], 0, &b, 1);
		ck_assert_int_eq(vxr_open_await(&slab[k]), 0);
	}
	squeeze(); /* the kept chunks go, the open slabs stay */
	c = counts();
	ck_assert_int_eq(vxr_open_once(&r, 0, &middle, NULL), 0);
	ck_assert_uint_eq(counts().fetched, c.fetched);
	ck_assert_uint_eq(counts().copied - c.copied, 3 * 3 * 4);
	for (int k = 0; k < 8; k++)
		vxr_open_check(&r, &slab[k]);
	vxr_open_close(&r, &slab[3]);
	squeeze(); /* a hole */
	ck_assert_int_eq(vxr_open_once(&r, 0, &gap, NULL), 0);
	ck_assert_uint_gt(counts().fetched, c.fetched);
	for (int k = 0; k < 8; k++)
		if (k != 3)
			vxr_open_close(&r, &slab[k]);
	vxr_end(&r);
}
END_TEST

/* A box that has every chunk but is not yet READY is a source all the time: nothing may be fetched again meanwhile. By
 * hand, because the moment is short. */
START_TEST(source_until_ready)
{
	struct vx_box b = vxr_box(-32, 0, 16, 48, -8, 8);
	uint64_t bytes = vxr_bytes(&vols[0], &b);
	struct vx_cell cell = {0};
	struct vx_piece piece[VX_PIECES_MAX];
	struct vx_object o;
	struct vx_cbox *c;
	struct vx_err e;
	void *map;

	start(&(struct vxr_opts){.threads = 1});
	ck_assert_int_eq(vx_cache_reserve(r.cache, vx_object_charge(bytes)), 0);
	ck_assert_int_eq(vx_object_create(vx_cache_arena(r.cache), bytes, &o, NULL, &e), 0);
	ck_assert_int_eq(vx_object_map(vx_cache_arena(r.cache), &o, true, &map, &e), 0);
	memset(map, 0x77, bytes);
	vx_lock(vx_cache_lock(r.cache));
	c = vx_cache_add_locked(r.cache, r.src[0], 0, &b, bytes);
	c->state = VX_BOX_FILLING;
	c->cell_n[0] = c->cell_n[1] = c->cell_n[2] = 1;
	c->landed = calloc(1, sizeof *c->landed);
	ck_assert_int_eq(vx_cache_fill_begin_locked(r.cache, c, &o, map), 0);
	vx_unlock(vx_cache_lock(r.cache));
	ck_assert_uint_eq(vx_cache_cover(r.cache, r.src[0], 0, 0, &cell, &b, piece), 0); /* not landed */
	*c->landed = 1;
	ck_assert_uint_eq(vx_cache_cover(r.cache, r.src[0], 0, 0, &cell, &b, piece), 1);
	if (_i) /* a copier that is still there when the fill ends */
		vx_cache_fill_unmap(r.cache, c);
	vx_cache_uncover(r.cache, piece, 1);
	vx_cache_fill_unmap(r.cache, c);
	ck_assert_msg(vx_cache_cover(r.cache, r.src[0], 0, 0, &cell, &b, piece) == 1,
		      "the chunk is nowhere to be found");
	ck_assert_uint_eq(piece[0].from.at[100], 0x77);
	vx_cache_uncover(r.cache, piece, 1);
	vx_lock(vx_cache_lock(r.cache));
	vx_cache_fill_ready_locked(r.cache, c);
	vx_unlock(vx_cache_lock(r.cache));
	ck_assert_uint_eq(vx_cache_cover(r.cache, r.src[0], 0, 0, &cell, &b, piece), 1);
	vx_cache_uncover(r.cache, piece, 1);
	vxr_end(&r);
}
END_TEST

/* The fill's own map of a small box, with which a stray write could spoil it, outlives the fill for a moment only,
 * though the box is open; _i == 1: somebody copies out of it first. */
START_TEST(writable_map_goes)
{
	struct vx_box b = vxr_box(-32, 0, 16, 48, -8, 8);
	struct vx_cache *c;
	struct vxr_open o;
	bool mapped = true;

	start(&(struct vxr_opts){.threads = 1});
	c = r.cache;
	ck_assert_int_eq(vxr_open_start(&r, &o, 0, &b, 1), -EINPROGRESS);
	ck_assert_int_eq(vxr_open_await(&o), 0);
	if (_i) {
		ck_assert_int_eq(vx_cache_map(c, o.b, NULL), 0);
		ck_assert_uint_ge(vx_cache_unmap_late(c), vx_now_ns()); /* there is time */
		vxr_open_check(&r, &o);
		vx_cache_unmap(c, o.b);
	}
	while (mapped) { /* or the test's time is over */
		sched_yield();
		VX_LOCK_SCOPE(&c->mtx);
		mapped = o.b->map;
	}
	ck_assert(!o.b->map_writable && vx_list_empty(&o.b->in_undo));
	ck_assert_uint_eq(c->idle_maps, 0);
	vxr_open_check(&r, &o);
	vxr_open_close(&r, &o);
	vxr_end(&r);
}
END_TEST

/* A box that cannot be mapped, for those who can do without. */
START_TEST(without_a_map)
{
	struct vx_box b = vxr_box(-32, 0, 16, 48, -8, 8);
	struct vxr_open o;
	struct rlimit all, none;

	start(&(struct vxr_opts){.threads = 1});
	ck_assert_int_eq(vxr_open_start(&r, &o, 0, &b, 1), -EINPROGRESS);
	ck_assert_int_eq(vxr_open_await(&o), 0);
	{
		VX_LOCK_SCOPE(&r.cache->mtx);
		if (o.b->map)
			vx_box_drop_map_locked(r.cache, o.b);
	}
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
	none = (struct rlimit){.rlim_max = all.rlim_max};
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0); /* objects are opened to be mapped */
	vx_cache_try_map(r.cache, o.b);
	ck_assert_ptr_null(vx_cache_mapped(r.cache, o.b));
	ck_assert_int_lt(vx_cache_map(r.cache, o.b, NULL), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &all), 0);
	vx_cache_unmap(r.cache, o.b);
	vxr_open_check(&r, &o);
	vxr_open_close(&r, &o);
	vxr_end(&r);
}
END_TEST

/* Found by its place in the table of boxes, which it shares with another volume's. */
START_TEST(same_box_of_two_volumes)
{
	struct vx_box b = {0};
	bool found = false;

	start(&(struct vxr_opts){.threads = 1});
	for (int64_t i = 0; i < 64 * 44 * 40 && !found; i++) {
		uint64_t hash[2];

		b = vxr_box(i % 64, i % 64 + 1, 16 + i / 64 % 44, 17 + i / 64 % 44, i / 64 / 44, i / 64 / 44 + 1);
		for (unsigned k = 0; k < 2; k++)
			hash[k] = vx_hash_add(vx_box_hash(&b), vx_source_space(r.src[2 * k], 0)) % VX_BOX_BUCKETS;
		found = hash[0] == hash[1];
	}
	ck_assert(found);
	for (int again = 0; again < 2; again++) {
		ck_assert_int_eq(vxr_open_once(&r, 0, &b, NULL), 0);
		ck_assert_int_eq(vxr_open_once(&r, 2, &b, NULL), 0);
	}
	vxr_end(&r);
}
END_TEST

START_TEST(many_chunks)
{
	struct vxr_volume fine = {.content = {.kind = VG_INDEX, .seed = 9},
				  .dtype = {"uint8", 1, false},
				  .channels = 1,
				  .size = {44, 40, 40},
				  .ngrids = 1,
				  .chunk = {{4, 4, 4}}};
	struct vx_box all = vxr_volume_box(&fine);
	struct counts c;

	vxr_volume_make(&fine, _i ? "fine1" : "fine0");
	vxr_start(&r, &(struct vxr_opts){.threads = 3, .policy = _i ? VX_POLICY_FIFO : VX_POLICY_AFFINITY});
	vxr_add(&r, &fine);
	c = counts();
	ck_assert_int_eq(vxr_open_once(&r, 0, &all, NULL), 0); /* far more than are under way at once */
	ck_assert_uint_eq(counts().fetched - c.fetched, 1100);
	vxr_end(&r);
	vxr_volume_free(&fine);
}
END_TEST

/* ---- limits ---- */

START_TEST(too_large)
{
	struct vx_box all = vxr_volume_box(&vols[0]), fits = vxr_box(-32, 64, 16, 96, -8, 40);
	struct vx_err e;

	start(&(struct vxr_opts){.limit = 400 << 10});
	ck_assert_int_eq(vxr_open_once(&r, 0, &all, &e), -EFBIG);
	ck_assert_ptr_nonnull(strstr(e.why, "491520"));
	ck_assert_int_eq(vxr_open_once(&r, 0, &fits, NULL), 0);
	vxr_end(&r);
}
END_TEST

START_TEST(no_space)
{
	struct vx_box a = vxr_box(-32, 64, 16, 96, -8, 24), b = vxr_box(-32, 64, 16, 96, 24, 56);
	struct vxr_open first, second;
	struct counts c;
	struct vx_err e;

	start(&(struct vxr_opts){.limit = 400 << 10, .wait_ns = 1000000});
	ck_assert_int_eq(vxr_open_start(&r, &first, 0, &a, 1), -EINPROGRESS);
	ck_assert_int_eq(vxr_open_await(&first), 0);
	c = counts();
	ck_assert_int_eq(vxr_open_once(&r, 0, &b, &e), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(e.why, "245760"));
	ck_assert_uint_eq(counts().no_space - c.no_space, 1);
	vxr_open_close(&r, &first);
	ck_assert_int_eq(vxr_open_once(&r, 0, &b, NULL), 0);
	ck_assert_int_eq(vxr_open_start(&r, &first, 0, &a, 1), -EINPROGRESS); /* it was evicted for the other */
	ck_assert_int_eq(vxr_open_await(&first), 0);
	vxr_open_close(&r, &first);
	vxr_end(&r);
	start(&(struct vxr_opts){.limit = 400 << 10});
	vxr_open_start(&r, &first, 0, &a, 1);
	ck_assert_int_eq(vxr_open_await(&first), 0);
	/* One that waits, leaves, and another that waits for the same box. */
	ck_assert_int_eq(vxr_open_start(&r, &second, 0, &b, 1), -EINPROGRESS);
	ck_assert(vxr_open_cancel(&r, &second));
	ck_assert_int_eq(vxr_open_start(&r, &second, 0, &b, 1), -EINPROGRESS);
	vxr_open_close(&r, &first);
	ck_assert_int_eq(vxr_open_await(&second), 0);
	vxr_open_check(&r, &second);
	vxr_open_close(&r, &second);
	vxr_end(&r);
}
END_TEST

/* The budget has room, the arena has not. */
START_TEST(arena_is_full)
{
	struct vx_box a = vxr_box(-32, 64, 16, 96, -8, 24);
	struct vx_object hog;
	struct vx_cache_stats s;
	struct vxr_block flush;
	struct vx_err e;

	start(&(struct vxr_opts){.limit = 400 << 10, .threads = 1});
	if (vx_arena_is_tmpfs(vx_cache_arena(r.cache))) {
		ck_assert_int_eq(vx_object_create(vx_cache_arena(r.cache), 300 << 10, &hog, NULL, &e), 0);
		ck_assert_int_eq(vxr_open_once(&r, 0, &a, &e), -ENOSPC);
		vxr_block_start(&r, &flush);
		vxr_block_end(&flush); /* the worker has cleaned up after its answer */
		vx_cache_stats(r.cache, &s);
		ck_assert_uint_eq(s.bytes, 0);
		vx_object_destroy(vx_cache_arena(r.cache), &hog);
	}
	ck_assert_int_eq(vxr_open_once(&r, 0, &a, NULL), 0);
	vxr_end(&r);
}
END_TEST

/* ---- sharing: where the arena can ---- */

START_TEST(one_registration)
{
	struct vx_box b = vxr_box(-32, 64, 16, 96, -8, 24), c = vxr_box(-32, 64, 16, 96, 24, 56);
	struct vx_cache_stats s;
	struct vxr_open o, p;
	uint8_t *map;
	int id;

	start(&(struct vxr_opts){.limit = 400 << 10, .share = true});
	if (!r.opts.share)
		return;
	vxr_open_start(&r, &o, 0, &b, 1);
	ck_assert_int_eq(vxr_open_await(&o), 0);
	id = o.b->object.share_id;
	ck_assert_int_gt(id, 0);
	ck_assert_int_eq(vxr_open_start(&r, &p, 0, &b, 2), 0);
	ck_assert_int_eq(p.b->object.share_id, id);
	map = vxr_client_map(&r.sharer, id, o.b->bytes);
	vxr_open_close(&r, &o);
	vx_cache_probe(r.cache, UINT32_MAX);
	ck_assert_uint_eq(r.sharer.in_use, 1); /* it is open: no probe touches it */
	vxr_open_close(&r, &p);
	vx_cache_probe(r.cache, UINT32_MAX); /* mapped: the box stays, and is registered anew */
	ck_assert_uint_eq(r.sharer.in_use, 1);
	ck_assert_uint_eq(r.sharer.shares, 2);
	vx_cache_stats(r.cache, &s);
	ck_assert(s.open_boxes == 0 && s.mapped_boxes == 1 && s.shared == 1);
	ck_assert_uint_eq(s.pinned_bytes, vx_object_charge(vxr_bytes(&vols[0], &b)));
	ck_assert_int_eq(vxr_open_start(&r, &o, 0, &c, 1), -EINPROGRESS); /* waits for the map to go */
	vxr_check(&vols[0], &b, 0, 1, map);
	ck_assert_int_eq(vxr_open_once(&r, 0, &b, NULL), 0);
	munmap(map, vxr_bytes(&vols[0], &b));
	ck_assert_int_eq(vxr_open_await(&o), 0);
	vxr_open_check(&r, &o);
	vxr_open_close(&r, &o);
	vxr_end(&r);
}
END_TEST

START_TEST(registration_refused)
{
	struct vx_box b = vxr_box(-32, 64, 16, 96, -8, 24);
	struct vxr_block busy;
	struct vxr_open o, p;

	start(&(struct vxr_opts){.share = true, .threads = 1});
	if (!r.opts.share)
		return;
	r.sharer.refuse = 1;
	vxr_block_start(&r, &busy);
	ck_assert_int_eq(vxr_open_start(&r, &o, 0, &b, 1), -EINPROGRESS);
	ck_assert_int_eq(vxr_open_start(&r, &p, 0, &b, 1), -EINPROGRESS);
	vxr_block_end(&busy);
	ck_assert_int_eq(vxr_open_await(&o), -EMFILE);
	ck_assert_int_eq(vxr_open_await(&p), -EMFILE);
	ck_assert_int_eq(vxr_open_once(&r, 0, &b, NULL), 0); /* not sticky */
	r.sharer.refuse = 2;
	vx_cache_probe(r.cache, UINT32_MAX); /* cannot register it again */
	ck_assert_uint_eq(r.sharer.in_use, 0);
	ck_assert_int_eq(vxr_open_start(&r, &o, 0, &b, 1), -EMFILE); /* at once: it is resident */
	ck_assert_int_eq(vxr_open_once(&r, 0, &b, NULL), 0);
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
	Suite *s = suite_create("engine");
	TCase *t = tcase_create("boxes");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 300);
	tcase_add_unchecked_fixture(t, make_all, remove_all);
	tcase_add_loop_test(t, every_byte, 0, 3);
	tcase_add_test(t, hits_and_misses);
	tcase_add_loop_test(t, each_chunk_once, 0, 6);
	tcase_add_loop_test(t, chunks_as_boxes, 0, 8);
	tcase_add_test(t, kept_chunks);
	tcase_add_test(t, cut_from_other_boxes);
	tcase_add_loop_test(t, source_until_ready, 0, 2);
	tcase_add_loop_test(t, writable_map_goes, 0, 2);
	tcase_add_test(t, without_a_map);
	tcase_add_test(t, same_box_of_two_volumes);
	tcase_add_loop_test(t, many_chunks, 0, 2);
	tcase_add_test(t, too_large);
	tcase_add_test(t, no_space);
	tcase_add_test(t, arena_is_full);
	tcase_add_test(t, one_registration);
	tcase_add_test(t, registration_refused);
	return vxt_run(s);
}
