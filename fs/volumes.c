/* SPDX-License-Identifier: Apache-2.0
 * The JSON file: {"volumes": [{"source": "precomputed://...", "name": "em", "missing": "fill"}, ...]}. Members that
 * are not known are errors, as unknown mount options are.
 */
#include "fs/volumes.h"
#include "base/limits.h"
#include "fs/list.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static int check_members(json_t *v, size_t i, struct vx_err *e)
{
	static const char *const known[] = {"source", "name", "missing"};
	const char *key;
	json_t *member;

	if (!json_is_object(v))
		return vx_fail(e, -EINVAL, "volumes[%zu] is no object", i);
	json_object_foreach(v, key, member)
	{
		bool ok = false;

		for (unsigned k = 0; k < VX_ARRAY_LEN(known); k++)
			ok |= !strcmp(key, known[k]);
		if (!ok)
			return vx_fail(e, -EINVAL, "volumes[%zu].%s is no known member", i, key);
		if (!json_is_string(member))
			return vx_fail(e, -EINVAL, "volumes[%zu].%s is no string", i, key);
	}
	return 0;
}

static int add_listed(const struct vx_fs *fs, struct vx_sources *to, json_t *v, size_t i, struct vx_err *e)
{
	struct vx_source_spec spec = {.fill_missing = fs->opt->fill_missing};
	const char *missing;
	int r = check_members(v, i, e);

	if (r < 0)
		return r;
	spec.cloudpath = json_string_value(json_object_get(v, "source"));
	spec.name = json_string_value(json_object_get(v, "name"));
	missing = json_string_value(json_object_get(v, "missing"));
	if (!spec.cloudpath)
		return vx_fail(e, -EINVAL, "volumes[%zu].source is not there", i);
	if (missing && strcmp(missing, "error") && strcmp(missing, "fill"))
		return vx_fail(e, -EINVAL, "volumes[%zu].missing must be error or fill", i);
	if (missing)
		spec.fill_missing = !strcmp(missing, "fill");
	return vx_sources_open(to, fs->fetcher, &spec, e);
}

/* Takes over `root`. */
static int open_listed(const struct vx_fs *fs, struct vx_sources *to, json_t *root, struct vx_err *e)
{
	json_t *list;
	size_t i;
	json_t *v;
	int r = 0;

	list = json_object_get(root, "volumes");
	if (!json_is_array(list) || !json_array_size(list) || json_array_size(list) > VX_MAX_VOLUMES ||
	    json_object_size(root) != 1)
		r = vx_fail(e, -EINVAL, "must be {\"volumes\": [...]} with 1 to %d volumes and nothing else",
			    VX_MAX_VOLUMES);
	json_array_foreach(list, i, v) if (r == 0) r = add_listed(fs, to, v, i, e);
	json_decref(root);
	return r < 0 ? vx_fail_prefix(e, "%s", fs->opt->source) : 0;
}

static int open_all(const struct vx_fs *fs, struct vx_sources *to, struct vx_err *e)
{
	struct vx_source_spec spec = {
	    .name = fs->opt->name, .cloudpath = fs->opt->source, .fill_missing = fs->opt->fill_missing};
	json_t *root;
	int r = vx_list_load(fs->list, fs->opt->source, &root, e);

	if (r < 0)
		return r;
	return root ? open_listed(fs, to, root, e) : vx_sources_open(to, fs->fetcher, &spec, e);
}

int vx_volumes_open(struct vx_fs *fs, struct vx_err *e)
{
	struct vx_sources all = {0};
	int r = open_all(fs, &all, e);

	fs->sources = all.at;
	fs->nsources = all.n;
	return r;
}
