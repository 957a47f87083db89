/* SPDX-License-Identifier: Apache-2.0
 * What is needed of the local disk: sources of file://, with the folder that each lies in (scales of Precomputed may
 * lie beside it: `../`), for remote sources the places of credentials and certificates, and the disk cache.
 */
#include "fs/confine.h"
#include "fetch/fetch.h"
#include "fs/list.h"
#include "fs/privileges.h"
#include "sched/cloudpath.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_URL "file://"

struct paths {
	char **at;
	unsigned n, cap;
};

struct needs {
	struct paths sources; /* folders of local sources */
	struct paths files;   /* credentials, certificates */
	const char *cache;    /* the disk cache, or NULL */
	bool failed;
};

static void paths_free(struct paths *p)
{
	for (unsigned i = 0; i < p->n; i++)
		free(p->at[i]);
	free(p->at);
}

static void needs_free(struct needs *k)
{
	paths_free(&k->sources);
	paths_free(&k->files);
}

/* Takes over `path`, which may be NULL for want of memory. */
static int add(struct paths *p, char *path)
{
	if (!path)
		return -ENOMEM;
	if (p->n == p->cap) {
		void *bigger = realloc(p->at, (p->cap * 2 + 8) * sizeof p->at[0]);

		if (!bigger) {
			free(path);
			return -ENOMEM;
		}
		p->at = bigger;
		p->cap = p->cap * 2 + 8;
	}
	p->at[p->n++] = path;
	return 0;
}

static void add_secret(void *ctx, const char *path)
{
	struct needs *k = ctx;

	for (unsigned i = 0; i < k->files.n; i++)
		if (!strcmp(k->files.at[i], path))
			return;
	k->failed |= add(&k->files, strdup(path)) < 0;
}

/* What is no cloudpath is refused where it is opened. */
static int add_cloudpath(struct needs *k, const char *cloudpath)
{
	struct vx_cloudpath c;
	int r = vx_cloudpath_parse(&c, cloudpath, NULL);

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	if (!strncmp(c.url, FILE_URL, strlen(FILE_URL)) && c.url[strlen(FILE_URL)] == '/')
		r = add(&k->sources, strdup(c.url + strlen(FILE_URL)));
	else
		vx_fetch_secret_places(c.url, add_secret, k);
	vx_cloudpath_done(&c);
	return r < 0 || k->failed ? -ENOMEM : 0;
}

/* Takes over `root`. */
static int add_listed(struct needs *k, json_t *root)
{
	json_t *v;
	size_t i;
	int r = 0;

	json_array_foreach(json_object_get(root, "volumes"), i, v)
	{
		const char *source = json_string_value(json_object_get(v, "source"));

		if (source && r == 0)
			r = add_cloudpath(k, source);
	}
	json_decref(root);
	return r;
}

static int find_needs(struct needs *k, const struct vx_options *o, int list)
{
	struct vx_err e;
	json_t *root;

	k->cache = o->diskcache;
	if (vx_list_load(list, o->source, &root, &e) < 0)
		return 0; /* what is wrong with it is said where it is opened */
	return root ? add_listed(k, root) : add_cloudpath(k, o->source);
}

/* ---- what the mount would hide ---- */

static char *parent_of(const char *path)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	while (len > 0 && path[len - 1] != '/')
		len--;
	return len ? strndup(path, len) : strdup(".");
}

/* Of the path, or of the folder that it is to be made in. */
static char *real_path(const char *path)
{
	VX_AUTO_FREE char *folder = NULL;
	char *real = realpath(path, NULL);

	if (!real && (folder = parent_of(path)))
		real = realpath(folder, NULL);
	return real;
}

static bool is_below(const char *path, const char *top)
{
	VX_AUTO_FREE char *real = real_path(path);
	size_t len = strlen(top);

	return real && !strncmp(real, top, len) && (!real[len] || real[len] == '/');
}

/* What lies below the mount point could be reached by the first server only, and by no later one but through the mount
 * that it is to serve. */
static int refuse_hidden(const struct vx_options *o, const struct needs *k, const struct vx_inherited *h,
			 struct vx_err *e)
{
	VX_AUTO_FREE char *point = NULL, *top = NULL;
	const char *hidden = NULL;

	if (asprintf(&point, "%s/%s", o->mountpoint[0] == '/' ? "" : h->directory, o->mountpoint) < 0) {
		point = NULL;
		return vx_no_memory(e);
	}
	top = realpath(point, NULL);
	if (!top || !strcmp(top, "/"))
		return 0;
	for (unsigned i = 0; i < k->sources.n && !hidden; i++)
		hidden = is_below(k->sources.at[i], top) ? k->sources.at[i] : NULL;
	for (unsigned i = 0; i < k->files.n && !hidden; i++)
		hidden = is_below(k->files.at[i], top) ? k->files.at[i] : NULL;
	if (!hidden && k->cache && is_below(k->cache, top))
		hidden = k->cache;
	return hidden ? vx_fail(e, -EINVAL, "%s lies below the mount point, which would hide it", hidden) : 0;
}

/* ---- who the server is ---- */

static bool is_empty(DIR *dir)
{
	const struct dirent *d;
	bool empty = true;

	while (empty && (d = readdir(dir)))
		empty = !strcmp(d->d_name, ".") || !strcmp(d->d_name, "..");
	return empty;
}

/* Nobody's yet: it is given to whoever the server becomes. */
static bool is_empty_dir(const char *path)
{
	DIR *dir = opendir(path);
	bool empty = dir ? is_empty(dir) : errno == ENOENT;

	if (dir)
		closedir(dir);
	return empty;
}

/* A disk cache that is new belongs to the identity; one that is there already had a say in choosing it. What is handed
 * over is what was found empty, whatever has come to stand under the name. */
static int give_cache(const char *path, const struct vx_identity *id, struct vx_err *e)
{
	DIR *dir;
	int fd, r = 0;

	if (!is_empty_dir(path))
		return 0;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return vx_fail(e, -errno, "cannot make the folder %s: %s", path, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir || (is_empty(dir) && fchown(fd, id->uid, id->gid) < 0))
		r = vx_fail(e, -errno, "cannot hand %s to %s: %s", path, id->name, strerror(errno));
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	return r;
}

static int choose_identity(struct vx_identity *ret, const struct vx_options *o, const struct needs *k, struct vx_err *e)
{
	VX_AUTO_FREE struct vx_identity_need *needs = calloc(k->sources.n + k->files.n + 2, sizeof *needs);
	VX_AUTO_FREE char *above = k->cache ? parent_of(k->cache) : NULL;
	unsigned n = 0;

	if (!needs || (k->cache && !above))
		return vx_no_memory(e);
	for (unsigned i = 0; i < k->sources.n; i++)
		needs[n++].path = k->sources.at[i];
	for (unsigned i = 0; i < k->files.n; i++)
		if (access(k->files.at[i], F_OK) == 0)
			needs[n++].path = k->files.at[i];
	if (k->cache && !is_empty_dir(k->cache))
		needs[n++] = (struct vx_identity_need){.path = k->cache, .write = access(k->cache, W_OK) == 0};
	else if (k->cache)
		needs[n++] = (struct vx_identity_need){.path = above, .pass = true};
	return vx_identity_choose(ret, o->runas, needs, n, e);
}

static int take_identity(const struct vx_options *o, const struct needs *k, const struct vx_inherited *h,
			 struct vx_err *e)
{
	struct vx_identity id;
	int r = 0;

	if (h->uid >= 0 && h->gid >= 0)
		vx_identity_keep(&id, (uid_t)h->uid, (gid_t)h->gid);
	else
		r = choose_identity(&id, o, k, e);
	if (r == 0 && k->cache && id.change)
		r = give_cache(k->cache, &id, e);
	if (r == 0 && id.change && h->arena >= 0 &&
	    (fchownat(h->arena, ".", id.uid, id.gid, 0) < 0 || fchmodat(h->arena, ".", 0700, 0) < 0))
		r = vx_fail(e, -errno, "cannot hand the arena to %s: %s", id.name, strerror(errno));
	return r < 0 ? r : vx_identity_take(&id, e);
}

/* The folder that a source lies in, where scales of Precomputed may lie too (`../`): for somebody whom the disk's own
 * permissions bind. NULL for root, and when that would be everything. */
static char *folder_of(const char *path)
{
	char *folder = parent_of(path);
	size_t len = folder ? strlen(folder) : 0;

	while (len > 1 && folder[len - 1] == '/')
		folder[--len] = 0;
	if (len > 1 && geteuid() != 0)
		return folder;
	free(folder);
	return NULL;
}

static int enter(const struct vx_options *o, const struct needs *k, int arena, struct vx_sandbox_report *ret,
		 struct vx_err *e)
{
	VX_CLEANUP(paths_free) struct paths trees = {0};
	VX_AUTO_FREE struct vx_sandbox_tree *read = NULL;
	struct vx_sandbox_tree write[2];
	struct vx_sandbox s = {.write = write, .probe = o->sandbox_probe};
	int r = 0;

	for (unsigned i = 0; i < k->sources.n && r == 0; i++) {
		char *folder = folder_of(k->sources.at[i]);

		r = add(&trees, strdup(k->sources.at[i]));
		if (r == 0 && folder)
			r = add(&trees, folder);
	}
	for (unsigned i = 0; i < k->files.n && r == 0; i++)
		r = add(&trees, strdup(k->files.at[i]));
	read = calloc(trees.n + 1, sizeof *read);
	if (r < 0 || !read)
		return vx_no_memory(e);
	for (unsigned i = 0; i < trees.n; i++)
		read[i] = (struct vx_sandbox_tree){.path = trees.at[i], .fd = -1};
	if (arena >= 0)
		write[s.nwrite++] = (struct vx_sandbox_tree){.fd = arena};
	if (k->cache)
		write[s.nwrite++] = (struct vx_sandbox_tree){.path = k->cache, .fd = -1};
	s.read = read;
	s.nread = trees.n;
	r = vx_sandbox_enter(&s, ret);
	return r < 0 ? vx_fail(e, r, "cannot enter the sandbox: %s", strerror(-r)) : 0;
}

int vx_confine(const struct vx_options *o, struct vx_table *table, const struct vx_inherited *h,
	       struct vx_sandbox_report *ret, struct vx_err *e)
{
	VX_CLEANUP(needs_free) struct needs k = {0};
	uint8_t init[VX_TABLE_INIT_MAX];
	int r = find_needs(&k, o, h->list);

	if (r < 0)
		return vx_no_memory(e);
	if (!vx_table_init_load(table, init)) /* nothing is mounted yet */
		r = refuse_hidden(o, &k, h, e);
	if (r == 0)
		r = take_identity(o, &k, h, e);
	return r < 0 ? r : enter(o, &k, h->arena, ret, e);
}
