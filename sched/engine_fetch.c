/* SPDX-License-Identifier: Apache-2.0
 * How a task's bytes are asked of its store: read at once where it is local, by a request to the transfer loop where it
 * is not. A request may be for several tasks whose bytes stand close together in one shard; each then takes its part of
 * the answer as a slice, without a copy. A disk cache is asked before, for each task by itself.
 */
#include "base/clock.h"
#include "base/ledger.h"
#include "sched/engine_impl.h"

#include <string.h>

#define CHARGE_MIN ((uint64_t)64 << 10)

uint64_t vx_task_most_stored(const struct vx_task *t)
{
	const struct vx_scale *s = vx_task_scale(t);
	struct vx_chunk_form form = vx_scale_form(t->src->meta, s, t->key.grid, &t->key.cell);
	uint64_t max = s->codec->expand ? s->codec->max_stored(&form) : s->codec->max_payload(&form);

	return max + max / 8 + 65536; /* packing may grow what it cannot shrink */
}

static void fetch_init_span(struct vx_fetch *f, const struct vx_shard_task *x)
{
	f->cap = f->expect = x->span.len;
	f->range.off = x->span.off;
	f->range.len = x->span.len;
	f->range.suffix = x->span.suffix;
}

static void fetch_init(struct vx_fetch *f, const struct vx_task *t)
{
	const struct vx_scale *s = vx_task_scale(t);
	unsigned grid = t->shard ? t->shard->grid : t->key.grid;
	const struct vx_cell *cell = t->shard ? &t->shard->cell : &t->key.cell;

	memset(f, 0, sizeof *f);
	if (t->shard) {
		f->recheck = t->shard->recheck;
		fetch_init_span(f, t->shard);
	} else {
		f->cap = vx_task_most_stored(t);
		f->expect = atomic_load_explicit(&t->src->stored_bytes[t->mip], memory_order_relaxed);
		f->suffixes = t->src->meta->format->packed_at_rest;
	}
	if (t->src->meta->format->chunk_name(s, grid, cell, f->key, sizeof f->key) < 0)
		f->key[0] = 0; /* keys are checked when the volume is opened; the store refuses an empty one */
}

void vx_task_distrust_span(const struct vx_task *t, const struct vx_span *span)
{
	struct vx_fetch f;

	fetch_init(&f, t);
	f.range.off = span->off;
	f.range.len = span->len;
	f.range.suffix = span->suffix;
	vx_store_distrust(t->src->store, &f);
}

void vx_task_distrust(struct vx_engine *g, const struct vx_task *t)
{
	struct vx_fetch f;

	fetch_init(&f, t);
	vx_store_distrust(t->src->store, &f);
	vx_shard_distrust(g, t);
}

void vx_task_keep_span(const struct vx_task *t, const struct vx_fetched *got)
{
	struct vx_fetch f;

	fetch_init(&f, t);
	vx_store_keep(t->src->store, &f, got, got->body->data, got->body->len);
}

/* ---- local stores ---- */

/* Would the chunk's bytes, as they are, lie together in the box? */
static bool lies_together(const struct vx_task *t, const struct vx_part *p, struct vx_place *ret)
{
	uint32_t width = vx_dtype_width(t->src->meta->dtype);
	uint64_t n[3] = {vx_box_extent(&p->box, 0), vx_box_extent(&p->box, 1), vx_box_extent(&p->box, 2)};
	struct vx_place packed;

	*ret = vx_part_place(p, &p->box, width);
	packed = vx_place_packed(ret->at, n, width);
	return ret->row == packed.row && ret->plane == packed.plane && (p->nchan == 1 || ret->chan == packed.chan);
}

/* The one wish there is, if its bytes can be read straight to where they go; it is the caller's to settle. */
static struct vx_part *take_direct(struct vx_engine *g, struct vx_task *t, struct vx_fetch *f)
{
	struct vx_chunk_form form;
	struct vx_place to;
	struct vx_part *p;

	if (vx_task_scale(t)->codec != &vx_codec_raw || t->shard) /* the cell of an index is none of the scale's */
		return NULL;
	form = vx_scale_form(t->src->meta, vx_task_scale(t), t->key.grid, &t->key.cell);
	VX_LOCK_SCOPE(&g->mtx);
	if (vx_list_empty(&t->parts) || t->parts.next != t->parts.prev)
		return NULL;
	p = vx_list_entry(t->parts.next, struct vx_part, in_task);
	if (!vx_part_is_whole(t, p) || p->nchan != t->nchan || !lies_together(t, p, &to))
		return NULL;
	f->into = to.at;
	f->into_len = vx_chunk_form_bytes(&form);
	p->taken = true;
	vx_list_remove(&p->in_task);
	return p;
}

/* The part is in its place. Whoever joined meanwhile finds it in the box. */
static void end_direct(struct vx_worker *w, struct vx_task *t, struct vx_part *p, uint64_t bytes)
{
	struct vx_engine *g = w->engine;
	struct vx_link served, ended;

	VX_COUNT(chunks_fetched);
	VX_COUNT(chunks_decoded);
	vx_task_learn_size(t, bytes);
	w->bytes += bytes;
	vx_part_landed(t, p);
	p->code = 0;
	vx_list_init(&served);
	vx_list_init(&ended);
	vx_list_push_back(&served, &p->in_task);
	{
		VX_LOCK_SCOPE(&g->mtx);
		vx_parts_settle_locked(g, &served, NULL, &ended);
		if (vx_task_is_wanted(t))
			vx_task_put_back_locked(g, t);
		else
			vx_task_free_locked(g, t);
	}
	vx_jobs_end(&ended);
}

static void give_back(struct vx_engine *g, struct vx_task *t, struct vx_part *p)
{
	VX_LOCK_SCOPE(&g->mtx);
	p->taken = false;
	vx_list_push_front(&t->parts, &p->in_task);
}

static void read_local(struct vx_worker *w, struct vx_task *t)
{
	struct vx_fetch f;
	struct vx_fetched got = {0};
	struct vx_part *direct;
	uint64_t t0 = vx_now_ns();

	fetch_init(&f, t);
	direct = take_direct(w->engine, t, &f);
	vx_store_read(t->src->store, &f, &got);
	VX_TIMING(fetch, vx_now_ns() - t0);
	if (direct && got.in_place) {
		end_direct(w, t, direct, got.total);
		return;
	}
	if (direct)
		give_back(w->engine, t, direct);
	vx_task_got(w, t, &got);
}

/* ---- remote stores ---- */

static void arrive_locked(struct vx_engine *g, struct vx_request *r, const struct vx_fetched *got)
{
	uint64_t share = 0;

	for (struct vx_link *l = r->tasks.next; l != &r->tasks; l = l->next)
		share++;
	share = got->body ? got->body->cap / share : 0;
	g->inflight--;
	g->inflight_bytes -= r->charged;
	while (!vx_list_empty(&r->tasks)) {
		struct vx_task *t = vx_list_entry(r->tasks.next, struct vx_task, in_request);

		vx_list_remove(&t->in_request);
		t->request = NULL;
		t->got = *got;
		if (got->body)
			vx_buf_ref(got->body);
		vx_task_arrived_locked(g, t, share);
	}
	if (g->stopping)
		pthread_cond_broadcast(&g->wake);
}

/* The transfer loop's thread: only moves the answer to the workers. */
static void on_fetched(struct vx_fetch *f, struct vx_fetched *got)
{
	struct vx_request *r = vx_container_of(f, struct vx_request, fetch);
	struct vx_engine *g = r->engine;

	VX_TIMING(fetch, vx_now_ns() - r->started_ns);
	{
		VX_LOCK_SCOPE(&g->mtx);
		arrive_locked(g, r, got);
	}
	vx_buf_put(got->body);
	free(r);
}

static struct vx_request *request_new(struct vx_engine *g, struct vx_task *t)
{
	struct vx_request *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	fetch_init(&r->fetch, t);
	r->fetch.done = on_fetched;
	r->engine = g;
	r->started_ns = vx_now_ns();
	vx_list_init(&r->tasks);
	return r;
}

/* Submitted under the lock: a cancel never meets a request that the store does not know, and none is sent once the
 * engine has quit. */
static void submit_locked(struct vx_engine *g, struct vx_request *r, struct vx_task *t)
{
	t->state = VX_TASK_FETCHING;
	t->request = r;
	vx_list_push_back(&r->tasks, &t->in_request);
	if (t->shard && !r->fetch.held)
		vx_shard_gather_locked(g, r, t);
	/* Of the first nothing is known but what they may have at most. */
	r->charged = vx_max_u64(r->fetch.expect ? r->fetch.expect : r->fetch.cap, CHARGE_MIN);
	g->inflight++;
	g->inflight_bytes += r->charged;
	vx_store_submit(t->src->store, &r->fetch);
}

/* True: the disk cache had it and the task is over, or the task is queued again. Who takes others along in a request
 * takes those that have been here already: the first to find nothing waits until the others have looked, too. */
static bool ask_disk(struct vx_worker *w, struct vx_request *r, struct vx_task *t)
{
	struct vx_fetched got;

	if (!vx_store_is_cached(t->src->store) || (t->shard && t->shard->looked))
		return false;
	if (t->shard)
		t->shard->merged = false;
	if (vx_store_cached(t->src->store, &r->fetch, &got)) {
		VX_TIMING(fetch, vx_now_ns() - r->started_ns);
		vx_history_add(&w->history, t->item.space, &t->cell_box);
		vx_task_got(w, t, &got);
		return true;
	}
	if (!t->shard)
		return false;
	t->shard->looked = true;
	if (r->fetch.held || t->shard->level == VX_SHARD_ROOT)
		return false;
	vx_shard_requeue(w->engine, t);
	return true;
}

static void ask_remote(struct vx_worker *w, struct vx_task *t)
{
	struct vx_engine *g = w->engine;
	struct vx_request *r = request_new(g, t);
	struct vx_err e;
	bool stopping;

	if (!r) {
		vx_no_memory(&e);
		vx_task_fail(w, t, &e);
		return;
	}
	if (ask_disk(w, r, t)) {
		free(r);
		return;
	}
	{
		VX_LOCK_SCOPE(&g->mtx);
		stopping = g->stopping;
		if (!vx_task_is_wanted(t)) {
			vx_task_free_locked(g, t);
			stopping = false;
		} else if (!stopping) {
			submit_locked(g, r, t);
			return;
		}
	}
	vx_store_forget(&r->fetch);
	free(r);
	if (!stopping)
		return;
	vx_fail(&e, -ESHUTDOWN, "the mount is ending");
	vx_task_fail(w, t, &e);
}

void vx_task_ask(struct vx_worker *w, struct vx_task *t)
{
	if (!vx_store_is_local(t->src->store)) {
		ask_remote(w, t);
		return;
	}
	vx_history_add(&w->history, t->item.space, &t->cell_box);
	read_local(w, t);
}
