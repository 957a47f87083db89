/* SPDX-License-Identifier: Apache-2.0
 * `zarr.json` of one Zarr v3 array. What is not understood is refused, as the specification wants it, since nobody
 * knows what it did to the bytes.
 */
#include "vol/zarr3.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

int vx_zarr3_named(const struct vx_json *j, const char **name, struct vx_json *configuration, struct vx_err *e)
{
	struct vx_json n;
	int r;

	vx_json_find(j, "configuration", configuration);
	if (json_is_null(configuration->value))
		configuration->value = NULL;
	if (json_is_string(j->value)) /* the short form */
		return vx_json_string(j, name, e);
	if ((r = vx_json_object(j, e)) < 0 || (r = vx_json_get(j, "name", &n, e)) < 0 ||
	    (r = vx_json_string(&n, name, e)) < 0)
		return r;
	return configuration->value ? vx_json_object(configuration, e) : 0;
}

/* ---- members of the document ---- */

static int check_node(const struct vx_json *top, struct vx_err *e)
{
	struct vx_json j;
	const char *type;
	int64_t n;
	int r = vx_json_get(top, "zarr_format", &j, e);

	if (r < 0 || (r = vx_json_int(&j, 0, 1000, &n, e)) < 0)
		return r;
	if (n != 3)
		return vx_fail(e, -EOPNOTSUPP, "%s is %lld; it must be 3 here", j.path, (long long)n);
	if ((r = vx_json_get(top, "node_type", &j, e)) < 0 || (r = vx_json_string(&j, &type, e)) < 0)
		return r;
	if (!strcmp(type, "group"))
		return vx_fail(e, -EISDIR, "%s is \"group\"; it must be \"array\" here", j.path);
	if (strcmp(type, "array"))
		return vx_fail(e, -EBADMSG, "%s is %s; it must be \"array\"", j.path, vx_quote(type).text);
	return 0;
}

/* Extensions that may be skipped say so. */
static int check_members(const struct vx_json *top, struct vx_err *e)
{
	static const char *const known[] = {"zarr_format",     "node_type",
					    "shape",           "data_type",
					    "chunk_grid",      "chunk_key_encoding",
					    "fill_value",      "codecs",
					    "attributes",      "storage_transformers",
					    "dimension_names", "consolidated_metadata"};
	const char *key;
	json_t *member;

	json_object_foreach((json_t *)top->value, key, member)
	{
		bool ok = false;

		for (unsigned i = 0; i < VX_ARRAY_LEN(known); i++)
			ok |= !strcmp(key, known[i]);
		if (!ok && !json_is_false(json_object_get(member, "must_understand")))
			return vx_fail(e, -EOPNOTSUPP, "the member %s is not known", vx_quote(key).text);
	}
	member = json_object_get(top->value, "storage_transformers");
	if (member && !json_is_null(member) && json_array_size(member) + json_object_size(member) > 0)
		return vx_fail(e, -EOPNOTSUPP, "storage_transformers are not supported");
	return 0;
}

static int parse_data_type(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	struct vx_json j, configuration;
	const char *name;
	int r = vx_json_get(top, "data_type", &j, e);

	if (r < 0 || (r = vx_zarr3_named(&j, &name, &configuration, e)) < 0)
		return r;
	if (configuration.value || !vx_dtype_find(name, &a->dtype) || strcmp(name, vx_dtype_name(a->dtype)))
		return vx_fail(e, -EOPNOTSUPP, "%s %s is not supported", j.path, vx_quote(name).text);
	return 0;
}

static int parse_grid(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	static const char *const known[] = {"chunk_shape", NULL};
	struct vx_json j, configuration, shape;
	const char *name;
	int r = vx_json_get(top, "chunk_grid", &j, e);

	if (r < 0 || (r = vx_zarr3_named(&j, &name, &configuration, e)) < 0)
		return r;
	if (strcmp(name, "regular"))
		return vx_fail(e, -EOPNOTSUPP, "%s %s is not supported", j.path, vx_quote(name).text);
	if ((r = vx_json_get(&configuration, "chunk_shape", &shape, e)) < 0 ||
	    (r = vx_json_no_others(&configuration, known, e)) < 0)
		return r;
	return vx_array_lengths(&shape, 1, &a->rank, a->object, e);
}

static int parse_keys(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	static const char *const known[] = {"separator", NULL};
	struct vx_json j, configuration, separator;
	const char *name;
	int r = vx_json_get(top, "chunk_key_encoding", &j, e);

	if (r < 0 || (r = vx_zarr3_named(&j, &name, &configuration, e)) < 0)
		return r;
	if (strcmp(name, "default") && strcmp(name, "v2"))
		return vx_fail(e, -EOPNOTSUPP, "%s %s is not supported", j.path, vx_quote(name).text);
	a->key_c = name[0] == 'd';
	a->separator = a->key_c ? '/' : '.';
	if (!configuration.value)
		return 0;
	if ((r = vx_json_no_others(&configuration, known, e)) < 0)
		return r;
	return vx_json_find(&configuration, "separator", &separator) ? vx_array_separator(&separator, a, e) : 0;
}

static int parse_fill(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	struct vx_json j;
	int r = vx_json_get(top, "fill_value", &j, e);

	return r < 0 ? r : vx_array_fill(&j, a, false, e);
}

static int parse_names(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	struct vx_json j, item;
	const char *s;
	size_t n;
	int r;

	if (!vx_json_find(top, "dimension_names", &j) || json_is_null(j.value))
		return 0;
	if ((r = vx_json_array(&j, a->rank, a->rank, &n, e)) < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		vx_json_at(&j, i, &item);
		if (json_is_null(item.value))
			continue;
		if ((r = vx_json_string(&item, &s, e)) < 0)
			return r;
		snprintf(a->name[i], sizeof a->name[i], "%s", s);
	}
	return 0;
}

static int parse(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	struct vx_json j;
	int r = check_node(top, e);

	if (r < 0 || (r = check_members(top, e)) < 0 || (r = vx_json_get(top, "shape", &j, e)) < 0 ||
	    (r = vx_array_lengths(&j, 0, &a->rank, a->shape, e)) < 0 || (r = parse_data_type(top, a, e)) < 0 ||
	    (r = parse_grid(top, a, e)) < 0 || (r = parse_keys(top, a, e)) < 0 || (r = parse_fill(top, a, e)) < 0 ||
	    (r = parse_names(top, a, e)) < 0 || (r = vx_json_get(top, "codecs", &j, e)) < 0)
		return r;
	return vx_zarr3_codecs(&j, a, e);
}

int vx_zarr3_parse(const char *text, size_t len, struct vx_array *ret, struct vx_err *e)
{
	VX_AUTO_JSON struct vx_json top = {0};
	int r = vx_json_parse_loose("zarr.json", text, len, VX_MAX_METADATA_BYTES, &top, e);

	memset(ret, 0, sizeof *ret);
	ret->format = &vx_format_zarr3;
	return r < 0 ? r : parse(&top, ret, e);
}
