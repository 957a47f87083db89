/* SPDX-License-Identifier: Apache-2.0
 * The public face of stores: finds the kind by the URL's scheme, checks what came from outside (URLs
 * and keys) once for all kinds, and counts. Holds no lock; any thread.
 */
#include "fetch/store.h"
#include "fetch/loop.h"

#include "base/ledger.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct vx_store_ops *const kinds[] = {
    &vx_store_file_ops,    &vx_store_http_ops,     &vx_store_https_ops, &vx_store_s3_ops,
    &vx_store_s3_http_ops, &vx_store_s3_https_ops, &vx_store_gs_ops,
};

static int unknown_scheme(const char *url, size_t len, struct vx_err *e)
{
	char known[64] = "";

	for (size_t i = 0; i < VX_ARRAY_LEN(kinds); i++) {
		size_t used = strlen(known);

		snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", kinds[i]->scheme);
	}
	if (len == 0)
		return vx_fail(e, -EINVAL, "a store's URL starts with a scheme and '://'; known schemes are %s", known);
	return vx_fail(e, -EINVAL, "no store has the scheme '%.*s'; known ones are %s", (int)len, url, known);
}

/* Never quotes the URL: it may hold a password. */
static int check_url(const char *url, struct vx_err *e)
{
	size_t len = strnlen(url, VX_MAX_URL + 1);

	if (len > VX_MAX_URL)
		return vx_fail(e, -EINVAL, "a store's URL is longer than %d bytes", VX_MAX_URL);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)url[i] < 0x20 || url[i] == 0x7f)
			return vx_fail(e, -EINVAL, "a store's URL has a control character at byte %zu", i);
	return 0;
}

int vx_store_open(struct vx_store **ret, struct vx_fetcher *f, const char *url, struct vx_err *e)
{
	int r = check_url(url, e);
	const char *colon = strstr(url, "://");
	size_t len = colon ? strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.") : 0;

	if (r < 0)
		return r;
	if (!colon || url + len != colon)
		return unknown_scheme(url, 0, e);
	for (size_t i = 0; i < VX_ARRAY_LEN(kinds); i++) {
		if (strlen(kinds[i]->scheme) != len || strncasecmp(kinds[i]->scheme, url, len) != 0)
			continue;
		r = kinds[i]->open(ret, f, url, e);
		if (r < 0)
			return r;
		(*ret)->ops = kinds[i];
		(*ret)->fetcher = f;
		return 0;
	}
	return unknown_scheme(url, len < 32 ? len : 32, e);
}

void vx_store_close(struct vx_store **s)
{
	struct vx_store *old = vx_steal(*s);

	if (!old)
		return;
	assert(old->under_way == 0);
	old->ops->close(old);
}

const char *vx_store_url(const struct vx_store *s)
{
	return s->shown;
}

bool vx_store_is_local(const struct vx_store *s)
{
	return s->ops->read != NULL;
}

const char *vx_store_show(const struct vx_store *s, const char *key, char *text, size_t size)
{
	snprintf(text, size, "%.*s/%.1023s%s", (int)s->shown_len, s->shown, key, s->shown + s->shown_len);
	return text;
}

int vx_key_check(const char *key, size_t size, struct vx_err *e)
{
	size_t len = strnlen(key, size);

	if (len == size)
		return vx_fail(e, -EBADMSG, "a key is longer than %zu bytes", size - 1);
	if (len == 0 || key[0] == '/')
		return vx_fail(e, -EBADMSG, "the key '%s' is empty or does not start below its store", key);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)key[i] < 0x20 || key[i] == 0x7f)
			return vx_fail(e, -EBADMSG, "the key '%s' has a control character", key);
	return 0;
}

void vx_store_read(struct vx_store *s, struct vx_fetch *r, struct vx_fetched *got)
{
	assert(vx_store_is_local(s));
	memset(got, 0, sizeof *got);
	VX_COUNT(store_requests);
	if (vx_key_check(r->key, sizeof r->key, &got->err) == 0)
		s->ops->read(s, r, got);
	if (got->err.code)
		got->in_place = false;
	assert((got->err.code == 0) == (got->body != NULL || got->in_place));
	if (got->body || got->in_place)
		VX_COUNT_ADD(store_bytes, got->body ? got->body->len : r->into_len);
	else if (got->err.code != -ENODATA)
		VX_COUNT(store_errors);
}

void vx_store_submit(struct vx_store *s, struct vx_fetch *r)
{
	struct vx_fetched got;

	r->store = s;
	r->impl = NULL;
	r->cancelled = false;
	if (!vx_store_is_local(s)) {
		s->under_way++;
		vx_fetcher_submit(s->fetcher, r);
		return;
	}
	vx_store_read(s, r, &got);
	r->done(r, &got);
}

void vx_store_cancel(struct vx_fetch *r)
{
	if (!vx_store_is_local(r->store))
		vx_fetcher_cancel(r->store->fetcher, r);
}
