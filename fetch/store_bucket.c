/* SPDX-License-Identifier: Apache-2.0
 * Buckets: s3://bucket/path, also s3://https://endpoint/bucket/path as CloudVolume writes it and
 * s3+https://endpoint/bucket/path, and gs://bucket/path. Paths are plain text, not percent-encoded. Amazon's own hosts
 * are asked as bucket.s3.region.amazonaws.com, except for buckets with dots in their names, which no certificate
 * matches; every other endpoint has the bucket in its path. Which region a bucket is in, Amazon says itself when it is
 * asked in a wrong one.
 *
 * Constant after open, but for `region`, which is the loop's. `aim` and `recover` run on the loop's thread.
 */
#include "fetch/aim.h"
#include "fetch/loop.h"
#include "fetch/secret.h"
#include "fetch/store.h"
#include "fetch/url.h"

#include "base/limits.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define GOOGLE "https://storage.googleapis.com"

struct bucket_store {
	struct vx_store base;
	struct vx_holder *holder;
	bool google;
	bool payer;     /* the reader pays */
	char *endpoint; /* "https://host", maybe with a path; NULL: Amazon's */
	char *bucket;
	char *prefix; /* "" or "a/b" */
	char region[64];
	bool region_told; /* by the user or by Amazon, not by default */
};

static struct bucket_store *bucket_store(struct vx_store *s)
{
	return vx_container_of(s, struct bucket_store, base);
}

static void bucket_close(struct vx_store *s)
{
	struct bucket_store *bs = bucket_store(s);

	free(bs->base.shown);
	free(bs->endpoint);
	free(bs->bucket);
	free(bs->prefix);
	free(bs);
}

/* What precedes the object's path; also the bucket, where that is a part of the path. */
static void base_of(const struct bucket_store *bs, const char *region, char *text, size_t size)
{
	const char *cn = strncmp(region, "cn-", 3) == 0 ? ".cn" : "";

	if (bs->endpoint)
		snprintf(text, size, "%s/%s", bs->endpoint, bs->bucket);
	else if (strchr(bs->bucket, '.'))
		snprintf(text, size, "https://s3.%s.amazonaws.com%s/%s", region, cn, bs->bucket);
	else
		snprintf(text, size, "https://%s.s3.%s.amazonaws.com%s", bs->bucket, region, cn);
}

static int bucket_aim(struct vx_store *s, struct vx_attempt *a, struct vx_err *e)
{
	struct bucket_store *bs = bucket_store(s);
	char base[1024], key[2 * VX_MAX_URL], url[VX_MAX_URL + 1];
	struct vx_url u = {.origin = base, .path = (char[]){""}, .query = (char[]){""}};
	const char *region = bs->region;
	int r = vx_holder_use(bs->holder, time(NULL), &a->token, e);

	if (r < 0)
		return r;
	if (!bs->region_told && a->token->region)
		region = a->token->region;
	base_of(bs, region, base, sizeof base);
	snprintf(key, sizeof key, "%s%s%.1023s", bs->prefix, bs->prefix[0] ? "/" : "", a->of->fetch->key);
	r = vx_url_join(&u, key, url, sizeof url, e);
	if (r == 0 && bs->payer && !vx_attempt_header(a, "x-amz-request-payer: requester"))
		r = vx_no_memory(e);
	return r < 0 ? r : vx_aim(a, &(struct vx_aim){.url = url, .follow = bs->google, .region = region}, a->token, e);
}

/* Amazon answers 301, 307, 400 or 403 in a wrong region, and says which is right; 400 or 403 to keys that have
 * expired. Who is anonymous has nothing better. */
static bool bucket_recover(struct vx_store *s, const struct vx_attempt *a)
{
	struct bucket_store *bs = bucket_store(s);
	int status = a->answer.status;

	if (!bs->google && a->answer.region[0] && status < 404 && strcmp(a->answer.region, bs->region) != 0) {
		strcpy(bs->region, a->answer.region);
		bs->region_told = true;
		return true;
	}
	if (a->token->kind == VX_TOKEN_NONE)
		return false;
	if (status != 401 && (a->token->kind == VX_TOKEN_BEARER || (status != 400 && status != 403)))
		return false;
	return vx_holder_reject(bs->holder, a->token, time(NULL));
}

/* --- opening --- */

/* Checks "https://host" and keeps it in a tidy form. */
static int set_endpoint(struct bucket_store *bs, const char *text, struct vx_err *e)
{
	struct vx_url u;
	int r;

	if (strncasecmp(text, "http://", 7) != 0 && strncasecmp(text, "https://", 8) != 0)
		return vx_fail(e, -EINVAL, "an endpoint of a store is written https://host");
	r = vx_url_split(&u, text, e);
	if (r < 0)
		return r;
	if (u.user || u.query[0])
		r = vx_fail(e, -EINVAL, "credentials do not belong into the URL of a bucket");
	else if (strlen(u.origin) + strlen(u.path) > 600)
		r = vx_fail(e, -EINVAL, "the endpoint of a store is too long");
	else if (asprintf(&bs->endpoint, "%s%s", u.origin, u.path) < 0)
		r = vx_no_memory(e);
	if (r == -ENOMEM)
		bs->endpoint = NULL;
	vx_url_done(&u);
	return r;
}

static int s3_settings(struct bucket_store *bs, struct vx_err *e)
{
	const char *region = vx_env("AWS_REGION") ? vx_env("AWS_REGION") : vx_env("AWS_DEFAULT_REGION");
	const char *endpoint =
	    vx_env("AWS_ENDPOINT_URL_S3") ? vx_env("AWS_ENDPOINT_URL_S3") : vx_env("AWS_ENDPOINT_URL");
	const char *ignore = vx_env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), *payer = vx_env("AWS_REQUEST_PAYER");
	char value[512];

	bs->payer = payer && strcasecmp(payer, "requester") == 0;
	if (!region && vx_aws_setting("region", value, sizeof bs->region))
		region = value;
	bs->region_told = region != NULL;
	if (!region)
		region = "us-east-1";
	if (strlen(region) >= sizeof bs->region)
		return vx_fail(e, -EINVAL, "the AWS region is too long a name");
	strcpy(bs->region, region);
	if (strspn(bs->region, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(bs->region))
		return vx_fail(e, -EINVAL, "the AWS region has a character that regions do not have");
	if (bs->endpoint || (ignore && strcasecmp(ignore, "true") == 0))
		return 0;
	if (!endpoint && vx_aws_setting("endpoint_url", value, sizeof value))
		endpoint = value;
	return endpoint ? set_endpoint(bs, endpoint, e) : 0;
}

static int gs_settings(struct bucket_store *bs, struct vx_err *e)
{
	const char *emulator = vx_env("STORAGE_EMULATOR_HOST");
	char text[600];

	strcpy(bs->region, "auto");
	bs->region_told = true;
	snprintf(text, sizeof text, "%s%.500s", emulator && !strstr(emulator, "://") ? "http://" : "",
		 emulator ? emulator : GOOGLE);
	return set_endpoint(bs, text, e);
}

static int check_bucket(const char *name, size_t len, struct vx_err *e)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

	if (len < 1 || len > 222 || strspn(name, allowed) < len || name[0] == '.')
		return vx_fail(e, -EINVAL,
			       "a bucket's name has letters, digits, '.', '_' and '-' only: s3://bucket/path");
	return 0;
}

/* `rest` is "bucket/a/b". */
static int set_path(struct bucket_store *bs, const char *rest, struct vx_err *e)
{
	size_t len = strcspn(rest, "/"), prefix_len;
	const char *prefix = rest + len + strspn(rest + len, "/");
	int r = check_bucket(rest, len, e);

	if (r < 0)
		return r;
	for (prefix_len = strlen(prefix); prefix_len > 0 && prefix[prefix_len - 1] == '/';)
		prefix_len--;
	bs->bucket = strndup(rest, len);
	bs->prefix = strndup(prefix, prefix_len);
	return bs->bucket && bs->prefix ? 0 : vx_no_memory(e);
}

/* An endpoint in front of the bucket; moves *rest behind it. */
static int take_endpoint(struct bucket_store *bs, const char **rest, struct vx_err *e)
{
	const char *host = strstr(*rest, "://") + 3;
	VX_AUTO_FREE char *text = strndup(*rest, (size_t)(host - *rest) + strcspn(host, "/"));

	if (!text)
		return vx_no_memory(e);
	*rest = host + strcspn(host, "/");
	*rest += strspn(*rest, "/");
	return set_endpoint(bs, text, e);
}

static int parse(struct bucket_store *bs, const char *url, struct vx_err *e)
{
	const char *rest = strstr(url, "://") + 3;
	int r = 0;

	if (url[2] == '+') {
		rest = url + 3;
		r = take_endpoint(bs, &rest, e);
	} else if (!bs->google && (strncasecmp(rest, "http://", 7) == 0 || strncasecmp(rest, "https://", 8) == 0)) {
		r = take_endpoint(bs, &rest, e);
	}
	if (r == 0)
		r = set_path(bs, rest, e);
	if (r < 0)
		return r;
	return bs->google ? gs_settings(bs, e) : s3_settings(bs, e);
}

/* Tokens come later and are renewed all the time: for the disk cache whoever has the same credentials configured is the
 * same account. Keys that are given for a while only are left out. */
static int set_account(struct bucket_store *bs)
{
	static const char *const aws[] = {
	    "HOME",
	    "AWS_PROFILE",
	    "AWS_DEFAULT_PROFILE",
	    "AWS_SHARED_CREDENTIALS_FILE",
	    "AWS_CONFIG_FILE",
	    "AWS_ROLE_ARN",
	    "AWS_WEB_IDENTITY_TOKEN_FILE",
	    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
	    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	};
	static const char *const gs[] = {"HOME", "GOOGLE_APPLICATION_CREDENTIALS", "GS_ACCESS_KEY_ID", "BOTO_CONFIG",
					 "CLOUDSDK_CONFIG"};
	const char *const *names = bs->google ? gs : aws;
	size_t n = bs->google ? VX_ARRAY_LEN(gs) : VX_ARRAY_LEN(aws);
	const char *who[VX_ARRAY_LEN(aws) + 4];
	/* Buckets of the same name: names are unique among Amazon's regions but for these. */
	bool apart = strncmp(bs->region, "cn-", 3) == 0 || strncmp(bs->region, "us-gov-", 7) == 0;

	for (size_t i = 0; i < n; i++)
		who[i] = vx_env(names[i]);
	who[n++] = bs->google || vx_env("AWS_SESSION_TOKEN") ? NULL : vx_env("AWS_ACCESS_KEY_ID");
	who[n++] = bs->payer ? "payer" : NULL;
	who[n++] = bs->endpoint;
	who[n++] = apart ? bs->region : NULL;
	return vx_account_digest(bs->base.account, "bucket", who, n);
}

static int open_parts(struct bucket_store *bs, struct vx_fetcher *f, const char *url, struct vx_err *e)
{
	char base[1024];
	int r = parse(bs, url, e);

	if (r < 0)
		return r;
	for (bs->base.shown_len = strlen(url); url[bs->base.shown_len - 1] == '/';)
		bs->base.shown_len--;
	bs->base.shown = strndup(url, bs->base.shown_len);
	r = bs->base.shown ? vx_fetcher_start(f, e) : vx_no_memory(e);
	if (r < 0)
		return r;
	base_of(bs, bs->region, base, sizeof base);
	base[(strstr(base, "://") + 3 - base) + strcspn(strstr(base, "://") + 3, "/")] = 0;
	bs->base.host = vx_fetcher_host(f, base);
	bs->holder = vx_holder_get(f->tokens, bs->google ? vx_creds_gs : vx_creds_aws, bs->bucket);
	return bs->base.host && bs->holder && set_account(bs) == 0 ? 0 : vx_no_memory(e);
}

static int bucket_open(struct vx_store **ret, struct vx_fetcher *f, const char *url, struct vx_err *e)
{
	struct bucket_store *bs = calloc(1, sizeof *bs);
	int r;

	if (!bs)
		return vx_no_memory(e);
	bs->google = (url[0] | 0x20) == 'g';
	r = open_parts(bs, f, url, e);
	if (r < 0) {
		bucket_close(&bs->base);
		return r;
	}
	*ret = &bs->base;
	return 0;
}

#define BUCKET_OPS(name)                                                                       \
	{                                                                                      \
		.scheme = name, .open = bucket_open, .close = bucket_close, .aim = bucket_aim, \
		.recover = bucket_recover,                                                     \
	}

const struct vx_store_ops vx_store_s3_ops = BUCKET_OPS("s3");
const struct vx_store_ops vx_store_s3_http_ops = BUCKET_OPS("s3+http");
const struct vx_store_ops vx_store_s3_https_ops = BUCKET_OPS("s3+https");
const struct vx_store_ops vx_store_gs_ops = BUCKET_OPS("gs");
