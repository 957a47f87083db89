/* SPDX-License-Identifier: Apache-2.0
 * Any base URL and key, a line each. What is accepted joins to a URL of the same host, of printable characters that
 * need no further encoding, and the parts that hold secrets are not in the origin.
 */
#include "base/limits.h"
#include "fetch/url.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_join(const struct vx_url *u, const char *key)
{
	char text[VX_MAX_URL + 1];
	struct vx_err e = {0};
	size_t root = strlen(u->origin);

	if (vx_url_join(u, key, text, sizeof text, &e) < 0) {
		must(e.code < 0 && e.why[0]);
		return;
	}
	must(strlen(text) < sizeof text && strncmp(text, u->origin, root) == 0 && text[root] == '/');
	if (u->path[0] || u->query[0])
		return; /* given verbatim */
	for (const char *c = text + root; *c; c++)
		must((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
		     strchr("-._~/%", *c));
	must(!strstr(text + root, "/../") && !strstr(text + root, "/./"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *key;
	struct vx_err e = {0};
	struct vx_url u;
	char *path;

	memcpy(text, data, size);
	text[size] = 0;
	key = strchr(text, '\n');
	if (key)
		*key++ = 0;
	if (vx_url_file_path(&path, text, &e) == 0) {
		must(path[0] == '/');
		free(path);
	}
	if (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0) {
		; /* stores see to that */
	} else if (vx_url_split(&u, text, &e) == 0) {
		must(!strchr(u.origin, '@') && !strpbrk(strstr(u.origin, "://") + 3, "/?"));
		check_join(&u, key ? key : "k");
		vx_url_done(&u);
	} else {
		must(!u.origin && e.code < 0 && e.why[0]);
	}
	free(text);
	return 0;
}
