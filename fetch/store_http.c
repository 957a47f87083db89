/* SPDX-License-Identifier: Apache-2.0
 * Stores behind http:// and https:// URLs: the base URL taken apart once, and how a handle is aimed at
 * one object below it. Constant after open. `aim` runs on the loop's thread, the rest on any.
 */
#include "fetch/loop.h"
#include "fetch/store.h"
#include "fetch/url.h"

#include "base/limits.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

struct http_store {
	struct vx_store base;
	struct vx_url url;
	bool tls;
};

static struct http_store *http_store(struct vx_store *s)
{
	return vx_container_of(s, struct http_store, base);
}

static void http_close(struct vx_store *s)
{
	struct http_store *hs = http_store(s);

	vx_url_done(&hs->url);
	free(hs->base.shown);
	free(hs);
}

static int http_open_parts(struct http_store *hs, struct vx_fetcher *f, const char *url, struct vx_err *e)
{
	int r = vx_url_split(&hs->url, url, e);
	const char *const who[] = {hs->url.user, hs->url.password, hs->url.query};

	if (r < 0)
		return r;
	if (vx_account_digest(hs->base.account, hs->url.origin, who, VX_ARRAY_LEN(who)) < 0)
		return vx_fail(e, -ENOMEM, "out of memory");
	hs->base.shown_len = strlen(hs->url.origin) + strlen(hs->url.path);
	if (asprintf(&hs->base.shown, "%s%s%s", hs->url.origin, hs->url.path, hs->url.query[0] ? "?..." : "") < 0) {
		hs->base.shown = NULL;
		return vx_fail(e, -ENOMEM, "out of memory");
	}
	return vx_fetcher_start(f, e);
}

static int http_open(struct vx_store **ret, struct vx_fetcher *f, const char *url, struct vx_err *e)
{
	struct http_store *hs = calloc(1, sizeof *hs);
	int r;

	if (!hs)
		return vx_fail(e, -ENOMEM, "out of memory");
	hs->tls = (url[4] | 0x20) == 's';
	r = http_open_parts(hs, f, url, e);
	if (r < 0) {
		http_close(&hs->base);
		return r;
	}
	*ret = &hs->base;
	return 0;
}

static void allow_protocols(CURL *easy, bool tls)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, tls ? "https" : "http");
	curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : "http,https");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, tls ? CURLPROTO_HTTPS : CURLPROTO_HTTP);
	curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS, tls ? CURLPROTO_HTTPS : CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
}

static int http_aim(struct vx_store *s, const struct vx_fetch *r, void *easy, struct vx_err *e)
{
	struct http_store *hs = http_store(s);
	char url[VX_MAX_URL + 1];
	int ret = vx_url_join(&hs->url, r->key, url, sizeof url, e);

	if (ret < 0)
		return ret;
	allow_protocols(easy, hs->tls);
	/* Waiting for a first connection to say whether it multiplexes pays with TLS only: without it
	 * there is no HTTP/2, and waiting would send requests one after another. */
	curl_easy_setopt(easy, CURLOPT_PIPEWAIT, hs->tls ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_USERNAME, hs->url.user);
	curl_easy_setopt(easy, CURLOPT_PASSWORD, hs->url.password);
	if (curl_easy_setopt(easy, CURLOPT_URL, url) != CURLE_OK)
		return vx_fail(e, -ENOMEM, "out of memory");
	return 0;
}

const struct vx_store_ops vx_store_http_ops = {
    .scheme = "http",
    .open = http_open,
    .close = http_close,
    .aim = http_aim,
};

const struct vx_store_ops vx_store_https_ops = {
    .scheme = "https",
    .open = http_open,
    .close = http_close,
    .aim = http_aim,
};
