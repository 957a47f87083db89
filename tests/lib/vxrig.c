/* SPDX-License-Identifier: Apache-2.0
 * The machine: starting, opening, jobs, and what must be true at its end.
 */
#include "vxrig.h"
#include "base/clock.h"
#include "sched/cache_impl.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* ---- the kernel's part ---- */

static int on_share(void *ctx, const struct vx_object *o, struct vx_err *e)
{
	struct vxr_sharer *s = ctx;
	VX_AUTO_CLOSE int fd = -1;
	struct stat st;
	char name[24];
	int id = 0;

	snprintf(name, sizeof name, "%llu", (unsigned long long)o->id);
	fd = openat(s->ro, name, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fstat(fd, &st), 0);
	pthread_mutex_lock(&s->mtx);
	if (s->refuse) {
		s->refuse--;
		pthread_mutex_unlock(&s->mtx);
		return vx_fail(e, -EMFILE, "the kernel has no more numbers");
	}
	for (int k = 1; k < VXR_IDS; k++) {
		if (!s->id[k].fd)
			id = id ? id : k;
		else
			ck_assert_msg(s->id[k].ino != st.st_ino, "a box was registered twice");
	}
	ck_assert_int_gt(id, 0);
	s->id[id].fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	s->id[id].ino = st.st_ino;
	s->in_use++;
	s->shares++;
	ck_assert_int_ge(s->id[id].fd, 0);
	pthread_mutex_unlock(&s->mtx);
	return id;
}

static void on_unshare(void *ctx, const struct vx_object *o)
{
	struct vxr_sharer *s = ctx;
	int id = o->share_id;

	pthread_mutex_lock(&s->mtx);
	ck_assert_msg(id > 0 && id < VXR_IDS && s->id[id].fd, "%d is not registered", id);
	close(s->id[id].fd);
	s->id[id].fd = 0;
	s->in_use--;
	pthread_mutex_unlock(&s->mtx);
}

bool vxr_has_tmpfs(bool has)
{
	VX_AUTO_CLOSE int fs = -1;
	VX_AUTO_CLOSE int rw = -1;
	VX_AUTO_CLOSE int ro = -1;

	if (has)
		return true;
	fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	if (fs >= 0 && syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		rw = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	if (rw >= 0)
		ro = (int)syscall(SYS_open_tree, rw, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	ck_assert_msg(ro < 0, "there is no tmpfs, though one can be made");
	fprintf(stderr, "no tmpfs: not tested\n");
	return false;
}

void *vxr_client_map(struct vxr_sharer *s, int id, uint64_t bytes)
{
	char path[64];
	void *m;
	int fd;

	pthread_mutex_lock(&s->mtx);
	ck_assert_msg(id > 0 && id < VXR_IDS && s->id[id].fd, "%d is not registered", id);
	snprintf(path, sizeof path, "/proc/self/fd/%d", s->id[id].fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	pthread_mutex_unlock(&s->mtx);
	ck_assert_int_ge(fd, 0);
	m = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(m, MAP_FAILED);
	close(fd);
	return m;
}

/* The arena that is shared is the rig's, which keeps what the keeper would: the clone. */
static struct vx_arena *shared_arena(struct vxr_sharer *s, uint64_t limit)
{
	struct vx_arena *arena;
	struct vx_err e;
	char note[200];
	int rw;

	vx_arena_mount(limit, &rw, &s->ro, note);
	ck_assert_int_eq(vx_arena_on(&arena, rw, note, &e), 0);
	return arena;
}

/* ---- the machine ---- */

void vxr_start(struct vxr *r, const struct vxr_opts *o)
{
	struct vx_engine_opts eo = {.threads = o->threads ? o->threads : 3,
				    .inflight = o->inflight ? o->inflight : 16,
				    .inflight_bytes = o->inflight_bytes ? o->inflight_bytes : 8 << 20,
				    .merge_gap = VX_MERGE_GAP,
				    .merge_bytes = o->merge_bytes ? o->merge_bytes : VX_MERGE_BYTES,
				    .merge_tasks = VX_MERGE_TASKS,
				    .policy = o->policy};
	struct vx_boxes_opts bo = {.space_wait_ns = o->wait_ns ? o->wait_ns : 3600 * VX_SEC};
	struct vx_fetch_opts fo;
	uint64_t limit = o->limit ? o->limit : 64 << 20;
	struct vx_arena *arena = NULL;
	struct vx_err e;

	memset(r, 0, sizeof *r);
	r->opts = *o;
	r->sharer.ro = -1;
	vx_fetch_opts_default(&fo);
	fo.hedge = false; /* requests are counted */
	fo.tries = 100;   /* the server's faults are counted, not these */
	fo.retry_ms = 1;
	fo.retry_max_ms = 4;
	fo.connections = 16;
	pthread_mutex_init(&r->sharer.mtx, NULL);
	ck_assert_int_eq(vx_pool_new(&r->pool, 1 << 20), 0);
	ck_assert_int_eq(vx_fetcher_new(&r->fetcher, &fo, r->pool, &e), 0);
	if (o->table)
		ck_assert_int_eq(vx_arena_on(&arena, fcntl(o->arena, F_DUPFD_CLOEXEC, 3), "", &e), 0);
	else if (o->share)
		arena = shared_arena(&r->sharer, limit);
	ck_assert_int_eq(vx_cache_new(&r->cache, limit, r->pool, arena, &e), 0);
	if (o->table)
		vx_cache_set_table(r->cache, o->table);
	if (o->share && vxr_has_tmpfs(r->sharer.ro >= 0)) {
		struct vx_sharer s = {.ctx = &r->sharer, .share = on_share, .unshare = on_unshare};

		vx_arena_set_sharer(vx_cache_arena(r->cache), &s);
	} else {
		r->opts.share = false;
	}
	ck_assert_int_eq(vx_engine_new(&r->engine, &eo, r->cache, r->pool, &e), 0);
	ck_assert_int_eq(vx_boxes_new(&r->boxes, &bo, r->cache, r->engine, &e), 0);
}

void vxr_add(struct vxr *r, struct vxr_volume *v)
{
	char path[200];
	struct vx_source_spec spec = {.name = "v", .cloudpath = path, .fill_missing = r->opts.fill_missing};
	struct vx_sources one = {.next_id = r->nvols};
	struct vx_err e = {0};

	if (r->opts.port)
		snprintf(path, sizeof path, "precomputed://http://127.0.0.1:%d/%s", r->opts.port,
			 strrchr(v->dir, '/') + 1);
	else
		snprintf(path, sizeof path, "precomputed://file://%s", v->dir);
	ck_assert_msg(vx_sources_open(&one, r->fetcher, &spec, &e) == 0, "%s", e.why);
	r->src[r->nvols] = one.at[0];
	vxr_shards_patch(v, r->src[r->nvols]->meta);
	free(one.at);
	r->vol[r->nvols++] = v;
}

void vxr_start_with(struct vxr *r, const struct vxr_opts *o, struct vxr_volume *v, size_t n)
{
	vxr_start(r, o);
	for (size_t i = 0; i < n; i++)
		vxr_add(r, &v[i]);
}

static struct vx_source *source_of(void *ctx, uint32_t id)
{
	const struct vxr *r = ctx;

	return id < r->nvols ? r->src[id] : NULL;
}

void vxr_recover(struct vxr *r)
{
	vx_cache_recover(r->cache, source_of, r);
}

void vxr_stop(struct vxr *r)
{
	vx_boxes_stop(r->boxes);
	vx_engine_quit(r->engine);
	vx_fetcher_stop(r->fetcher);
	vx_engine_stop(r->engine);
}

static void check_box_at_rest(const struct vx_cbox *b)
{
	ck_assert_int_eq(b->state, VX_BOX_READY);
	ck_assert(!b->opens && !b->map_users && !b->suspect && vx_list_empty(&b->waiters) && !b->fill && !b->landed);
	ck_assert(b->indexed && b->object.id && b->item.queued);
}

void vxr_check_books(struct vxr *r)
{
	struct vx_cache *c = r->cache;
	struct vx_cache_stats s;
	unsigned boxes = 0, maps = 0, shared = 0;
	uint64_t bytes = 0;

	vx_cache_probe(c, UINT32_MAX);
	vx_cache_stats(c, &s);
	ck_assert_uint_eq(s.open_boxes, 0);
	ck_assert_uint_eq(s.mapped_boxes, 0);
	ck_assert_uint_eq(s.pinned_bytes, 0);
	ck_assert_uint_eq(s.bytes, s.object_bytes + s.kept_bytes);
	ck_assert_uint_le(s.bytes, s.limit);
	for (unsigned i = 0; i < VX_BOX_BUCKETS; i++)
		for (struct vx_link *l = c->boxes[i].next; l != &c->boxes[i]; l = l->next) {
			const struct vx_cbox *b = vx_list_entry(l, struct vx_cbox, in_table);

			check_box_at_rest(b);
			boxes++;
			bytes += b->item.bytes;
			maps += b->map != NULL;
			shared += b->object.share_id > 0;
		}
	ck_assert_uint_eq(s.objects, boxes);
	ck_assert_uint_eq(s.object_bytes, bytes);
	ck_assert_uint_eq(s.shared, shared);
	ck_assert_uint_eq(r->sharer.in_use, shared);
	ck_assert_int_eq(c->idle_maps, maps);
	ck_assert_uint_eq(c->evict.small_bytes + c->evict.main_bytes, s.bytes);
}

void vxr_end(struct vxr *r)
{
	vxr_stop(r);
	vxr_check_books(r);
	vx_engine_free(&r->engine);
	vx_boxes_free(&r->boxes);
	vx_cache_free(&r->cache);
	for (unsigned k = 0; k < r->nvols; k++)
		vx_source_close(&r->src[k]);
	vx_fetcher_free(&r->fetcher);
	ck_assert_uint_eq(vx_pool_bytes_used(r->pool), 0);
	vx_pool_free(&r->pool);
	for (int k = 1; k < VXR_IDS; k++)
		if (r->sharer.id[k].fd)
			close(r->sharer.id[k].fd);
	if (r->sharer.ro >= 0)
		close(r->sharer.ro);
	pthread_mutex_destroy(&r->sharer.mtx);
}

/* ---- opening ---- */

static void opened(struct vx_waiter *w, struct vx_cbox *b, const struct vx_err *e)
{
	struct vxr_open *o = vx_container_of(w, struct vxr_open, w);

	ck_assert((b != NULL) == (e->code == 0));
	o->b = b;
	o->e = *e;
	sem_post(&o->over);
}

int vxr_open_start(struct vxr *r, struct vxr_open *o, unsigned vol, const struct vx_box *box, uint32_t client)
{
	int code;

	memset(o, 0, sizeof *o);
	sem_init(&o->over, 0, 0);
	o->w.done = opened;
	o->vol = vol;
	o->box = *box;
	o->pending = true; /* before done can be called */
	code = vx_boxes_open(r->boxes, r->src[vol], 0, box, vxr_bytes(r->vol[vol], box), client, &o->w, &o->b, &o->e);
	if (code == -EINPROGRESS)
		return code;
	o->pending = false;
	ck_assert_int_eq(code, code ? o->e.code : 0);
	ck_assert((o->b != NULL) == (code == 0));
	return code;
}

int vxr_open_await(struct vxr_open *o)
{
	if (o->pending) {
		while (sem_wait(&o->over) < 0)
			continue;
		sem_destroy(&o->over);
		o->pending = false;
	}
	return o->e.code;
}

bool vxr_open_cancel(struct vxr *r, struct vxr_open *o)
{
	if (!o->pending || !vx_boxes_cancel(r->boxes, &o->w))
		return false;
	sem_destroy(&o->over);
	o->pending = false;
	return true;
}

void vxr_open_check(struct vxr *r, struct vxr_open *o)
{
	struct vx_err e = {0};

	ck_assert(vx_box_equal(&o->b->box, &o->box) && o->b->src == r->src[o->vol]);
	ck_assert_msg(vx_cache_map(r->cache, o->b, &e) == 0, "%s", e.why);
	vxr_check(r->vol[o->vol], &o->box, 0, r->vol[o->vol]->channels, vx_cache_mapped(r->cache, o->b));
	vx_cache_unmap(r->cache, o->b);
}

void vxr_open_close(struct vxr *r, struct vxr_open *o)
{
	ck_assert_ptr_nonnull(o->b);
	vx_boxes_close(r->boxes, vx_steal(o->b));
}

int vxr_open_once(struct vxr *r, unsigned vol, const struct vx_box *box, struct vx_err *e)
{
	struct vxr_open o;
	int code;

	vxr_open_start(r, &o, vol, box, 1);
	code = vxr_open_await(&o);
	if (e)
		*e = o.e;
	if (code == 0) {
		vxr_open_check(r, &o);
		vxr_open_close(r, &o);
	}
	return code;
}

/* ---- jobs ---- */

static void job_done(struct vx_job *j, const struct vx_err *e)
{
	struct vxr_job *x = vx_container_of(j, struct vxr_job, j);

	x->e = *e;
	ck_assert_msg(!atomic_exchange(&x->ended, true), "done was called twice");
	sem_post(&x->over);
}

void vxr_job_init(struct vxr *r, struct vxr_job *j, unsigned vol)
{
	memset(j, 0, sizeof *j);
	sem_init(&j->over, 0, 0);
	j->j.src = r->src[vol];
	j->j.client = 7;
	j->j.done = job_done;
}

void vxr_job_want(struct vxr *r, struct vxr_job *j, const struct vx_box *box, uint32_t chan, uint32_t nchan, void *to)
{
	struct vx_want *w = &j->j.want[j->j.nwants++];
	uint64_t n[3] = {vx_box_extent(box, 0), vx_box_extent(box, 1), vx_box_extent(box, 2)};

	w->box = *box;
	w->chan = chan;
	w->nchan = nchan;
	w->to = vx_place_packed(to, n, vx_dtype_width(j->j.src->meta->dtype));
	w->grid = vx_scale_best_grid(&j->j.src->meta->scales[0], box);
}

int vxr_job_await(struct vxr_job *j)
{
	while (sem_wait(&j->over) < 0)
		continue;
	sem_destroy(&j->over);
	return j->e.code;
}

static void block(struct vx_call *c)
{
	struct vxr_block *b = vx_container_of(c, struct vxr_block, call);

	sem_post(&b->entered);
	while (sem_wait(&b->go) < 0)
		continue;
	sem_post(&b->left);
}

void vxr_block_start(struct vxr *r, struct vxr_block *b)
{
	sem_init(&b->entered, 0, 0);
	sem_init(&b->go, 0, 0);
	sem_init(&b->left, 0, 0);
	b->call.run = block;
	vx_engine_call(r->engine, &b->call);
}

void vxr_block_await(struct vxr_block *b)
{
	while (sem_wait(&b->entered) < 0)
		continue;
}

void vxr_block_end(struct vxr_block *b)
{
	sem_post(&b->go);
	while (sem_wait(&b->left) < 0)
		continue;
	sem_destroy(&b->entered);
	sem_destroy(&b->go);
	sem_destroy(&b->left);
}
