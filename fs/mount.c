/* SPDX-License-Identifier: Apache-2.0
 * Construction in order of dependence, destruction in reverse: who waits for space gives up first; then nothing is
 * asked of stores any more, and transfers end; then the workers; then what they worked on.
 */
#include "fs/mount.h"
#include "base/clock.h"
#include "base/log.h"
#include "fs/volumes.h"
#include "fs/warm.h"

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
	f.connect_ms = (uint64_t)(o->timeout * 1000);
	f.stall_ms = (uint64_t)(o->stall * 1000);
	f.tries = (unsigned)o->tries;
	f.hedge = o->hedge;
	f.cache = fs->diskcache;
	return vx_fetcher_new(&fs->fetcher, &f, fs->pool, e);
}

static int make_info(struct vx_fs *fs, struct vx_err *e)
{
	fs->info = calloc(fs->nsources, sizeof *fs->info);
	if (!fs->info)
		return vx_fail(e, -ENOMEM, "no memory");
	for (unsigned i = 0; i < fs->nsources; i++) {
		const struct vx_source *s = fs->sources[i];

		for (unsigned m = 0; m < s->meta->nscales; m++) {
			const struct vx_err *bad = &s->meta->scales[m].bad;

			if (bad->code)
				vx_log(VX_LOG_WARN, "%s: scale %u cannot be read: %s", s->name, m, bad->why);
			fs->info[i][m] = vx_info_json(s->meta, m, s->name, s->url);
			if (!fs->info[i][m])
				return vx_fail(e, -ENOMEM, "no memory");
		}
	}
	return 0;
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
	};
	struct vx_boxes_opts b = {.space_wait_ns = (uint64_t)(o->wait * 1e9)};
	int r = vx_engine_new(&fs->engine, &g, fs->cache, fs->pool, e);

	return r < 0 ? r : vx_boxes_new(&fs->boxes, &b, fs->cache, fs->engine, e);
}

static int build(struct vx_fs *fs, struct vx_err *e)
{
	int r = vx_pool_new(&fs->pool, POOL_IDLE_BYTES);

	if (r < 0 || (r = vx_nodes_new(&fs->nodes)) < 0)
		return vx_fail(e, r, "no memory");
	if ((r = start_diskcache(fs, e)) < 0 || (r = start_fetcher(fs, e)) < 0 || (r = vx_volumes_open(fs, e)) < 0 ||
	    (r = make_info(fs, e)) < 0)
		return r;
	if ((r = vx_cache_new(&fs->cache, fs->opt->cache, fs->pool, e)) < 0 || (r = start_engine(fs, e)) < 0)
		return r;
	return vx_warmer_start(&fs->warmer, fs->cache, fs->engine, fs->pool, fs->opt->warm, e);
}

int vx_fs_new(struct vx_fs **ret, const struct vx_options *o, struct vx_err *e)
{
	struct vx_fs *fs = calloc(1, sizeof *fs);
	int r;

	if (!fs)
		return vx_fail(e, -ENOMEM, "no memory");
	raise_descriptor_limit();
	fs->opt = o;
	fs->uid = getuid();
	fs->gid = getgid();
	clock_gettime(CLOCK_REALTIME, &fs->started);
	vx_pendings_init(&fs->pending);
	r = build(fs, e);
	if (r < 0) {
		vx_fs_free(&fs);
		return r;
	}
	*ret = fs;
	return 0;
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
	for (unsigned i = 0; i < fs->nsources; i++) {
		for (unsigned m = 0; fs->info && m < VX_MAX_SCALES; m++)
			free(fs->info[i][m]);
		vx_source_close(&fs->sources[i]);
	}
	free(fs->info);
	free(fs->sources);
	vx_fetcher_free(&fs->fetcher);
	vx_diskcache_free(&fs->diskcache); /* nothing arrives any more: writes what has */
	vx_nodes_free(&fs->nodes);
	vx_pendings_done(&fs->pending);
	vx_pool_free(&fs->pool);
	free(fs);
}
