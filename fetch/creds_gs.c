/* SPDX-License-Identifier: Apache-2.0
 * Where credentials for Google's storage are looked for, the first that is there counts:
 *   1. CloudVolume's BUCKET-google-secret.json
 *   2. the file that GOOGLE_APPLICATION_CREDENTIALS names
 *   3. CloudVolume's google-secret.json
 *   4. HMAC keys: GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY, or gsutil's in $BOTO_CONFIG or ~/.boto
 *   5. what `gcloud auth application-default login` has left
 *   6. the machine's service account (metadata server), unless NO_GCE_CHECK
 * and else, or with GS_NO_SIGN_REQUEST=YES, requests are anonymous. Files are service accounts or users' refresh
 * tokens. The thread of tokens.
 */
#include "fetch/secret.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define METADATA_MS 1000L
#define TOKEN_URI "https://oauth2.googleapis.com/token"

int vx_oauth_parse(const char *text, int64_t now, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_TOKEN struct vx_token *t = vx_token_new(VX_TOKEN_BEARER);
	VX_AUTO_JSON json_t *j = NULL;
	int64_t seconds;
	int r;

	if (!t)
		return vx_no_memory(e);
	r = vx_secret_parse(text, "the answer to a request for a Google token", &j, e);
	if (r < 0)
		return r;
	t->secret = vx_secret_string(j, "access_token");
	if (!t->secret)
		return vx_fail(e, -EBADMSG, "the answer to a request for a Google token has none");
	seconds = json_integer_value(json_object_get(j, "expires_in"));
	if (seconds > 0 && seconds < 1000000000)
		t->expires = now + seconds;
	*ret = vx_steal(t);
	return 0;
}

/* Where keys may be sent: never in the clear, but to this machine. */
static bool is_token_uri(const char *uri)
{
	/* What stands before an @ is no host. */
	return !strchr(uri, '@') &&
	       (strncasecmp(uri, "https://", 8) == 0 || strncasecmp(uri, "http://127.0.0.1:", 17) == 0);
}

static int ask_token(struct vx_tokens *ts, const char *uri, const char *body, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_SECRET char *text = NULL;
	int status, r = vx_ask(ts, &(struct vx_ask){.url = uri, .body = body}, &text, &status, e);

	if (r < 0)
		return r;
	if (status != 200)
		return vx_fail(e, status >= 500 ? -EIO : -EACCES,
			       "Google's token server answers with HTTP status %d: the credentials are refused",
			       status);
	return vx_oauth_parse(text, time(NULL), ret, e);
}

static int by_service_account(struct vx_tokens *ts, const json_t *j, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_FREE char *uri = vx_secret_string(j, "token_uri");
	VX_AUTO_SECRET char *jwt = NULL, *body = NULL;
	const char *to = uri ? uri : TOKEN_URI;
	int r;

	if (!is_token_uri(to))
		return vx_fail(e, -EACCES, "the token_uri of a service account is not https");
	r = vx_jwt_make(j, to, time(NULL), &jwt, e);
	if (r < 0)
		return r;
	if (asprintf(&body, "grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Ajwt-bearer&assertion=%s", jwt) <
	    0) {
		body = NULL;
		return vx_no_memory(e);
	}
	return ask_token(ts, to, body, ret, e);
}

static int by_refresh_token(struct vx_tokens *ts, const json_t *j, struct vx_token **ret, struct vx_err *e)
{
	static const char *const names[] = {"client_id", "client_secret", "refresh_token"};
	VX_AUTO_FREE char *uri = vx_secret_string(j, "token_uri");
	VX_AUTO_SECRET char *body = strdup("grant_type=refresh_token");
	const char *to = uri ? uri : TOKEN_URI;

	for (size_t i = 0; i < VX_ARRAY_LEN(names); i++) {
		VX_AUTO_SECRET char *value = vx_secret_string(j, names[i]), *shorter = vx_steal(body);
		char *escaped;
		int r;

		if (!value)
			return vx_fail(e, -EACCES, "a Google credentials file has no %s", names[i]);
		escaped = curl_easy_escape(NULL, value, 0);
		r = asprintf(&body, "%s&%s=%s", shorter ? shorter : "", names[i], escaped ? escaped : "");
		curl_free(escaped);
		if (r < 0) {
			body = NULL;
			return vx_no_memory(e);
		}
	}
	if (!is_token_uri(to))
		return vx_fail(e, -EACCES, "the token_uri of a Google credentials file is not https");
	return ask_token(ts, to, body, ret, e);
}

static int by_document(struct vx_tokens *ts, const json_t *j, struct vx_token **ret, struct vx_err *e)
{
	const char *type = json_string_value(json_object_get(j, "type"));

	if (type && strcmp(type, "service_account") == 0)
		return by_service_account(ts, j, ret, e);
	if (type && strcmp(type, "authorized_user") == 0)
		return by_refresh_token(ts, j, ret, e);
	return vx_fail(e, -EACCES,
		       "a Google credentials file has the type '%.40s'; voxfs reads service_account and "
		       "authorized_user",
		       type ? type : "");
}

static int by_file(struct vx_tokens *ts, const char *path, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_SECRET char *text = NULL;
	VX_AUTO_JSON json_t *j = NULL;
	int r = vx_secret_read(path, &text, e);

	if (r == 0)
		r = vx_secret_parse(text, path, &j, e);
	return r < 0 ? r : by_document(ts, j, ret, e);
}

static int by_secret(struct vx_tokens *ts, const char *name, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_JSON json_t *j = NULL;
	int r = vx_secret_json(name, &j, e);

	return r < 0 ? r : by_document(ts, j, ret, e);
}

static int from_bucket_file(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	char name[300];

	snprintf(name, sizeof name, "%.255s-google-secret.json", bucket);
	return by_secret(ts, name, ret, e);
}

static int from_env(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	const char *path = vx_env("GOOGLE_APPLICATION_CREDENTIALS");
	int r;

	if (!path)
		return -ENOENT;
	r = by_file(ts, path, ret, e);
	return r == -ENOENT ? vx_fail(e, -EACCES, "GOOGLE_APPLICATION_CREDENTIALS names no file") : r;
}

static int from_common_file(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	return by_secret(ts, "google-secret.json", ret, e);
}

static int make_hmac(const char *id, const char *secret, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_TOKEN struct vx_token *t = vx_token_new(VX_TOKEN_AWS);

	if (!t || !(t->name = strdup(id)) || !(t->secret = strdup(secret)))
		return vx_no_memory(e);
	*ret = vx_steal(t);
	return 0;
}

static int from_hmac(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	const char *id = vx_env("GS_ACCESS_KEY_ID"), *secret = vx_env("GS_SECRET_ACCESS_KEY");
	VX_AUTO_FREE char *path = vx_secret_path("BOTO_CONFIG", ".boto", "");
	VX_AUTO_SECRET char *text = NULL;
	char file_id[256], file_secret[256];
	int r;

	if (id && secret)
		return make_hmac(id, secret, ret, e);
	r = vx_secret_read(path, &text, e);
	if (r < 0)
		return r;
	if (!vx_ini_get(text, "Credentials", "gs_access_key_id", file_id, sizeof file_id) ||
	    !vx_ini_get(text, "Credentials", "gs_secret_access_key", file_secret, sizeof file_secret))
		return -ENOENT;
	r = make_hmac(file_id, file_secret, ret, e);
	explicit_bzero(file_secret, sizeof file_secret);
	return r;
}

static int from_gcloud(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_FREE char *path =
	    vx_secret_path("CLOUDSDK_CONFIG", ".config/gcloud", "application_default_credentials.json");

	return by_file(ts, path, ret, e);
}

static int from_machine(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	static const char path[] = "/computeMetadata/v1/instance/service-accounts/default/token";
	const char *host = vx_env("GCE_METADATA_HOST"), *no = vx_env("NO_GCE_CHECK");
	VX_AUTO_SECRET char *text = NULL;
	char url[512];
	int status, r;

	if (no && strcasecmp(no, "true") == 0)
		return -ENOENT;
	snprintf(url, sizeof url, "http://%.255s%s", host ? host : "metadata.google.internal", path);
	r = vx_ask(ts,
		   &(struct vx_ask){
		       .url = url, .headers = {"Metadata-Flavor: Google"}, .direct = true, .connect_ms = METADATA_MS},
		   &text, &status, e);
	if (r < 0)
		return r == -EHOSTUNREACH ? -ENOENT : r; /* not a machine of Google's */
	if (status == 404)
		return -ENOENT; /* one without a service account */
	if (status != 200)
		return vx_fail(e, -EACCES, "the machine's metadata server answers with HTTP status %d", status);
	return vx_oauth_parse(text, time(NULL), ret, e);
}

int vx_creds_gs(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	static vx_token_source *const chain[] = {from_bucket_file, from_env,    from_common_file,
						 from_hmac,        from_gcloud, from_machine};

	return vx_token_first(chain, vx_secret_unwanted("GS_NO_SIGN_REQUEST") ? 0 : VX_ARRAY_LEN(chain), ts, bucket,
			      ret, e);
}
