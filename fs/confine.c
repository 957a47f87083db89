/* SPDX-License-Identifier: Apache-2.0
 * What is needed of the local disk: sources of file://, with the folder that each lies in (scales of Precomputed may
 * lie beside it: `../`), and the list of volumes itself.
 */
#include "fs/confine.h"
#include "fs/privileges.h"
#include "sched/cloudpath.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_URL "file://"

struct needs {
	char **path;
	unsigned n, cap;
};

static void needs_free(struct needs *k)
{
	for (unsigned i = 0; i < k->n; i++)
		free(k->path[i]);
	free(k->path);
}

static int add(struct needs *k, char *path)
{
	if (!path)
		return -ENOMEM;
	if (k->n == k->cap) {
		void *bigger = realloc(k->path, (k->cap * 2 + 8) * sizeof k->path[0]);

		if (!bigger) {
			free(path);
			return -ENOMEM;
		}
		k->path = bigger;
		k->cap = k->cap * 2 + 8;
	}
	k->path[k->n++] = path;
	return 0;
}

/* The directory of a cloudpath on a local disk. What is no cloudpath is refused where it is opened. */
static int add_cloudpath(struct needs *k, const char *cloudpath)
{
	struct vx_cloudpath c;
	int r = vx_cloudpath_parse(&c, cloudpath, NULL);

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	if (!strncmp(c.url, FILE_URL, strlen(FILE_URL)) && c.url[strlen(FILE_URL)] == '/')
		r = add(k, strdup(c.url + strlen(FILE_URL)));
	vx_cloudpath_done(&c);
	return r;
}

static int add_listed(struct needs *k, const char *config)
{
	json_t *root = json_load_file(config, 0, NULL), *v; /* what is wrong with it is said where it is read */
	size_t i;
	int r = add(k, strdup(config));

	json_array_foreach(json_object_get(root, "volumes"), i, v)
	{
		const char *source = json_string_value(json_object_get(v, "source"));

		if (source && r == 0)
			r = add_cloudpath(k, source);
	}
	json_decref(root);
	return r;
}

static int find_needs(struct needs *k, const struct vx_options *o)
{
	struct stat st;

	if (stat(o->source, &st) == 0 && S_ISREG(st.st_mode))
		return add_listed(k, o->source);
	return add_cloudpath(k, o->source);
}

static int take_identity(const struct vx_options *o, const struct needs *k, int arena, struct vx_err *e)
{
	VX_AUTO_FREE struct vx_identity_need *needs = calloc(k->n + 1, sizeof *needs);
	struct vx_identity id;
	int r;

	if (!needs)
		return vx_fail(e, -ENOMEM, "no memory");
	for (unsigned i = 0; i < k->n; i++)
		needs[i].path = k->path[i];
	r = vx_identity_choose(&id, o->runas, needs, k->n, e);
	if (r == 0 && id.change && arena >= 0 &&
	    (fchownat(arena, ".", id.uid, id.gid, 0) < 0 || fchmodat(arena, ".", 0700, 0) < 0))
		r = vx_fail(e, -errno, "cannot hand the arena to %s: %s", id.name, strerror(errno));
	return r < 0 ? r : vx_identity_take(&id, e);
}

/* The folder that a path lies in. */
static char *parent_of(const char *path)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	while (len > 0 && path[len - 1] != '/')
		len--;
	return strndup(path, len ? len : 1);
}

static int enter(const struct vx_options *o, const struct needs *k, int arena, struct vx_sandbox_report *ret,
		 struct vx_err *e)
{
	VX_AUTO_FREE struct vx_sandbox_tree *read = calloc(k->n + 1, sizeof *read);
	struct vx_sandbox_tree write = {.fd = arena};
	struct vx_sandbox s = {
	    .read = read, .nread = k->n, .write = &write, .nwrite = arena >= 0, .probe = o->sandbox_probe};
	int r = read ? 0 : -ENOMEM;

	for (unsigned i = 0; i < k->n && r == 0; i++) {
		read[i] = (struct vx_sandbox_tree){.path = parent_of(k->path[i]), .fd = -1};
		if (!read[i].path)
			r = -ENOMEM;
	}
	if (r == 0)
		r = vx_sandbox_enter(&s, ret);
	for (unsigned i = 0; read && i < k->n; i++)
		free((char *)(uintptr_t)read[i].path);
	return r < 0 ? vx_fail(e, r, "cannot enter the sandbox: %s", strerror(-r)) : 0;
}

int vx_confine(const struct vx_options *o, int arena, struct vx_sandbox_report *ret, struct vx_err *e)
{
	VX_CLEANUP(needs_free) struct needs k = {0};
	int r = find_needs(&k, o);

	if (r < 0)
		return vx_fail(e, r, "no memory");
	r = take_identity(o, &k, arena, e);
	return r < 0 ? r : enter(o, &k, arena, ret, e);
}
