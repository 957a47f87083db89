/* SPDX-License-Identifier: Apache-2.0
 * Construction in order of dependence, destruction in reverse: who waits for space gives up first; then nothing is
 * asked of stores any more, and transfers end; then the workers; then what they worked on.
 */
#include "fs/mount.h"
#include "base/clock.h"
#include "base/log.h"
#include "fs/handle.h"
#include "fs/view.h"
#include "fs/volumes.h"
#include "fs/warm.h"
#include "sched/docs.h"

#include <string.h>
#include <sys/resource.h>

#define POOL_IDLE_BYTES ((size_t)8 << 20)
#define INFLIGHT_BYTES ((uint64_t)24 << 20)

static void raise_descriptor_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

static int start_diskcache(struct vx_fs *fs, struct vx_err *e)
{
	const struct vx_options *o = fs->opt;
	struct vx_diskcache_opts d;

	if (!o->diskcache)
		return 0;
	vx_diskcache_opts_default(&d);
	d.dir = o->diskcache;
	d.limit = o->diskcache_size;
	d.percent = o->diskcache_percent;
	d.check_ns = o->diskcache_check;
	return vx_diskcache_new(&fs->diskcache, &d, fs->pool, e);
}

static int start_fetcher(struct vx_fs *fs, struct vx_err *e)
{
	const struct vx_options *o = fs->opt;
	struct vx_fetch_opts f;

	vx_fetch_opts_default(&f);
	f.connections = (unsigned)o->connections;
	f.connect_ms = (uint64_t)(o->connect_timeout * 1000);
	f.stall_ms = (uint64_t)(o->stall * 1000);
	f.tries = (unsigned)o->tries;
	f.hedge = o->hedge;
	f.cache = fs->diskcache;
	return vx_fetcher_new(&fs->fetcher, &f, fs->pool, e);
}

static void warn_of_bad_scales(const struct vx_fs *fs)
{
	for (unsigned i = 0; i < fs->nsources; i++) {
		const struct vx_source *s = fs->sources[i];

		for (unsigned m = 0; m < s->meta->nscales; m++) {
			const struct vx_err *bad = &s->meta->scales[m].bad;

			if (bad->code)
				vx_log(VX_LOG_WARN, "%s: scale %u cannot be read: %s", s->name, m, bad->why);
		}
	}
}

static int start_engine(struct vx_fs *fs, struct vx_err *e)
{
	const struct vx_options *o = fs->opt;
	/* A few more than connections, so that the next request is at hand when one ends. */
	struct vx_engine_opts g = {
	    .threads = (unsigned)o->threads,
	    .inflight = (unsigned)(o->connections + o->connections / 4 + 2),
	    .inflight_bytes = INFLIGHT_BYTES,
	    .merge_gap = VX_MERGE_GAP,
	    .merge_bytes = VX_MERGE_BYTES,
	    .merge_tasks = VX_MERGE_TASKS,
	    .policy = o->policy,
	    .table = fs->table,
	};
	struct vx_boxes_opts b = {.space_wait_ns = (uint64_t)(o->wait * 1e9)};
	int r = vx_engine_new(&fs->engine, &g, fs->cache, fs->pool, e);

	return r < 0 ? r : vx_boxes_new(&fs->boxes, &b, fs->cache, fs->engine, e);
}

static int build(struct vx_fs *fs, struct vx_arena **arena, struct vx_err *e)
{
	int r = vx_pool_new(&fs->pool, POOL_IDLE_BYTES);

	if (r < 0 || (r = vx_nodes_new(&fs->nodes, fs->table)) < 0)
		return vx_no_memory(e);
	vx_docs_remember(fs->table, fs->pool);
	if ((r = start_diskcache(fs, e)) < 0 || (r = start_fetcher(fs, e)) < 0 || (r = vx_volumes_open(fs, e)) < 0)
		return r;
	warn_of_bad_scales(fs);
	r = vx_cache_new(&fs->cache, fs->opt->cache, fs->pool, vx_steal(*arena), e);
	return r < 0 ? r : start_engine(fs, e);
}

int vx_fs_new(struct vx_fs **ret, const struct vx_options *o, int list, struct vx_arena *arena, struct vx_table *table,
	      struct vx_broker *broker, struct vx_err *e)
{
	struct vx_fs *fs = calloc(1, sizeof *fs);
	int r;

	if (!fs) {
		vx_arena_free(&arena);
		return vx_no_memory(e);
	}
	raise_descriptor_limit();
	fs->opt = o;
	fs->list = list;
	fs->table = table;
	fs->broker = broker;
	fs->uid = (uid_t)o->uid;
	fs->gid = (gid_t)o->gid;
	if (table)
		fs->started = vx_table_started(table);
	else
		clock_gettime(CLOCK_REALTIME, &fs->started);
	vx_pendings_init(&fs->pending, (uint64_t)(o->timeout * 1e9));
	r = build(fs, &arena, e);
	vx_arena_free(&arena); /* when nobody came to take it */
	if (r < 0) {
		vx_fs_free(&fs);
		return r;
	}
	*ret = fs;
	return 0;
}

/* ---- taking over ---- */

static struct vx_source *source_of(void *ctx, uint32_t id)
{
	struct vx_fs *fs = ctx;

	return vx_source_find(fs->sources, fs->nsources, id);
}

static bool is_sound_view(void *ctx, struct vx_view *v, uint32_t source)
{
	struct vx_fs *fs = ctx;

	v->src = source_of(fs, source);
	return vx_view_check(fs, v);
}

/* Without passthrough a box is mapped here while it is open; where it cannot be, it is read as a lazy one. */
static void on_open_box(void *ctx, struct vx_cbox *b)
{
	struct vx_fs *fs = ctx;

	if (!vx_arena_shares(vx_cache_arena(fs->cache)))
		vx_cache_try_map(fs->cache, b);
}

int vx_fs_take_over(struct vx_fs *fs, struct vx_err *e)
{
	if (vx_handles_new(&fs->handles, fs->table, fs->starts) < 0)
		return vx_no_memory(e);
	vx_cache_set_table(fs->cache, fs->table);
	vx_nodes_recover(fs->nodes, is_sound_view, fs);
	vx_cache_recover(fs->cache, source_of, fs);
	vx_handles_recover(fs->handles, fs->cache, on_open_box, fs);
	/* Not before: the arena is another server's until then, and what is not recorded there is swept away. */
	return vx_warmer_start(&fs->warmer, fs->cache, fs->engine, fs->pool, fs->opt->warm, e);
}

void vx_fs_free(struct vx_fs **pfs)
{
	struct vx_fs *fs = vx_steal(*pfs);

	if (!fs)
		return;
	if (fs->boxes)
		vx_boxes_stop(fs->boxes);
	if (fs->engine)
		vx_engine_quit(fs->engine);
	if (fs->fetcher)
		vx_fetcher_stop(fs->fetcher);
	if (fs->engine)
		vx_engine_stop(fs->engine);
	vx_warmer_stop(&fs->warmer); /* workers poke it, it asks the engine */
	vx_engine_free(&fs->engine);
	vx_boxes_free(&fs->boxes);
	vx_cache_free(&fs->cache);
	for (unsigned i = 0; i < fs->nsources; i++)
		vx_source_close(&fs->sources[i]);
	free(fs->sources);
	vx_fetcher_free(&fs->fetcher);
	vx_diskcache_free(&fs->diskcache); /* nothing arrives any more: writes what has */
	vx_handles_free(&fs->handles);
	vx_nodes_free(&fs->nodes);
	vx_pendings_done(&fs->pending);
	vx_pool_free(&fs->pool);
	free(fs);
}
