/* SPDX-License-Identifier: Apache-2.0
 * One easy handle in a multi handle of its own, because only a multi can be woken from another thread.
 */
#include "fetch/ask.h"
#include "fetch/aim.h"

#include <curl/curl.h>
#include <string.h>

#define TOTAL_MS 30000L

struct vx_asker {
	CURLM *multi;
	_Atomic bool quit;
};

struct said {
	char *text; /* owned */
	size_t len;
	bool too_long;
};

int vx_asker_new(struct vx_asker **ret)
{
	struct vx_asker *a = calloc(1, sizeof *a);

	if (!a || !(a->multi = curl_multi_init())) {
		free(a);
		return -ENOMEM;
	}
	*ret = a;
	return 0;
}

void vx_asker_free(struct vx_asker **a)
{
	struct vx_asker *old = vx_steal(*a);

	if (!old)
		return;
	curl_multi_cleanup(old->multi);
	free(old);
}

void vx_asker_quit(struct vx_asker *a)
{
	a->quit = true;
	curl_multi_wakeup(a->multi);
}

void vx_asker_pause(struct vx_asker *a, int ms)
{
	if (!a->quit)
		curl_multi_poll(a->multi, NULL, 0, ms, NULL);
}

static size_t on_text(char *data, size_t one, size_t len, void *arg)
{
	struct said *s = arg;
	char *more;

	if (len > VX_MAX_SECRET_BYTES - s->len) {
		s->too_long = true;
		return 0;
	}
	more = realloc(s->text, s->len + len + 1);
	if (!more)
		return 0;
	s->text = more;
	memcpy(more + s->len, data, len);
	s->len += len;
	more[s->len] = 0;
	return len;
}

static bool set_up(CURL *easy, const struct vx_ask *q, struct curl_slist **headers)
{
	for (size_t i = 0; i < VX_ARRAY_LEN(q->headers) && q->headers[i]; i++) {
		struct curl_slist *longer = curl_slist_append(*headers, q->headers[i]);

		if (!longer)
			return false;
		*headers = longer;
	}
	vx_trust(easy);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "voxfs");
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, *headers);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, q->connect_ms ? q->connect_ms : 10000L);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, TOTAL_MS);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_text);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
	if (q->direct)
		curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	if (q->body)
		curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, q->body);
	if (q->method)
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, q->method);
	return curl_easy_setopt(easy, CURLOPT_URL, q->url) == CURLE_OK;
}

static CURLcode perform(struct vx_asker *a, CURL *easy)
{
	CURLcode code = CURLE_ABORTED_BY_CALLBACK;
	int running = 1, left;
	CURLMsg *m;

	if (curl_multi_add_handle(a->multi, easy) != CURLM_OK)
		return CURLE_OUT_OF_MEMORY;
	while (running && !a->quit) {
		if (curl_multi_perform(a->multi, &running) != CURLM_OK)
			break;
		if (running && !a->quit)
			curl_multi_poll(a->multi, NULL, 0, 1000, NULL);
	}
	while ((m = curl_multi_info_read(a->multi, &left)))
		if (m->msg == CURLMSG_DONE)
			code = m->data.result;
	curl_multi_remove_handle(a->multi, easy);
	return code;
}

/* Only the host of a URL is told: user, password and query are secrets. */
static int explain(const struct vx_ask *q, CURLcode code, const struct said *s, struct vx_err *e)
{
	const char *host = strstr(q->url, "://"), *at;
	int len;

	host = host ? host + 3 : q->url;
	len = (int)strcspn(host, "/?#");
	at = memrchr(host, '@', (size_t)len);
	if (at) {
		len -= (int)(at + 1 - host);
		host = at + 1;
	}
	if (s->too_long)
		return vx_fail(e, -EBADMSG, "%.*s answers a request for credentials with too many bytes", len, host);
	return vx_fail(e, code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EHOSTUNREACH,
		       "%.*s cannot be asked for credentials: %s", len, host, curl_easy_strerror(code));
}

int vx_asker_ask(struct vx_asker *a, const struct vx_ask *q, char **ret_text, int *ret_status, struct vx_err *e)
{
	struct curl_slist *headers = NULL;
	CURL *easy = curl_easy_init();
	struct said s = {.text = calloc(1, 1)};
	CURLcode code = CURLE_OUT_OF_MEMORY;
	long status = 0;

	if (easy && s.text && set_up(easy, q, &headers)) {
		curl_easy_setopt(easy, CURLOPT_WRITEDATA, &s);
		code = perform(a, easy);
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	}
	curl_easy_cleanup(easy);
	curl_slist_free_all(headers);
	if (code != CURLE_OK) {
		if (s.text)
			explicit_bzero(s.text, s.len);
		free(s.text);
		return a->quit ? vx_fail(e, -ECANCELED, "the fetcher has stopped") : explain(q, code, &s, e);
	}
	*ret_text = s.text;
	*ret_status = (int)status;
	return 0;
}
