/* SPDX-License-Identifier: Apache-2.0
 * Any text as each kind of credentials: INI, netrc, the JSON of files and of token servers, STS's XML. A token that
 * comes of it has nothing that would break out of a header line, and no error quotes the text.
 */
#include "fetch/secret.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check(int code, struct vx_token *t, const struct vx_err *e)
{
	if (code < 0) {
		must(!t && e->code == code && e->why[0]);
		return;
	}
	must(t && t->expires >= 0);
	must(!t->name || vx_secret_is_clean(t->name));
	must(!t->secret || vx_secret_is_clean(t->secret));
	must(!t->session || vx_secret_is_clean(t->session));
	for (char **h = t->headers; h && *h; h++)
		must(vx_secret_is_clean(*h) && strstr(*h, ": "));
	if (t->kind == VX_TOKEN_AWS || t->kind == VX_TOKEN_BASIC)
		must(t->name && t->secret);
	vx_token_put(t);
}

static void check_ini(const char *text)
{
	char value[64];

	if (vx_ini_get(text, "default", "aws_access_key_id", value, sizeof value)) {
		must(vx_ini_has(text, "default") && value[0] && strlen(value) < sizeof value);
		must(value[0] != ' ' && value[strlen(value) - 1] != ' ');
	}
	vx_ini_get(text, "profile x", "region", value, 2);
}

static void check_netrc(const char *text)
{
	char *login = NULL, *password = NULL;

	if (vx_netrc_find(text, "host", &login, &password))
		must(login && password && login[0] && password[0]);
	free(login);
	free(password);
}

static void check_documents(const char *text)
{
	struct vx_err e = {0};
	struct vx_token *t = NULL;
	json_t *j = NULL;
	char *jwt = NULL;
	int r;

	if (vx_secret_parse(text, "it", &j, &e) < 0)
		return;
	r = vx_http_secret_parse(j, &t, &e);
	check(r, t, &e);
	if (vx_jwt_make(j, "https://x/token", 1700000000, &jwt, &e) == 0)
		must(strlen(jwt) == strspn(jwt, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."));
	free(jwt);
	json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct vx_token *t = NULL;
	struct vx_err e = {0};
	int r;

	memcpy(text, data, size);
	text[size] = 0;
	check_ini(text);
	check_netrc(text);
	check_documents(text);
	must(vx_secret_time(text) >= 0);
	r = vx_aws_keys_parse(text, &t, &e);
	check(r, t, &e);
	t = NULL;
	r = vx_aws_sts_parse(text, &t, &e);
	check(r, t, &e);
	t = NULL;
	r = vx_oauth_parse(text, 1700000000, &t, &e);
	check(r, t, &e);
	free(text);
	return 0;
}
