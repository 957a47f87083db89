/* SPDX-License-Identifier: Apache-2.0
 * Stores behind http:// and https:// URLs: the base URL taken apart once, and how a handle is aimed at
 * one object below it. Credentials are the URL's own, or those that the user keeps for the host. Constant after open.
 * `aim` and `recover` run on the loop's thread, the rest on any.
 */
#include "fetch/aim.h"
#include "fetch/loop.h"
#include "fetch/secret.h"
#include "fetch/store.h"
#include "fetch/url.h"

#include "base/limits.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct http_store {
	struct vx_store base;
	struct vx_url url;
	struct vx_token *own;     /* the URL's user and password, or NULL */
	struct vx_holder *holder; /* NULL: nothing is kept for the host */
};

static struct http_store *http_store(struct vx_store *s)
{
	return vx_container_of(s, struct http_store, base);
}

static void http_close(struct vx_store *s)
{
	struct http_store *hs = http_store(s);

	vx_token_put(hs->own);
	vx_url_done(&hs->url);
	free(hs->base.shown);
	free(hs);
}

static int own_token(struct http_store *hs, struct vx_err *e)
{
	hs->own = vx_token_new(VX_TOKEN_BASIC);
	if (!hs->own || !(hs->own->name = strdup(hs->url.user)) ||
	    !(hs->own->secret = strdup(hs->url.password ? hs->url.password : "")))
		return vx_no_memory(e);
	return 0;
}

#define HEADERS_MAX 8

/* `t`: what is kept for the host, or NULL. */
static int set_account(struct http_store *hs, const struct vx_token *t, struct vx_err *e)
{
	const char *who[5 + HEADERS_MAX] = {hs->url.user, hs->url.password, hs->url.query, t ? t->name : NULL,
					    t ? t->secret : NULL};
	size_t n = 5;

	for (char **h = t ? t->headers : NULL; h && *h && n < VX_ARRAY_LEN(who); h++)
		who[n++] = *h;
	if (vx_account_digest(hs->base.account, hs->url.origin, who, n) < 0)
		return vx_no_memory(e);
	return 0;
}

/* Only who keeps something for this host gets a holder. */
static int find_holder(struct http_store *hs, struct vx_fetcher *f, struct vx_err *e)
{
	const char *host = strstr(hs->url.origin, "://") + 3;
	VX_AUTO_TOKEN struct vx_token *t = NULL;
	int r = vx_creds_http(f->tokens, host, &t, e);

	if (r < 0 || (t->kind == VX_TOKEN_NONE && !t->headers))
		return r;
	r = set_account(hs, t, e);
	if (r < 0)
		return r;
	hs->holder = vx_holder_get(f->tokens, vx_creds_http, host);
	return hs->holder ? 0 : vx_no_memory(e);
}

static int http_open_parts(struct http_store *hs, struct vx_fetcher *f, const char *url, struct vx_err *e)
{
	int r = vx_url_split(&hs->url, url, e);

	if (r < 0)
		return r;
	hs->base.shown_len = strlen(hs->url.origin) + strlen(hs->url.path);
	if (asprintf(&hs->base.shown, "%s%s%s", hs->url.origin, hs->url.path, hs->url.query[0] ? "?..." : "") < 0) {
		hs->base.shown = NULL;
		return vx_no_memory(e);
	}
	r = vx_fetcher_start(f, e);
	if (r < 0)
		return r;
	hs->base.host = vx_fetcher_host(f, hs->url.origin);
	if (!hs->base.host)
		return vx_no_memory(e);
	r = set_account(hs, NULL, e);
	if (r < 0)
		return r;
	return hs->url.user ? own_token(hs, e) : find_holder(hs, f, e);
}

static int http_open(struct vx_store **ret, struct vx_fetcher *f, const char *url, struct vx_err *e)
{
	struct http_store *hs = calloc(1, sizeof *hs);
	int r;

	if (!hs)
		return vx_no_memory(e);
	r = http_open_parts(hs, f, url, e);
	if (r < 0) {
		http_close(&hs->base);
		return r;
	}
	*ret = &hs->base;
	return 0;
}

static int http_aim(struct vx_store *s, struct vx_attempt *a, struct vx_err *e)
{
	struct http_store *hs = http_store(s);
	char url[VX_MAX_URL + 1];
	int r = vx_url_join(&hs->url, a->of->fetch->key, url, sizeof url, e);

	if (r == 0 && hs->holder)
		r = vx_holder_use(hs->holder, time(NULL), &a->token, e);
	if (r < 0)
		return r;
	return vx_aim(a, &(struct vx_aim){.url = url, .follow = true}, hs->own ? hs->own : a->token, e);
}

static bool http_recover(struct vx_store *s, const struct vx_attempt *a)
{
	struct http_store *hs = http_store(s);

	return a->answer.status == 401 && a->token && vx_holder_reject(hs->holder, a->token, time(NULL));
}

const struct vx_store_ops vx_store_http_ops = {
    .scheme = "http",
    .open = http_open,
    .close = http_close,
    .aim = http_aim,
    .recover = http_recover,
};

const struct vx_store_ops vx_store_https_ops = {
    .scheme = "https",
    .open = http_open,
    .close = http_close,
    .aim = http_aim,
    .recover = http_recover,
};
