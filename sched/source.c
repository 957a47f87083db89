/* SPDX-License-Identifier: Apache-2.0
 * From a cloudpath to open volumes: which format it is, and what their names are.
 */
#include "sched/source.h"
#include "sched/docs.h"
#include "sched/opening.h"

#include <stdio.h>
#include <string.h>

/* ---- sources ---- */

static void leave_store(struct vx_store **store, unsigned *users)
{
	if (!users || --*users)
		return;
	vx_store_close(store);
	free(users);
}

void vx_source_close(struct vx_source **ps)
{
	struct vx_source *s = vx_steal(*ps);

	if (!s)
		return;
	for (uint32_t t = 0; s->times && t < s->meta->times; t++)
		vx_source_close(&s->times[t]);
	free(s->times);
	for (unsigned i = 0; s->info && i < s->meta->nscales; i++)
		free(s->info[i]);
	free(s->info);
	if (!s->volume) {
		leave_store(&s->store, s->store_users);
		vx_volume_free(&s->meta);
		free(s->name);
		free(s->url);
	}
	free(s);
}

struct vx_source *vx_source_find(struct vx_source *const *at, unsigned n, uint32_t id)
{
	for (unsigned i = 0; i < n; i++) {
		if (at[i]->id == id)
			return at[i];
		/* time points come right behind their volume */
		if (at[i]->times && id > at[i]->id && id - at[i]->id <= at[i]->meta->times)
			return at[i]->times[id - at[i]->id - 1];
	}
	return NULL;
}

const char *vx_source_info(struct vx_source *s, unsigned mip)
{
	uint32_t time = s->times ? VX_ALL_TIMES : s->time;
	char *old = atomic_load(&s->info[mip]), *made;

	if (old)
		return old;
	made = vx_info_json(s->meta, mip, time, s->name, s->url);
	if (!made || atomic_compare_exchange_strong(&s->info[mip], &old, made))
		return made;
	free(made); /* another thread was quicker */
	return old;
}

static struct vx_source *time_point(const struct vx_source *volume, uint32_t time, uint32_t id)
{
	struct vx_source *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->id = id;
	s->name = volume->name;
	s->url = volume->url;
	s->meta = volume->meta;
	s->store = volume->store;
	s->fill_missing = volume->fill_missing;
	s->time = time;
	s->volume = (struct vx_source *)volume;
	s->info = calloc(s->meta->nscales, sizeof *s->info);
	if (!s->info)
		vx_source_close(&s);
	return s;
}

static int add_times(struct vx_source *s, struct vx_sources *to, struct vx_err *e)
{
	if (s->meta->times > 1) {
		if (s->meta->times > VX_MAX_SOURCE_ID - to->next_id)
			return vx_fail(e, -EFBIG, "all volumes together have too many time points");
		s->times = calloc(s->meta->times, sizeof *s->times);
	}
	for (uint32_t t = 0; s->meta->times > 1 && t < s->meta->times; t++) {
		bool absent = s->meta->time_absent && s->meta->time_absent[t];
		struct vx_source *one = s->times && !absent ? time_point(s, t, to->next_id) : NULL;

		if (!s->times || (!one && !absent))
			return vx_no_memory(e);
		s->times[t] = one;
		to->next_id++; /* also of one that is not there: ids tell time points */
	}
	return 0;
}

static int append(struct vx_sources *to, struct vx_source *s, struct vx_err *e)
{
	struct vx_source **more;

	for (unsigned i = 0; i < to->n; i++)
		if (!strcmp(to->at[i]->name, s->name))
			return vx_fail(e, -EINVAL, "two volumes are named \"%s\"", s->name);
	if (to->n == VX_MAX_VOLUMES)
		return vx_fail(e, -EFBIG, "more than %d volumes are not supported", VX_MAX_VOLUMES);
	more = realloc(to->at, (to->n + 1) * sizeof *more);
	if (!more)
		return vx_no_memory(e);
	to->at = more;
	to->at[to->n++] = s;
	return 0;
}

/* ---- names ---- */

static bool is_good_name(const char *name)
{
	size_t len = strlen(name);

	return len && len <= VX_MAX_NAME && name[0] != '.' && !strchr(name, '/');
}

/* "em", or "em-labels-cells" where the suffix is "labels/cells". */
static char *volume_name(const char *name, const char *suffix)
{
	char *ret;

	if (asprintf(&ret, "%s%s%s", name, suffix[0] ? "-" : "", suffix) < 0)
		return NULL;
	for (char *c = ret; *c; c++)
		if (*c == '/')
			*c = '-';
		else if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '_';
	return ret;
}

static bool is_taken(const struct vx_opening *o, const char *name)
{
	for (unsigned i = o->before; i < o->to->n; i++)
		if (!strcmp(o->to->at[i]->name, name))
			return true;
	return false;
}

/* Within one cloudpath "a/b" and "a-b" may both be there: the second is told apart by a number. */
static char *free_name(const struct vx_opening *o, const char *suffix)
{
	char *base = volume_name(o->name, suffix), *name = base ? strdup(base) : NULL;

	for (unsigned i = 2; name && is_taken(o, name); i++) {
		free(name);
		if (asprintf(&name, "%s-%u", base, i) < 0)
			name = NULL;
	}
	free(base);
	return name;
}

/* ---- what the formats' openers use ---- */

char *vx_opening_key(const struct vx_opening *o, const char *dir)
{
	return vx_path_join(o->path.inner, dir);
}

bool vx_opening_may_go_on(int code)
{
	return code == -ENODATA || code == -EBADMSG || code == -EOPNOTSUPP || code == -EFBIG || code == -ENOENT ||
	       code == -EISDIR;
}

/* Some servers answer anything with a page of HTML. */
static bool may_be_object(const struct vx_buf *b)
{
	size_t i = b->len >= 3 && !memcmp(b->data, "\xef\xbb\xbf", 3) ? 3 : 0;

	while (i < b->len && strchr(" \t\r\n", b->data[i]) && b->data[i])
		i++;
	return i < b->len && b->data[i] == '{';
}

int vx_opening_read(struct vx_opening *o, const char *dir, const char *name, struct vx_buf **ret, struct vx_err *e)
{
	VX_AUTO_FREE char *at = vx_opening_key(o, dir), *key = at ? vx_path_join(at, name) : NULL;
	int r;

	if (!key)
		return vx_no_memory(e);
	r = vx_doc_read(o->store, key, VX_MAX_METADATA_BYTES, ret, e);
	if (r == -EACCES) {
		if (!o->denied.code)
			o->denied = *e;
		return -ENODATA;
	}
	if (r == 0 && !o->forced && !may_be_object(*ret)) {
		vx_doc_distrust(o->store, key);
		vx_buf_put(vx_steal(*ret));
		vx_fail(e, -EBADMSG, "%s/%s is not JSON", vx_store_url(o->store), key);
		if (!o->denied.code)
			o->denied = *e;
		return -ENODATA;
	}
	return r;
}

int vx_opening_parsed(struct vx_opening *o, const char *dir, const char *name, int r)
{
	VX_AUTO_FREE char *at = r == -EBADMSG ? vx_opening_key(o, dir) : NULL,
			  *key = at ? vx_path_join(at, name) : NULL;

	if (key)
		vx_doc_distrust(o->store, key);
	return r;
}

int vx_opening_add(struct vx_opening *o, const char *suffix, struct vx_volume *v, struct vx_err *e)
{
	struct vx_source *s = calloc(1, sizeof *s);
	int r;

	if (!s) {
		vx_volume_free(&v);
		return vx_no_memory(e);
	}
	s->meta = v;
	s->fill_missing = o->spec->fill_missing;
	s->name = free_name(o, suffix);
	s->url = strdup(vx_store_url(o->store));
	s->info = calloc(v->nscales, sizeof *s->info);
	if (!s->name || !s->url || !s->info)
		r = vx_no_memory(e);
	else if (!is_good_name(s->name))
		r = vx_fail(e, -EINVAL, "\"%s\" is no name for a volume: give one with name=", s->name);
	else if (o->to->next_id >= VX_MAX_SOURCE_ID)
		r = vx_fail(e, -EFBIG, "all volumes together have too many time points");
	else
		r = 0;
	if (r == 0) {
		s->store = o->store;
		s->store_users = o->store_users;
		++*s->store_users;
		s->id = o->to->next_id++;
		r = add_times(s, o->to, e);
	}
	if (r == 0)
		r = append(o->to, s, e);
	if (r < 0)
		vx_source_close(&s);
	return r;
}

/* ---- Precomputed ---- */

/* Its keys may lead upwards, out of the volume's directory, so an inner path becomes part of them. */
static int move_keys(struct vx_volume *v, const char *inner, struct vx_err *e)
{
	for (unsigned i = 0; inner[0] && i < v->nscales; i++) {
		char *key = v->scales[i].key ? vx_path_join(inner, v->scales[i].key) : NULL;

		if (v->scales[i].key && !key)
			return vx_no_memory(e);
		free(v->scales[i].key);
		v->scales[i].key = key;
	}
	return 0;
}

static int open_precomputed(struct vx_opening *o, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *text = NULL;
	struct vx_volume *v = NULL;
	int r = vx_opening_read(o, "", "info", &text, e);

	if (r == -ENODATA)
		return 0;
	if (r < 0)
		return r;
	r = vx_opening_parsed(o, "", "info", vx_precomputed_parse((const char *)text->data, text->len, &v, e));
	if (r < 0)
		return vx_fail_prefix(e, "%s/info", vx_store_url(o->store));
	r = move_keys(v, o->path.inner, e);
	if (r < 0) {
		vx_volume_free(&v);
		return r;
	}
	r = vx_opening_add(o, "", v, e);
	return r < 0 ? r : 1;
}

/* ---- which format ---- */

static int nothing_found(const struct vx_opening *o, struct vx_err *e)
{
	static const char *const sentences[] = {
	    [VX_PRECOMPUTED] = "has no `info` document: not a Precomputed volume",
	    [VX_ZARR] =
		"has neither `zarr.json` nor `.zarray`, `.zattrs` or `.zgroup`: neither an array nor a group of Zarr",
	    [VX_ZARR2] = "has neither `.zarray` nor `.zattrs` or `.zgroup`: neither an array nor a group of Zarr v2",
	    [VX_ZARR3] = "has no `zarr.json`: neither an array nor a group of Zarr v3",
	    [VX_N5] = "has no `attributes.json` of a dataset, and no s0 or setup0 with one: no dataset or group of N5",
	    [VX_ANY_FORMAT] =
		("is no volume: there is no `info` (Precomputed), no `zarr.json`, `.zarray`, `.zattrs` or "
		 "`.zgroup` (Zarr), and no `attributes.json` (N5)"),
	};
	const char *slash = o->path.inner[0] ? "/" : "";

	if (o->denied.code) {
		*e = o->denied;
		return e->code;
	}
	return vx_fail(e, -ENOENT, "%s%s%s %s", vx_store_url(o->store), slash, o->path.inner,
		       sentences[o->path.format]);
}

static bool ends(const char *name, const char *with)
{
	size_t n = strlen(name), m = strlen(with);

	return n >= m && !strcmp(name + n - m, with);
}

typedef int (*opener)(struct vx_opening *o, struct vx_err *e);

/* What the name suggests comes first, to save requests. */
static int open_any(struct vx_opening *o, struct vx_err *e)
{
	static const opener usual[] = {open_precomputed, vx_open_zarr, vx_open_n5};
	VX_AUTO_FREE char *name = vx_cloudpath_name(&o->path);
	opener hint = name && ends(name, ".zarr") ? vx_open_zarr
		      : name && ends(name, ".n5") ? vx_open_n5
						  : open_precomputed;
	int r = hint(o, e);

	for (unsigned i = 0; r == 0 && i < VX_ARRAY_LEN(usual); i++)
		if (usual[i] != hint)
			r = usual[i](o, e);
	return r;
}

static int open_wanted(struct vx_opening *o, struct vx_err *e)
{
	o->forced = o->path.format == VX_PRECOMPUTED || o->path.format == VX_ZARR3 || o->path.format == VX_N5;
	switch (o->path.format) {
	case VX_PRECOMPUTED:
		return open_precomputed(o, e);
	case VX_ZARR:
	case VX_ZARR2:
	case VX_ZARR3:
		return vx_open_zarr(o, e);
	case VX_N5:
		return vx_open_n5(o, e);
	case VX_ANY_FORMAT:
		break;
	}
	return open_any(o, e);
}

static int open_path(struct vx_opening *o, struct vx_err *e)
{
	int r;

	o->store_users = malloc(sizeof *o->store_users);
	if (!o->store_users)
		return vx_no_memory(e);
	*o->store_users = 1;
	r = vx_store_open(&o->store, o->fetcher, o->path.url, e);
	if (r < 0)
		return r;
	o->name = o->spec->name ? strdup(o->spec->name) : vx_cloudpath_name(&o->path);
	if (!o->name)
		return vx_no_memory(e);
	if (!is_good_name(o->name))
		return vx_fail(e, -EINVAL, "\"%s\" is no name for a volume: give one with name=", o->name);
	r = open_wanted(o, e);
	if (r == 0)
		r = nothing_found(o, e);
	return r < 0 ? r : 0;
}

int vx_sources_open(struct vx_sources *to, struct vx_fetcher *f, const struct vx_source_spec *spec, struct vx_err *e)
{
	struct vx_opening o = {.fetcher = f, .spec = spec, .to = to, .before = to->n};
	int r = vx_cloudpath_parse(&o.path, spec->cloudpath, e);

	if (r == 0)
		r = open_path(&o, e);
	leave_store(&o.store, o.store_users);
	vx_cloudpath_done(&o.path);
	free(o.name);
	return r;
}
