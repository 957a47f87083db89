/* SPDX-License-Identifier: Apache-2.0
 * How each kind of token enters a request. libcurl signs for S3 (its version 7.88 signs every header line of ours, the
 * session token among them, and takes the path as it is: ours is canonical, see vx_url_join). Requests that are
 * signed, or have secret header lines, never follow redirects: those are for one host and for nobody else. Of a bearer
 * token or password curl itself takes care.
 */
#include "fetch/aim.h"

#include "base/limits.h"
#include "fetch/secret.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* What may be redirected to must be among what may be asked for, too. */
static void allow_protocols(CURL *easy, bool tls)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, tls ? "https" : "http,https");
	curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : "http,https");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, tls ? CURLPROTO_HTTPS : CURLPROTO_HTTP | CURLPROTO_HTTPS);
	curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS, tls ? CURLPROTO_HTTPS : CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
}

/* A header line with a secret in it, which is wiped afterwards; curl keeps a copy until the attempt is over. */
static bool secret_header(struct vx_attempt *a, const char *name, const char *value)
{
	VX_AUTO_FREE char *line = NULL;
	bool ok;

	if (asprintf(&line, "%s: %s", name, value) < 0) {
		line = NULL;
		return false;
	}
	ok = vx_attempt_header(a, line);
	explicit_bzero(line, strlen(line));
	return ok;
}

/* Of no bytes. S3 wants it, and curl 7.88 does not say it by itself, but signs and uses it when it is there. */
#define BODY_HASH "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static bool sign(struct vx_attempt *a, const char *region, const struct vx_token *t)
{
	char how[96];

	snprintf(how, sizeof how, "aws:amz:%.63s:s3", region);
	return curl_easy_setopt(a->easy, CURLOPT_AWS_SIGV4, how) == CURLE_OK && vx_attempt_header(a, BODY_HASH) &&
	       curl_easy_setopt(a->easy, CURLOPT_USERNAME, t->name) == CURLE_OK &&
	       curl_easy_setopt(a->easy, CURLOPT_PASSWORD, t->secret) == CURLE_OK &&
	       (!t->session || secret_header(a, "x-amz-security-token", t->session));
}

static bool use_token(struct vx_attempt *a, const char *region, const struct vx_token *t)
{
	for (char **h = t->headers; h && *h; h++)
		if (!vx_attempt_header(a, *h))
			return false;
	switch (t->kind) {
	case VX_TOKEN_NONE:
		return true;
	case VX_TOKEN_AWS:
		return sign(a, region, t);
	case VX_TOKEN_BEARER: {
		VX_AUTO_FREE char *value = NULL;
		bool ok;

		if (asprintf(&value, "Bearer %s", t->secret) < 0) {
			value = NULL;
			return false;
		}
		ok = secret_header(a, "Authorization", value);
		explicit_bzero(value, strlen(value));
		return ok;
	}
	case VX_TOKEN_BASIC:
		return curl_easy_setopt(a->easy, CURLOPT_USERNAME, t->name) == CURLE_OK &&
		       curl_easy_setopt(a->easy, CURLOPT_PASSWORD, t->secret) == CURLE_OK;
	}
	return false;
}

void vx_trust(CURL *easy)
{
	static const char *const files[] = {"CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"};
	const char *dir = vx_env("SSL_CERT_DIR");

	for (size_t i = 0; i < VX_ARRAY_LEN(files); i++) {
		const char *file = vx_env(files[i]);

		if (file) {
			curl_easy_setopt(easy, CURLOPT_CAINFO, file);
			break;
		}
	}
	if (dir)
		curl_easy_setopt(easy, CURLOPT_CAPATH, dir);
}

int vx_aim(struct vx_attempt *a, const struct vx_aim *w, const struct vx_token *t, struct vx_err *e)
{
	bool tls = strncasecmp(w->url, "https:", 6) == 0, signs = t && t->kind == VX_TOKEN_AWS;

	allow_protocols(a->easy, tls);
	/* Waiting for a first connection to say whether it multiplexes pays with TLS only: without it
	 * there is no HTTP/2, and waiting would send requests one after another. */
	curl_easy_setopt(a->easy, CURLOPT_PIPEWAIT, tls ? 1L : 0L);
	curl_easy_setopt(a->easy, CURLOPT_FOLLOWLOCATION, w->follow && !signs && !(t && t->headers) ? 1L : 0L);
	curl_easy_setopt(a->easy, CURLOPT_AWS_SIGV4, NULL);
	curl_easy_setopt(a->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
	curl_easy_setopt(a->easy, CURLOPT_USERNAME, NULL);
	curl_easy_setopt(a->easy, CURLOPT_PASSWORD, NULL);
	if ((t && !use_token(a, w->region, t)) || curl_easy_setopt(a->easy, CURLOPT_URL, w->url) != CURLE_OK)
		return vx_no_memory(e);
	return 0;
}
