/* SPDX-License-Identifier: Apache-2.0
 * The life of a fill: EMPTY -> FILLING when the first opener comes; `prepare`, on a worker, takes space and an object
 * and submits the job; `filled`, on a worker, seals and answers everybody. A fill that finds no space waits in line
 * until its deadline: the keeper thread tries again whenever a reader lets go or proves to have unmapped.
 */
#include "sched/boxes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/ledger.h"

#include <limits.h>
#include <sched.h>

#define GRACE_NS (100 * VX_MS)
#define UNMAP_LATE_MAX ((uint64_t)2 << 20) /* a map that is undone, under the lock, in microseconds */
#define STARVING_LOOK_NS (5 * VX_MS)       /* an unmap sends no message: look again this often while somebody waits */

struct fill {
	struct vx_job job;
	struct vx_boxes *boxes;
};

struct vx_boxes {
	struct vx_cache *cache;
	struct vx_engine *engine;
	struct vx_boxes_opts opts;
	struct vx_mutex *mtx; /* the cache's */
	/* --- under mtx ------------------------------------------------------------------------------------------ */
	struct vx_link starving;
	pthread_cond_t wake;
	bool stopping, started;
	uint64_t sleeps_until; /* 0: it is awake */
	bool missed;           /* something became due while it was: it sleeps no longer than GRACE_NS */
	pthread_t thread;
	_Atomic unsigned scheduling; /* opens between the lock and the engine */
};

/* A box is due at some time: nothing else wakes vx-space for it. True: it is to be signalled, the lock held or not. */
static bool must_wake_locked(struct vx_boxes *x, uint64_t due)
{
	if (!x->sleeps_until)
		x->missed = true;
	return x->sleeps_until > due;
}

/* ---- answering ---- */

static void answer(struct vx_link *waiters, struct vx_cbox *b, const struct vx_err *e)
{
	while (!vx_list_empty(waiters)) {
		struct vx_waiter *w = vx_list_entry(waiters->next, struct vx_waiter, link);

		vx_list_remove(&w->link);
		w->done(w, e->code ? NULL : b, e);
	}
}

/* Takes all waiters; from here on none of them can leave. */
static uint32_t take_waiters_locked(struct vx_cbox *b, struct vx_link *to)
{
	uint32_t n = 0;

	vx_list_init(to);
	vx_list_splice(to, &b->waiters);
	for (struct vx_link *l = to->next; l != to; l = l->next, n++)
		vx_list_entry(l, struct vx_waiter, link)->box = NULL;
	return n;
}

/* A READY box: pins it for its waiters, makes sure the kernel can map it, answers. */
static void hand_over_locked_then_unlock(struct vx_boxes *x, struct vx_cbox *b)
{
	struct vx_link waiters;
	struct vx_err e = {0};
	uint32_t n = take_waiters_locked(b, &waiters);

	if (n)
		vx_cache_opened_locked(x->cache, b, n);
	if (n && vx_cache_share_locked(x->cache, b, &e) < 0)
		for (uint32_t i = 0; i < n; i++)
			vx_cache_closed_locked(x->cache, b);
	vx_unlock(x->mtx);
	answer(&waiters, b, &e);
}

/* ---- failing ---- */

static void schedule(struct vx_boxes *x, struct vx_cbox *b, void (*run)(struct vx_call *c));
static void prepare(struct vx_call *c);

/* Ends a fill without success. Who joined after it had been given up for lack of waiters gets a fill of its own. */
static void fail_locked_then_unlock(struct vx_boxes *x, struct vx_cbox *b, const struct vx_err *e)
{
	struct vx_link waiters;
	struct vx_cbox *again = NULL;
	struct vx_source *src = b->src;
	unsigned mip = b->mip;
	struct vx_box box = b->box;
	uint64_t bytes = b->bytes;
	uint32_t client = b->client;

	vx_list_remove(&b->in_starving);
	take_waiters_locked(b, &waiters);
	vx_cache_fill_failed_locked(x->cache, b);
	if (e->code == -ECANCELED && !vx_list_empty(&waiters))
		again = vx_cache_add_locked(x->cache, src, mip, &box, bytes);
	if (again) {
		vx_list_splice(&again->waiters, &waiters);
		for (struct vx_link *l = again->waiters.next; l != &again->waiters; l = l->next)
			vx_list_entry(l, struct vx_waiter, link)->box = again;
		again->state = VX_BOX_FILLING;
		again->client = client;
		schedule(x, again, prepare);
	}
	vx_unlock(x->mtx);
	answer(&waiters, NULL, e);
}

/* ---- filling ---- */

static void filled(struct vx_job *j, const struct vx_err *e)
{
	struct fill *f = vx_container_of(j, struct fill, job);
	struct vx_boxes *x = f->boxes;
	struct vx_cbox *b = j->into;
	bool wake;

	if (!e->code && b->bytes > UNMAP_LATE_MAX)
		vx_cache_fill_unmap(x->cache, b);
	vx_lock(x->mtx);
	if (e->code) {
		fail_locked_then_unlock(x, b, e);
	} else {
		vx_cache_fill_ready_locked(x->cache, b);
		wake = !vx_list_empty(&b->in_undo) && must_wake_locked(x, b->undo_ns);
		hand_over_locked_then_unlock(x, b);
		if (wake)
			pthread_cond_signal(&x->wake);
	}
	free(f);
}

static struct fill *fill_new(struct vx_boxes *x, struct vx_cbox *b, void *map)
{
	const struct vx_scale *s = &b->src->meta->scales[b->mip];
	struct fill *f = calloc(1, sizeof *f);
	uint64_t n[3], hi[3], cells;

	if (!f)
		return NULL;
	b->grid = vx_scale_best_grid(s, &b->box);
	vx_scale_cells(s, b->grid, &b->box, b->cell_lo, hi);
	for (int d = 0; d < 3; d++) {
		n[d] = vx_box_extent(&b->box, d);
		b->cell_n[d] = hi[d] - b->cell_lo[d];
	}
	cells =
	    b->cell_n[0] * b->cell_n[1] * b->cell_n[2] * s->grids[b->grid].slabs; /* no more than voxels, which fit */
	b->landed = calloc(vx_div_up(cells, 64), sizeof *b->landed);
	if (!b->landed) {
		free(f);
		return NULL;
	}
	f->boxes = x;
	f->job = (struct vx_job){
	    .src = b->src,
	    .mip = b->mip,
	    .client = b->client,
	    .prio = VX_PRIO_FOREGROUND,
	    .nwants = 1,
	    .want = {{.box = b->box,
		      .to = vx_place_packed(map, n, vx_dtype_width(b->src->meta->dtype)),
		      .nchan = b->src->meta->channels,
		      .grid = b->grid}},
	    .into = b,
	    .done = filled,
	};
	return f;
}

static void undo(struct vx_boxes *x, struct vx_object *object, void *map, uint64_t charge)
{
	if (map)
		vx_object_unmap(object, map);
	if (object->id)
		vx_object_destroy(vx_cache_arena(x->cache), object);
	vx_cache_unreserve(x->cache, charge);
}

/* Space has been taken. Gets the object and sends the job on its way. */
static void start(struct vx_boxes *x, struct vx_cbox *b)
{
	struct vx_arena *a = vx_cache_arena(x->cache);
	struct vx_object object = {.fd = -1};
	struct vx_err e = {0};
	struct fill *f = NULL;
	void *map = NULL;
	uint64_t charge = vx_object_charge(b->bytes);
	int r = vx_object_create(a, b->bytes, &object, &map, &e);

	vx_cache_fit_ready(x->cache);
	if (r == 0 && !(f = fill_new(x, b, map)))
		r = vx_fail(&e, -ENOMEM, "no memory");
	vx_lock(x->mtx);
	if (r == 0 && vx_list_empty(&b->waiters))
		r = vx_fail(&e, -ECANCELED, "nobody waits for it any more");
	if (r == 0) {
		b->fill = &f->job;
		r = vx_cache_fill_begin_locked(x->cache, b, &object, map);
		if (r < 0)
			vx_fail(&e, r, "no memory");
	}
	if (r < 0) {
		b->fill = NULL;
		vx_unlock(x->mtx);
		undo(x, &object, map, charge); /* before the answer: who tries again at once finds the space free */
		free(f);
		vx_lock(x->mtx);
		fail_locked_then_unlock(x, b, &e);
		return;
	}
	vx_unlock(x->mtx);
	vx_engine_submit(x->engine, &f->job);
}

/* No space now: in line, or out when its time is over. Called under the lock, returns without. */
static void starve_locked_then_unlock(struct vx_boxes *x, struct vx_cbox *b)
{
	struct vx_err e;
	uint64_t now = vx_now_ns();

	if (!b->deadline_ns)
		b->deadline_ns = now + x->opts.space_wait_ns;
	if (x->stopping) {
		vx_fail(&e, -ESHUTDOWN, "the mount is ending");
	} else if (vx_list_empty(&b->waiters)) {
		vx_fail(&e, -ECANCELED, "nobody waits for it any more");
	} else if (now >= b->deadline_ns) {
		VX_COUNT(cache_no_space);
		vx_fail(&e, -ENOSPC, "the cache is full of boxes in use: %llu bytes were wanted for %.1f s",
			(unsigned long long)b->bytes, (double)x->opts.space_wait_ns / 1e9);
	} else {
		vx_list_push_back(&x->starving, &b->in_starving);
		pthread_cond_signal(&x->wake);
		vx_unlock(x->mtx);
		return;
	}
	fail_locked_then_unlock(x, b, &e);
}

static bool try_start(struct vx_boxes *x, struct vx_cbox *b)
{
	if (vx_cache_reserve(x->cache, vx_object_charge(b->bytes)) < 0)
		return false;
	start(x, b);
	return true;
}

static void prepare(struct vx_call *c)
{
	struct vx_cbox *b = vx_container_of(c, struct vx_cbox, call);
	struct vx_boxes *x = c->ctx;

	if (try_start(x, b))
		return;
	vx_lock(x->mtx);
	starve_locked_then_unlock(x, b);
}

/* A box that survived the attempt to evict it, with openers who waited for the verdict. It was pinned once for us. */
static void serve_revived(struct vx_call *c)
{
	struct vx_cbox *b = vx_container_of(c, struct vx_cbox, call);
	struct vx_boxes *x = c->ctx;

	vx_lock(x->mtx);
	hand_over_locked_then_unlock(x, b);
	vx_boxes_close(x, b);
}

static void schedule(struct vx_boxes *x, struct vx_cbox *b, void (*run)(struct vx_call *c))
{
	b->call.run = run;
	b->call.ctx = x;
	vx_engine_call(x->engine, &b->call);
}

static void on_revived_locked(void *ctx, struct vx_cbox *b)
{
	struct vx_boxes *x = ctx;

	if (b->state == VX_BOX_EMPTY) {
		b->state = VX_BOX_FILLING;
		b->deadline_ns = 0;
		schedule(x, b, prepare);
	} else {
		vx_cache_opened_locked(x->cache, b, 1);
		schedule(x, b, serve_revived);
	}
}

/* ---- the keeper of those who wait for space ---- */

/* In the order in which they came; a small one may overtake a large one, which has its deadline. */
static void feed_starving(struct vx_boxes *x)
{
	struct vx_link line;

	vx_list_init(&line);
	vx_lock(x->mtx);
	vx_list_splice(&line, &x->starving);
	while (!vx_list_empty(&line)) {
		struct vx_cbox *b = vx_list_entry(line.next, struct vx_cbox, in_starving);

		vx_list_remove(&b->in_starving);
		vx_unlock(x->mtx);
		if (!try_start(x, b)) {
			vx_lock(x->mtx);
			starve_locked_then_unlock(x, b);
		}
		vx_lock(x->mtx);
	}
	vx_unlock(x->mtx);
}

/* Sleeps until somebody starves, a suspect is due, or the end. */
static void sleep_locked(struct vx_boxes *x, uint64_t next)
{
	if (!vx_list_empty(&x->starving))
		next = vx_min_u64(next, vx_now_ns() + STARVING_LOOK_NS);
	if (x->missed)
		next = vx_min_u64(next, vx_now_ns() + GRACE_NS);
	x->missed = false;
	x->sleeps_until = next;
	if (next == UINT64_MAX)
		vx_cond_wait(&x->wake, x->mtx);
	else
		vx_cond_wait_until(&x->wake, x->mtx, next);
	x->sleeps_until = 0;
}

static void *keeper_main(void *arg)
{
	struct vx_boxes *x = arg;
	uint64_t next = UINT64_MAX;
	/* After something happened it looks once more before it sleeps for good: a box that is opened and closed in a
	 * loop must not wake it each time. */
	bool starving, stopping = false, quiet = false;

	pthread_setname_np(pthread_self(), "vx-space");
	while (!stopping) {
		{
			VX_LOCK_SCOPE(x->mtx);
			if (!x->stopping)
				sleep_locked(x, next);
			starving = !vx_list_empty(&x->starving);
			stopping = x->stopping;
		}
		next = vx_cache_probe(x->cache, starving ? UINT_MAX : 0);
		next = vx_min_u64(next, vx_cache_unmap_late(x->cache));
		if (next == UINT64_MAX && !quiet)
			next = vx_now_ns() + GRACE_NS;
		quiet = next == UINT64_MAX || !quiet;
		feed_starving(x);
	}
	return NULL;
}

/* ---- the public face ---- */

int vx_boxes_new(struct vx_boxes **ret, const struct vx_boxes_opts *o, struct vx_cache *c, struct vx_engine *g,
		 struct vx_err *e)
{
	struct vx_boxes *x = calloc(1, sizeof *x);
	int r;

	if (!x)
		return vx_fail(e, -ENOMEM, "no memory");
	x->cache = c;
	x->engine = g;
	x->opts = *o;
	x->mtx = vx_cache_lock(c);
	vx_list_init(&x->starving);
	vx_cond_init(&x->wake);
	vx_cache_on_revived(c, on_revived_locked, x);
	r = pthread_create(&x->thread, NULL, keeper_main, x);
	if (r) {
		vx_boxes_free(&x);
		return vx_fail(e, -r, "cannot start a thread");
	}
	x->started = true;
	*ret = x;
	return 0;
}

void vx_boxes_stop(struct vx_boxes *x)
{
	{
		VX_LOCK_SCOPE(x->mtx);
		x->stopping = true;
		pthread_cond_signal(&x->wake);
	}
	/* Who was let in before must have reached the engine before that is told to end; it takes no longer than a
	 * lock. */
	while (x->scheduling)
		sched_yield();
	if (x->started)
		pthread_join(x->thread, NULL);
	x->started = false;
}

void vx_boxes_free(struct vx_boxes **px)
{
	struct vx_boxes *x = vx_steal(*px);

	if (!x)
		return;
	pthread_cond_destroy(&x->wake);
	free(x);
}

static int join_locked(struct vx_cbox *b, struct vx_waiter *w)
{
	w->box = b;
	vx_list_push_back(&b->waiters, &w->link);
	return -EINPROGRESS;
}

static int open_ready_locked(struct vx_boxes *x, struct vx_cbox *b, struct vx_cbox **ret, struct vx_err *e)
{
	int r;

	vx_cache_opened_locked(x->cache, b, 1);
	r = vx_cache_share_locked(x->cache, b, e);
	if (r < 0) {
		vx_cache_closed_locked(x->cache, b);
		return r;
	}
	VX_COUNT(cache_hits);
	*ret = b;
	return 0;
}

int vx_boxes_open_resident(struct vx_boxes *x, struct vx_source *src, unsigned mip, const struct vx_box *box,
			   struct vx_cbox **ret, struct vx_err *e)
{
	VX_LOCK_SCOPE(x->mtx);
	struct vx_cbox *b = x->stopping ? NULL : vx_cache_find_locked(x->cache, src, mip, box);

	return b && b->state == VX_BOX_READY ? open_ready_locked(x, b, ret, e) : -EAGAIN;
}

/* *fill: it is the caller's to send on its way, the lock no longer held. */
static int open_or_join_locked(struct vx_boxes *x, struct vx_source *src, unsigned mip, const struct vx_box *box,
			       uint64_t bytes, struct vx_waiter *w, struct vx_cbox **ret, bool *fill, struct vx_err *e)
{
	struct vx_cbox *b;

	if (x->stopping)
		return vx_fail(e, -ESHUTDOWN, "the mount is ending");
	b = vx_cache_find_locked(x->cache, src, mip, box);
	if (b && b->state == VX_BOX_READY)
		return open_ready_locked(x, b, ret, e);
	if (b) { /* FILLING or DYING: a verdict or a fill is on its way */
		VX_COUNT(cache_joins);
		return join_locked(b, w);
	}
	VX_COUNT(cache_misses);
	if (vx_object_charge(bytes) > vx_cache_limit(x->cache))
		return vx_fail(e, -EFBIG, "the box has %llu bytes, the cache only %llu", (unsigned long long)bytes,
			       (unsigned long long)vx_cache_limit(x->cache));
	b = vx_cache_add_locked(x->cache, src, mip, box, bytes);
	if (!b)
		return vx_fail(e, -ENOMEM, "no memory");
	b->state = VX_BOX_FILLING;
	*ret = b;
	*fill = true;
	return join_locked(b, w);
}

int vx_boxes_open(struct vx_boxes *x, struct vx_source *src, unsigned mip, const struct vx_box *box, uint64_t bytes,
		  uint32_t client, struct vx_waiter *w, struct vx_cbox **ret, struct vx_err *e)
{
	struct vx_cbox *b = NULL;
	bool fill = false;
	int r;

	vx_list_init(&w->link);
	w->box = NULL;
	{
		VX_LOCK_SCOPE(x->mtx);
		r = open_or_join_locked(x, src, mip, box, bytes, w, &b, &fill, e);
		if (fill) {
			b->client = client;
			x->scheduling++;
		}
	}
	if (fill) {
		schedule(x, b, prepare); /* until it runs, the box stays: nobody else ends its fill */
		x->scheduling--;
	} else if (r == 0)
		*ret = b;
	return r;
}

bool vx_boxes_cancel(struct vx_boxes *x, struct vx_waiter *w)
{
	struct vx_cbox *b;

	vx_lock(x->mtx);
	b = w->box;
	if (!b) {
		vx_unlock(x->mtx);
		return false;
	}
	vx_list_remove(&w->link);
	w->box = NULL;
	/* Whoever prepares or starves looks for waiters before going on; a running fill is stopped here. */
	if (vx_list_empty(&b->waiters) && b->state == VX_BOX_FILLING && b->fill)
		vx_engine_cancel(x->engine, b->fill);
	vx_unlock(x->mtx);
	return true;
}

void vx_boxes_close(struct vx_boxes *x, struct vx_cbox *b)
{
	VX_LOCK_SCOPE(x->mtx);
	vx_cache_closed_locked(x->cache, b);
	if ((b->suspect && must_wake_locked(x, b->probe_ns)) || !vx_list_empty(&x->starving))
		pthread_cond_signal(&x->wake);
}
