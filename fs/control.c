/* SPDX-License-Identifier: Apache-2.0
 * stats.json: groups of named numbers. Names are stable once released; tools/stats.schema.json lists them.
 */
#include "fs/control.h"
#include "base/ledger.h"
#include "fs/broker.h"
#include "fs/sandbox.h"
#include "fs/session.h"

#include <jansson.h>
#include <string.h>

#define PROBES_FOR_STATS 64

static json_t *group(json_t *root, const char *name)
{
	json_t *g = json_object_get(root, name);

	if (!g) {
		g = json_object();
		json_object_set_new(root, name, g);
	}
	return g;
}

static void put(json_t *root, const char *where, const char *name, uint64_t value)
{
	json_object_set_new(group(root, where), name, json_integer((json_int_t)value));
}

static void put_text(json_t *root, const char *where, const char *name, const char *value)
{
	json_object_set_new(group(root, where), name, json_string(value));
}

static void add_counters(json_t *root)
{
#define X(where, name, help) \
	put(root, #where, #name, atomic_load_explicit(&vx_ledger.where##_##name, memory_order_relaxed));
	VX_COUNTERS(X)
#undef X
}

static void add_histogram(json_t *root, const char *name, const struct vx_hist *h)
{
	json_object_set_new(group(root, "latency_ns"), name,
			    json_pack("{s:I,s:I,s:I,s:I,s:I}", "count", (json_int_t)vx_hist_count(h), "sum",
				      (json_int_t)atomic_load_explicit(&h->sum, memory_order_relaxed), "p50",
				      (json_int_t)vx_hist_quantile(h, 0.5), "p90", (json_int_t)vx_hist_quantile(h, 0.9),
				      "p99", (json_int_t)vx_hist_quantile(h, 0.99)));
}

static void add_histograms(json_t *root)
{
#define X(name, help) add_histogram(root, #name, &vx_ledger.hist_##name);
	VX_HISTOGRAMS(X)
#undef X
}

static void add_cache(struct vx_fs *fs, json_t *root)
{
	struct vx_cache_stats s;

	vx_cache_probe(fs->cache, PROBES_FOR_STATS); /* so that what was just unmapped does not count as pinned */
	vx_cache_stats(fs->cache, &s);
	put(root, "cache", "limit", s.limit);
	put(root, "cache", "bytes", s.bytes);
	put(root, "cache", "ready_bytes", s.ready_bytes + vx_pool_bytes_ready(fs->pool));
	put(root, "cache", "pinned_bytes", s.pinned_bytes);
	put(root, "cache", "objects", s.objects);
	put(root, "cache", "object_bytes", s.object_bytes);
	put(root, "cache", "open_objects", s.open_boxes);
	put(root, "cache", "mapped_objects", s.mapped_boxes);
	put(root, "cache", "shared_objects", s.shared);
	put(root, "cache", "kept_chunks", s.kept);
	put(root, "cache", "kept_bytes", s.kept_bytes);
	put(root, "cache", "buffer_bytes_used", vx_pool_bytes_used(fs->pool));
	put(root, "cache", "buffer_bytes_idle", vx_pool_bytes_idle(fs->pool));
}

static void add_engine(struct vx_fs *fs, json_t *root)
{
	struct vx_engine_stats s;
	json_t *workers = json_array();
	unsigned active, waiting;

	put(root, "queue", "lazy", fs->lazy_work); /* first: what these ask of the engine is in its numbers */
	vx_engine_stats(fs->engine, &s);
	vx_fetcher_depth(fs->fetcher, &active, &waiting);
	put(root, "queue", "foreground", s.queued[VX_PRIO_FOREGROUND]);
	put(root, "queue", "prefetch", s.queued[VX_PRIO_PREFETCH]);
	put(root, "queue", "arrived", s.arrived);
	put(root, "queue", "calls", s.calls);
	put(root, "queue", "running", s.running);
	put(root, "queue", "inflight", s.inflight);
	put(root, "queue", "inflight_bytes", s.inflight_bytes);
	put(root, "queue", "transfers_active", active);
	put(root, "queue", "transfers_waiting", waiting);
	for (unsigned i = 0; i < s.workers; i++) {
		struct vx_worker_stats w;

		vx_engine_worker_stats(fs->engine, i, &w);
		json_array_append_new(workers,
				      json_pack("{s:b,s:I,s:I,s:I}", "busy", w.busy, "tasks", (json_int_t)w.tasks,
						"favourites", (json_int_t)w.favourites, "bytes", (json_int_t)w.bytes));
	}
	json_object_set_new(root, "workers", workers);
}

static void add_diskcache(struct vx_fs *fs, json_t *root)
{
	struct vx_diskcache_stats s = {.limit = 0};

	if (fs->diskcache)
		vx_diskcache_stats(fs->diskcache, &s);
	put(root, "diskcache", "limit", s.limit);
	put(root, "diskcache", "bytes", s.bytes);
	put(root, "diskcache", "waiting_bytes", s.waiting_bytes);
}

char *vx_control_stats(struct vx_fs *fs)
{
	json_t *root = json_object();
	char *text, *line;

	put(root, "server", "pid", (uint64_t)getpid());
	put(root, "server", "starts", fs->starts);
	put(root, "keeper", "pid", fs->keeper_pid);
	put(root, "keeper", "refused", fs->refused);
	put(root, "keeper", "registered", vx_broker_count(fs->broker));
	put(root, "server", "nodes", vx_nodes_count(fs->nodes));
	put_text(root, "server", "version", VX_VERSION);
	put_text(root, "zerocopy", "mode", vx_session_passthrough(fs->session) ? "passthrough" : "page-cache");
	put_text(root, "zerocopy", "reason", vx_session_zerocopy_reason(fs->session));
	json_object_set_new(root, "sandbox", vx_sandbox_json(fs->sandbox));
	add_cache(fs, root);
	add_counters(root);
	add_diskcache(fs, root);
	add_engine(fs, root);
	add_histograms(root);
	text = json_dumps(root, JSON_INDENT(2));
	json_decref(root);
	if (!text)
		return NULL;
	line = realloc(text, strlen(text) + 2);
	if (!line) {
		free(text);
		return NULL;
	}
	return strcat(line, "\n");
}

char *vx_control_errors(struct vx_fs *fs)
{
	(void)fs;
	return vx_error_text();
}
