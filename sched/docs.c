/* SPDX-License-Identifier: Apache-2.0
 * Waits for the transfer loop where the store is remote. A disk cache stands in for a store that cannot be reached, but
 * one that can is always asked whether its document is still the same.
 */
#include "sched/docs.h"
#include "codec/codec.h"

#include <semaphore.h>
#include <stdio.h>
#include <string.h>

struct sync_fetch {
	struct vx_fetch fetch;
	struct vx_fetched got;
	sem_t ready;
};

static void sync_done(struct vx_fetch *r, struct vx_fetched *got)
{
	struct sync_fetch *s = vx_container_of(r, struct sync_fetch, fetch);

	s->got = *got;
	sem_post(&s->ready);
}

static int unpack(struct vx_fetched *got, uint64_t cap, struct vx_buf **ret, struct vx_err *e)
{
	enum vx_pack pack = VX_PACK_UNKNOWN;
	int r = got->content_encoding[0] ? vx_pack_from_content_encoding(got->content_encoding, &pack, e) : 0;

	if (r == 0 && got->body->len == 0)
		r = vx_fail(e, -EBADMSG, "the document is empty");
	return r < 0 ? r : vx_unpack(got->body->pool, pack, got->body, 0, cap, ret, e);
}

static void ask(struct vx_store *s, struct sync_fetch *f)
{
	sem_init(&f->ready, 0, 0);
	vx_store_submit(s, &f->fetch);
	while (sem_wait(&f->ready) < 0)
		continue;
	sem_destroy(&f->ready);
}

static int fetch_doc(struct vx_store *s, const char *key, uint64_t cap, struct vx_buf **ret, struct vx_err *e)
{
	struct sync_fetch f = {.fetch = {.cap = cap, .recheck = true, .done = sync_done}};
	int r;

	if ((size_t)snprintf(f.fetch.key, sizeof f.fetch.key, "%s", key) >= sizeof f.fetch.key)
		return vx_fail(e, -EBADMSG, "a key of %zu bytes is too long", strlen(key));
	if (!vx_store_cached(s, &f.fetch, &f.got))
		ask(s, &f);
	if (f.got.err.code) {
		*e = f.got.err;
		return e->code;
	}
	r = unpack(&f.got, cap, ret, e);
	vx_buf_put(f.got.body);
	if (r < 0)
		vx_store_distrust(s, &f.fetch);
	return r < 0 ? vx_fail_prefix(e, "%s/%s", vx_store_url(s), key) : 0;
}

/* ---- what was read before ---- */

static struct vx_table *memory; /* one server in a process */
static struct vx_pool *memory_pool;

void vx_docs_remember(struct vx_table *table, struct vx_pool *pool)
{
	memory = table;
	memory_pool = pool;
}

/* What the store has said of a document, as opposed to that it could not be asked. */
static bool is_verdict(int r)
{
	return r == 0 || r == -ENODATA || r == -EACCES || r == -EBADMSG;
}

/* 1: it is not known. */
static int recall(const char *name, uint64_t cap, struct vx_buf **ret, struct vx_err *e)
{
	const void *data;
	size_t len;
	int code;

	if (!memory || !vx_table_doc_find(memory, name, &code, &data, &len))
		return 1;
	if (code == -ENODATA)
		return vx_fail(e, -ENODATA, "%s is not there", name);
	if (code && is_verdict(code))
		return vx_fail(e, code, "%.*s", (int)vx_min_u64(len, sizeof e->why), (const char *)data);
	if (code || !len || len > cap)
		return 1;
	*ret = vx_buf_get(memory_pool, len);
	if (!*ret)
		return vx_no_memory(e);
	memcpy((*ret)->data, data, len);
	(*ret)->len = len;
	return 0;
}

int vx_doc_read(struct vx_store *s, const char *key, uint64_t cap, struct vx_buf **ret, struct vx_err *e)
{
	VX_AUTO_FREE char *name = NULL;
	int r;

	if (asprintf(&name, "%s/%s", vx_store_url(s), key) < 0) {
		name = NULL;
		return vx_no_memory(e);
	}
	r = recall(name, cap, ret, e);
	if (r != 1)
		return r;
	r = fetch_doc(s, key, cap, ret, e);
	/* Failures, too: were a document to be had at last, volumes would come out in another order, and what is
	 * resident of one would be taken for another's. */
	if (memory && r == 0)
		(void)vx_table_doc_add(memory, name, 0, (*ret)->data, (*ret)->len);
	else if (memory && is_verdict(r))
		(void)vx_table_doc_add(memory, name, r, e->why, r == -ENODATA ? 0 : strlen(e->why));
	return r;
}

void vx_doc_distrust(struct vx_store *s, const char *key)
{
	struct vx_fetch f = {.held = NULL};

	snprintf(f.key, sizeof f.key, "%s", key);
	vx_store_distrust(s, &f);
}
