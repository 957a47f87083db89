/* SPDX-License-Identifier: Apache-2.0
 * The disk cache between stores and those who ask them. A wish is looked up before it is submitted, in the asker's
 * thread, which may block on the disk. An entry that is to be confirmed is read there and then too, and travels with
 * the request: when the store says "not modified", or nothing at all, its bytes are at hand on the loop's thread,
 * whatever has become of the file.
 */
#include "fetch/diskcache_impl.h"
#include "fetch/store.h"

#include "base/clock.h"
#include "base/ledger.h"

#include <stdio.h>
#include <string.h>

#define DOWN_NS (10 * VX_SEC) /* a store that could not be reached is not tried again for what is on the disk */

/* An older answer on its way to be confirmed. */
struct vx_held {
	struct vx_fetched got;
	uint64_t seal;
};

bool vx_store_is_cached(const struct vx_store *s)
{
	return !vx_store_is_local(s) && vx_fetcher_cache(s->fetcher);
}

static bool identify(const struct vx_store *s, const struct vx_fetch *r, struct vx_entry_id *id)
{
	return vx_store_is_cached(s) && vx_key_check(r->key, sizeof r->key, NULL) == 0 &&
	       vx_entry_identify(id, s->shown, s->shown_len, s->account, r) == 0;
}

static bool has_wanted_length(const struct vx_fetch *r, uint64_t len)
{
	return !r->range.len || (r->range.suffix ? len <= r->range.len : len == r->range.len);
}

/* Moves what was found into an answer. */
static void answer(struct vx_store *s, const struct vx_fetch *r, struct vx_dc_found *found, struct vx_fetched *got)
{
	char url[256];

	memset(got, 0, sizeof *got);
	got->body = vx_steal(found->body);
	got->total = found->entry.total;
	memcpy(got->etag, found->entry.etag, sizeof got->etag);
	memcpy(got->content_encoding, found->entry.content_encoding, sizeof got->content_encoding);
	if (found->entry.missing)
		vx_fail(&got->err, -ENODATA, "the store did not have it when it was asked last: %s",
			vx_store_show(s, r->key, url, sizeof url));
}

static void count_hit(const struct vx_fetched *got)
{
	VX_COUNT(diskcache_hits);
	if (got->body)
		VX_COUNT_ADD(diskcache_hit_bytes, got->body->len);
}

static void hold(struct vx_store *s, struct vx_fetch *r, struct vx_dc_found *found)
{
	struct vx_held *h = malloc(sizeof *h);

	if (!h) {
		vx_buf_put(found->body);
		return;
	}
	h->seal = found->entry.seal;
	memcpy(r->if_none_match, found->entry.etag, sizeof r->if_none_match);
	answer(s, r, found, &h->got);
	r->held = h;
}

bool vx_store_cached(struct vx_store *s, struct vx_fetch *r, struct vx_fetched *got)
{
	struct vx_diskcache *dc;
	struct vx_entry_id id;
	struct vx_dc_found found = {.body = NULL};

	r->held = NULL;
	if (r->uncached || r->if_none_match[0] || !identify(s, r, &id))
		return false;
	dc = vx_fetcher_cache(s->fetcher);
	if (!vx_dc_get(dc, &id, r->cap, &found)) {
		VX_COUNT(diskcache_misses);
		return false;
	}
	if (found.body && !has_wanted_length(r, found.body->len)) {
		VX_COUNT(diskcache_damaged);
		VX_COUNT(diskcache_misses);
		vx_dc_drop(dc, &id, 0);
		vx_buf_put(found.body);
		return false;
	}
	if (!r->recheck && !vx_dc_is_due(dc, &found.entry)) {
		answer(s, r, &found, got);
		count_hit(got);
		return true;
	}
	if (vx_now_ns() < s->down_until_ns) {
		answer(s, r, &found, got);
		VX_COUNT(diskcache_stale);
		return true;
	}
	hold(s, r, &found);
	return false;
}

void vx_store_forget(struct vx_fetch *r)
{
	struct vx_held *h = vx_steal(r->held);

	if (h)
		vx_buf_put(h->got.body);
	free(h);
}

static bool stands_in(int code)
{
	return code == -EHOSTUNREACH || code == -ETIMEDOUT || code == -EIO;
}

/* True when *got is now the older answer. */
static bool resolve_held(struct vx_fetch *r, struct vx_fetched *got, const struct vx_entry_id *id)
{
	bool same = !got->err.code && got->not_modified, mute = stands_in(got->err.code);
	struct vx_held *h = r->held;

	if (!same && !mute)
		return false;
	*got = h->got;
	h->got.body = NULL;
	if (same) {
		VX_COUNT(diskcache_confirmed);
		count_hit(got);
		vx_dc_confirm(vx_fetcher_cache(r->store->fetcher), id, h->seal);
	} else {
		VX_COUNT(diskcache_stale);
		r->store->down_until_ns = vx_now_ns() + DOWN_NS;
	}
	return true;
}

static void keep(struct vx_diskcache *dc, const struct vx_entry_id *id, const struct vx_fetched *got,
		 const uint8_t *data, uint64_t len)
{
	struct vx_entry e = {
	    .payload_len = len,
	    .total = got->total,
	    .missing = got->err.code == -ENODATA,
	    .checked_ns = vx_dc_wall_ns(),
	};

	memcpy(e.etag, got->etag, sizeof e.etag);
	memcpy(e.content_encoding, got->content_encoding, sizeof e.content_encoding);
	vx_dc_put(dc, id, &e, got->body, data);
}

void vx_cached_arrived(struct vx_fetch *r, struct vx_fetched *got)
{
	struct vx_entry_id id;
	bool old;

	if (!identify(r->store, r, &id)) {
		vx_store_forget(r);
		return;
	}
	old = r->held && resolve_held(r, got, &id);
	vx_store_forget(r);
	if (old || r->uncached || got->not_modified || (got->err.code && got->err.code != -ENODATA))
		return;
	keep(vx_fetcher_cache(r->store->fetcher), &id, got, got->body ? got->body->data : NULL,
	     got->body ? got->body->len : 0);
}

void vx_store_keep(struct vx_store *s, const struct vx_fetch *r, const struct vx_fetched *got, const uint8_t *data,
		   uint64_t len)
{
	struct vx_entry_id id;

	if (!got->err.code && has_wanted_length(r, len) && identify(s, r, &id))
		keep(vx_fetcher_cache(s->fetcher), &id, got, data, len);
}

void vx_store_distrust(struct vx_store *s, const struct vx_fetch *r)
{
	struct vx_entry_id id;

	if (identify(s, r, &id))
		vx_dc_drop(vx_fetcher_cache(s->fetcher), &id, 0);
}
