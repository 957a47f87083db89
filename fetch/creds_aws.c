/* SPDX-License-Identifier: Apache-2.0
 * Where keys for S3 are looked for, the first that is there counts:
 *   1. CloudVolume's BUCKET-aws-secret.json
 *   2. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   3. CloudVolume's aws-secret.json
 *   4. AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN
 *   5. the profile ($AWS_PROFILE, default) of the shared credentials file, then of the config file
 *   6. the container's endpoint (AWS_CONTAINER_CREDENTIALS_...)
 *   7. the machine's role (IMDSv2), unless AWS_EC2_METADATA_DISABLED
 * and else, or with AWS_NO_SIGN_REQUEST=YES, requests are anonymous. The thread of tokens.
 */
#include "fetch/secret.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define METADATA_MS 1000L
#define MAX_VALUE 4096

/* Takes what it is given, also on failure. */
static int make_keys(char *id, char *secret, char *session, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_TOKEN struct vx_token *t = vx_token_new(VX_TOKEN_AWS);

	if (!t) {
		vx_secret_wipe(&id);
		vx_secret_wipe(&secret);
		vx_secret_wipe(&session);
		return vx_no_memory(e);
	}
	t->name = id;
	t->secret = secret;
	t->session = session;
	if (!id || !secret)
		return vx_fail(e, -EACCES, "AWS credentials lack the key or its secret");
	if (!vx_secret_is_clean(id) || !vx_secret_is_clean(secret) || (session && !vx_secret_is_clean(session)))
		return vx_fail(e, -EACCES, "AWS credentials have control characters in them");
	*ret = vx_steal(t);
	return 0;
}

static int from_secret_file(const char *name, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_JSON json_t *j = NULL;
	int r = vx_secret_json(name, &j, e);

	if (r < 0)
		return r;
	r = make_keys(vx_secret_string(j, "AWS_ACCESS_KEY_ID"), vx_secret_string(j, "AWS_SECRET_ACCESS_KEY"),
		      vx_secret_string(j, "AWS_SESSION_TOKEN"), ret, e);
	if (r < 0)
		return vx_fail_prefix(e, "%s", name);
	(*ret)->region = vx_secret_string(j, "AWS_REGION");
	if (!(*ret)->region)
		(*ret)->region = vx_secret_string(j, "AWS_DEFAULT_REGION");
	return 0;
}

static int from_bucket_file(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	char name[300];

	snprintf(name, sizeof name, "%.255s-aws-secret.json", bucket);
	return from_secret_file(name, ret, e);
}

static int from_common_file(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	return from_secret_file("aws-secret.json", ret, e);
}

static int from_env(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	const char *id = vx_env("AWS_ACCESS_KEY_ID"), *secret = vx_env("AWS_SECRET_ACCESS_KEY");
	const char *session = vx_env("AWS_SESSION_TOKEN");

	if (!id || !secret)
		return -ENOENT;
	return make_keys(strdup(id), strdup(secret), session ? strdup(session) : NULL, ret, e);
}

/* --- profiles --- */

static const char *profile_name(void)
{
	const char *p = vx_env("AWS_PROFILE");

	return p ? p : vx_env("AWS_DEFAULT_PROFILE") ? vx_env("AWS_DEFAULT_PROFILE") : "default";
}

static int read_file(const char *variable, const char *home, char **ret, struct vx_err *e)
{
	VX_AUTO_FREE char *path = vx_secret_path(variable, home, "");

	return vx_secret_read(path, ret, e);
}

/* The section's name in the config file. */
static void config_section(const char *profile, char *text, size_t size)
{
	snprintf(text, size, "%s%s", strcmp(profile, "default") == 0 ? "" : "profile ", profile);
}

bool vx_aws_setting(const char *name, char *value, size_t size)
{
	VX_AUTO_SECRET char *text = NULL;
	char section[300];
	struct vx_err e;

	config_section(profile_name(), section, sizeof section);
	if (read_file("AWS_CONFIG_FILE", ".aws/config", &text, &e) == 0 && vx_ini_get(text, section, name, value, size))
		return true;
	vx_secret_wipe(&text);
	return read_file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", &text, &e) == 0 &&
	       vx_ini_get(text, profile_name(), name, value, size);
}

static char *ini_string(const char *text, const char *section, const char *key)
{
	char value[MAX_VALUE], *copy = NULL;

	if (vx_ini_get(text, section, key, value, sizeof value))
		copy = strdup(value);
	explicit_bzero(value, sizeof value);
	return copy;
}

static int keys_of_section(const char *text, const char *section, struct vx_token **ret, struct vx_err *e)
{
	char *id = ini_string(text, section, "aws_access_key_id");

	if (!id)
		return -ENOENT;
	return make_keys(id, ini_string(text, section, "aws_secret_access_key"),
			 ini_string(text, section, "aws_session_token"), ret, e);
}

static int from_profile(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	static const char *const other_ways[] = {"role_arn", "sso_session", "sso_start_url", "credential_process"};
	const char *profile = profile_name();
	char section[300], value[MAX_VALUE];
	VX_AUTO_SECRET char *keys = NULL, *config = NULL;
	int r = read_file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", &keys, e);

	if (r < 0 && r != -ENOENT)
		return r;
	r = read_file("AWS_CONFIG_FILE", ".aws/config", &config, e);
	if (r < 0 && r != -ENOENT)
		return r;
	config_section(profile, section, sizeof section);
	r = keys ? keys_of_section(keys, profile, ret, e) : -ENOENT;
	if (r == -ENOENT && config)
		r = keys_of_section(config, section, ret, e);
	if (r != -ENOENT)
		return r;
	for (size_t i = 0; config && i < VX_ARRAY_LEN(other_ways); i++)
		if (vx_ini_get(config, section, other_ways[i], value, sizeof value))
			return vx_fail(
			    e, -EACCES,
			    "the AWS profile '%s' gets its keys by %s, which voxfs does not do: put keys into the "
			    "environment, as `aws configure export-credentials` prints them",
			    profile, other_ways[i]);
	if (vx_env("AWS_PROFILE") && !(keys && vx_ini_has(keys, profile)) && !(config && vx_ini_has(config, section)))
		return vx_fail(e, -EACCES, "AWS_PROFILE names the profile '%s', which is in no AWS file", profile);
	return -ENOENT;
}

/* --- servers --- */

int vx_aws_keys_parse(const char *text, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_JSON json_t *j = NULL;
	const char *until;
	int r = vx_secret_parse(text, "the answer to a request for AWS credentials", &j, e);

	if (r < 0)
		return r;
	r = make_keys(vx_secret_string(j, "AccessKeyId"), vx_secret_string(j, "SecretAccessKey"),
		      vx_secret_string(j, "Token"), ret, e);
	until = json_string_value(json_object_get(j, "Expiration"));
	if (r == 0 && until)
		(*ret)->expires = vx_secret_time(until);
	return r;
}

static char *xml_text(const char *xml, const char *name)
{
	char open[64];
	const char *at, *end;

	snprintf(open, sizeof open, "<%s>", name);
	at = strstr(xml, open);
	if (!at)
		return NULL;
	at += strlen(open);
	end = strstr(at, "</");
	return end && end > at ? strndup(at, (size_t)(end - at)) : NULL;
}

int vx_aws_sts_parse(const char *xml, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_FREE char *until = xml_text(xml, "Expiration");
	int r = make_keys(xml_text(xml, "AccessKeyId"), xml_text(xml, "SecretAccessKey"), xml_text(xml, "SessionToken"),
			  ret, e);

	if (r == 0 && until)
		(*ret)->expires = vx_secret_time(until);
	return r;
}

static int refused(const char *who, int status, struct vx_err *e)
{
	return vx_fail(e, -EACCES, "%s answers a request for AWS credentials with HTTP status %d", who, status);
}

static int from_web_identity(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	const char *role = vx_env("AWS_ROLE_ARN"), *name = vx_env("AWS_ROLE_SESSION_NAME");
	const char *region = vx_env("AWS_REGION"), *sts = vx_env("AWS_ENDPOINT_URL_STS");
	VX_AUTO_SECRET char *token = NULL, *body = NULL, *text = NULL;
	char url[512];
	char *r_role, *r_token;
	int r, status;

	if (!role || !vx_env("AWS_WEB_IDENTITY_TOKEN_FILE"))
		return -ENOENT;
	r = vx_secret_read(vx_env("AWS_WEB_IDENTITY_TOKEN_FILE"), &token, e);
	if (r < 0)
		return r == -ENOENT ? vx_fail(e, -EACCES, "AWS_WEB_IDENTITY_TOKEN_FILE names no file") : r;
	token[strcspn(token, "\r\n")] = 0;
	r_role = curl_easy_escape(NULL, role, 0);
	r_token = curl_easy_escape(NULL, token, 0);
	r = asprintf(
	    &body,
	    "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=%s&RoleArn=%s&WebIdentityToken=%s",
	    name && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_=,.@-") == strlen(name)
		? name
		: "voxfs",
	    r_role ? r_role : "", r_token ? r_token : "");
	curl_free(r_role);
	curl_free(r_token);
	if (r < 0) {
		body = NULL;
		return vx_no_memory(e);
	}
	if (sts)
		snprintf(url, sizeof url, "%s", sts);
	else
		snprintf(url, sizeof url, "https://sts%s%s.amazonaws.com/", region ? "." : "", region ? region : "");
	r = vx_ask(ts, &(struct vx_ask){.url = url, .body = body}, &text, &status, e);
	if (r < 0)
		return r;
	return status == 200 ? vx_aws_sts_parse(text, ret, e) : refused("AWS STS", status, e);
}

/* Keys are asked for in the clear only where no network is between. */
static bool is_local(const char *url)
{
	static const char *const good[] = {
	    "https://",          "http://169.254.170.2/", "http://169.254.170.23/", "http://127.",
	    "http://localhost/", "http://localhost:",     "http://[::1]",           "http://[fd00:ec2::23]"};

	for (size_t i = 0; i < VX_ARRAY_LEN(good); i++)
		if (strncasecmp(url, good[i], strlen(good[i])) == 0)
			return !strchr(url, '@');
	return false;
}

static int from_container(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	const char *relative = vx_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = vx_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	const char *token = vx_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	const char *file = vx_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	VX_AUTO_SECRET char *from_file = NULL, *text = NULL, *line = NULL;
	char url[1024];
	int r = 0, status;

	if (!relative && !full)
		return -ENOENT;
	snprintf(url, sizeof url, "%s%s", relative ? "http://169.254.170.2" : "", relative ? relative : full);
	if (!is_local(url))
		return vx_fail(e, -EACCES, "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor on this machine");
	if (file) {
		r = vx_secret_read(file, &from_file, e);
		if (r < 0)
			return r == -ENOENT
				   ? vx_fail(e, -EACCES, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names no file")
				   : r;
		from_file[strcspn(from_file, "\r\n")] = 0;
		token = from_file;
	}
	if (token && asprintf(&line, "Authorization: %s", token) < 0) {
		line = NULL;
		return vx_no_memory(e);
	}
	if (line && !vx_secret_is_clean(line))
		return vx_fail(e, -EACCES, "the container's authorization token has control characters in it");
	r = vx_ask(ts, &(struct vx_ask){.url = url, .headers = {line}, .direct = true, .connect_ms = 2 * METADATA_MS},
		   &text, &status, e);
	if (r < 0)
		return r;
	return status == 200 ? vx_aws_keys_parse(text, ret, e) : refused("the container's endpoint", status, e);
}

static int ask_machine(struct vx_tokens *ts, const char *method, const char *path, const char *header, char **ret,
		       struct vx_err *e)
{
	const char *base = vx_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	struct vx_ask q = {.method = method, .headers = {header}, .connect_ms = METADATA_MS, .direct = true};
	char url[1024];
	int status, r;

	if (!base)
		base = "http://169.254.169.254";
	snprintf(url, sizeof url, "%.*s%s", (int)(strlen(base) - (base[strlen(base) - 1] == '/' ? 1 : 0)), base, path);
	q.url = url;
	r = vx_ask(ts, &q, ret, &status, e);
	if (r < 0)
		return r == -EHOSTUNREACH ? -ENOENT : r; /* not a machine of Amazon's */
	if (status == 200)
		return 0;
	vx_secret_wipe(ret);
	return status == 404 ? -ENOENT : refused("the machine's metadata service", status, e);
}

static int from_machine(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	static const char roles[] = "/latest/meta-data/iam/security-credentials/";
	const char *disabled = vx_env("AWS_EC2_METADATA_DISABLED");
	VX_AUTO_SECRET char *session = NULL, *role = NULL, *text = NULL;
	char header[600], path[400];
	int r;

	if (disabled && strcasecmp(disabled, "true") == 0)
		return -ENOENT;
	r = ask_machine(ts, "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600", &session, e);
	if (r < 0)
		return r;
	if (strlen(session) > 500 || !vx_secret_is_clean(session))
		return vx_fail(e, -EBADMSG, "the machine's metadata service answers with no token");
	snprintf(header, sizeof header, "X-aws-ec2-metadata-token: %s", session);
	r = ask_machine(ts, NULL, roles, header, &role, e);
	if (r < 0)
		return r;
	role[strcspn(role, "\r\n")] = 0;
	if (!role[0] || strlen(role) > 256 || strpbrk(role, "/?#% "))
		return vx_fail(e, -EBADMSG, "the machine's metadata service answers with no name of a role");
	snprintf(path, sizeof path, "%s%s", roles, role);
	r = ask_machine(ts, NULL, path, header, &text, e);
	return r < 0 ? r : vx_aws_keys_parse(text, ret, e);
}

int vx_creds_aws(struct vx_tokens *ts, const char *bucket, struct vx_token **ret, struct vx_err *e)
{
	static vx_token_source *const chain[] = {from_bucket_file, from_env,       from_common_file, from_web_identity,
						 from_profile,     from_container, from_machine};

	return vx_token_first(chain, vx_secret_unwanted("AWS_NO_SIGN_REQUEST") ? 0 : VX_ARRAY_LEN(chain), ts, bucket,
			      ret, e);
}
