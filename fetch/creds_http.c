/* SPDX-License-Identifier: Apache-2.0
 * Credentials for one HTTP server. In CloudVolume's secrets folder: HOST-secret.json, or HOST-cave-secret.json as
 * CAVE's tools write it, with the port behind the host or without; then the host's entry in $NETRC or ~/.netrc. Neither
 * a file for all servers nor netrc's default is looked for: it would tell each what is for another.
 */
#include "fetch/secret.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static int add_header(struct vx_token *t, size_t *count, const char *name, const char *value)
{
	char **more = realloc(t->headers, (*count + 2) * sizeof *more);

	if (!more)
		return -ENOMEM;
	t->headers = more;
	more[*count] = more[*count + 1] = NULL;
	if (asprintf(&more[*count], "%s: %s", name, value) < 0) {
		more[*count] = NULL;
		return -ENOMEM;
	}
	++*count;
	return 0;
}

static bool is_header_name(const char *name)
{
	return name[0] &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == strlen(name);
}

static int add_headers(struct vx_token *t, json_t *headers, struct vx_err *e)
{
	const char *name;
	size_t count = 0;
	json_t *value;

	json_object_foreach(headers, name, value)
	{
		const char *text = json_string_value(value);

		if (!text || !is_header_name(name) || !vx_secret_is_clean(text))
			return vx_fail(e, -EBADMSG, "a header in an HTTP secret is malformed");
		if (add_header(t, &count, name, text) < 0)
			return vx_no_memory(e);
	}
	return 0;
}

int vx_http_secret_parse(const json_t *j, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_TOKEN struct vx_token *t = vx_token_new(VX_TOKEN_NONE);
	json_t *headers = json_object_get(j, "headers");
	int r;

	if (!t)
		return vx_no_memory(e);
	r = json_is_object(headers) ? add_headers(t, headers, e) : 0;
	if (r < 0)
		return r;
	if ((t->secret = vx_secret_string(j, "token"))) {
		t->kind = VX_TOKEN_BEARER;
	} else if ((t->name = vx_secret_string(j, "user"))) {
		t->kind = VX_TOKEN_BASIC;
		t->secret = vx_secret_string(j, "password");
	}
	if (t->kind == VX_TOKEN_BASIC && !t->secret)
		return vx_fail(e, -EACCES, "an HTTP secret has a user but no password");
	if (t->kind == VX_TOKEN_NONE && !t->headers)
		return vx_fail(e, -EACCES, "an HTTP secret has neither a token, nor user and password, nor headers");
	*ret = vx_steal(t);
	return 0;
}

/* The next word; false at the end. */
static bool next_word(const char **at, char *word, size_t size)
{
	size_t len;

	*at += strspn(*at, " \t\r\n");
	len = strcspn(*at, " \t\r\n");
	snprintf(word, size, "%.*s", (int)len, *at);
	*at += len;
	return len > 0;
}

bool vx_netrc_find(const char *text, const char *host, char **ret_login, char **ret_password)
{
	char word[300], login[300] = "", password[300] = "";
	bool ours = false, found;

	while (next_word(&text, word, sizeof word)) {
		bool machine = strcmp(word, "machine") == 0;

		if ((machine || strcmp(word, "default") == 0) && ours)
			break;
		if (machine)
			ours = next_word(&text, word, sizeof word) && strcasecmp(word, host) == 0;
		else if (strcmp(word, "login") == 0 || strcmp(word, "user") == 0)
			next_word(&text, ours ? login : word, sizeof word);
		else if (strcmp(word, "password") == 0)
			next_word(&text, ours ? password : word, sizeof word);
		else if (strcmp(word, "macdef") == 0) /* until an empty line */
			text = strstr(text, "\n\n") ? strstr(text, "\n\n") : text + strlen(text);
	}
	found = ours && login[0] && password[0];
	if (found) {
		*ret_login = strdup(login);
		*ret_password = strdup(password);
	}
	explicit_bzero(password, sizeof password);
	return found;
}

static int from_netrc(const char *host, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_FREE char *path = vx_secret_path("NETRC", ".netrc", "");
	VX_AUTO_SECRET char *text = NULL, *login = NULL, *password = NULL;
	VX_AUTO_TOKEN struct vx_token *t = NULL;

	/* Others' business: a netrc that cannot be read is as good as none. */
	if (vx_secret_read(path, &text, e) < 0 || !vx_netrc_find(text, host, &login, &password))
		return -ENOENT;
	t = vx_token_new(VX_TOKEN_BASIC);
	if (!t || !login || !password)
		return vx_no_memory(e);
	t->name = vx_steal(login);
	t->secret = vx_steal(password);
	*ret = vx_steal(t);
	return 0;
}

static int from_file(const char *host, int len, bool cave, struct vx_token **ret, struct vx_err *e)
{
	VX_AUTO_JSON json_t *j = NULL;
	char name[300];
	int r;

	snprintf(name, sizeof name, "%.*s%s-secret.json", len, host, cave ? "-cave" : "");
	r = vx_secret_json(name, &j, e);
	if (r == 0)
		r = vx_http_secret_parse(j, ret, e);
	return r < 0 && r != -ENOENT ? vx_fail_prefix(e, "%s", name) : r;
}

int vx_creds_http(struct vx_tokens *ts, const char *host, struct vx_token **ret, struct vx_err *e)
{
	int whole = (int)strnlen(host, 255), bare = host[0] == '[' ? whole : (int)strcspn(host, ":");
	VX_AUTO_FREE char *name = strndup(host, (size_t)vx_min_u64((uint64_t)bare, 255));
	int r = -ENOENT;

	if (!name)
		return vx_no_memory(e);
	for (int i = 0; i < 4 && r == -ENOENT; i++)
		if (i < 2 || bare < whole)
			r = from_file(host, i < 2 ? whole : bare, i % 2, ret, e);
	if (r == -ENOENT)
		r = from_netrc(name, ret, e);
	return r != -ENOENT ? r : vx_token_first(NULL, 0, ts, host, ret, e);
}
