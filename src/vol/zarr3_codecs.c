/* SPDX-License-Identifier: Apache-2.0
 * The codecs of a Zarr v3 array: (array -> array)* array -> bytes (bytes -> bytes)*. Transposes become the order in
 * which axes are stored; a shard's inner list takes the place of the outer one.
 */
#include "vol/zarr3.h"

#include <stdio.h>
#include <string.h>

#define NUMCODECS "numcodecs."

static int refuse(const struct vx_json *j, const char *name, struct vx_err *e)
{
	return vx_fail(e, -EOPNOTSUPP, "%s: the codec %s is not supported", j->path, vx_quote(name).text);
}

/* Axis i of the transposed array is axis order[i] of the one before. */
static int transpose(const struct vx_json *configuration, struct vx_array *a, struct vx_err *e)
{
	static const char *const known[] = {"order", NULL};
	unsigned before[VX_ARRAY_RANK_MAX];
	struct vx_json j, item;
	unsigned seen = 0;
	int64_t axis;
	size_t n;
	int r;

	if (!configuration->value)
		return vx_fail(e, -EBADMSG, "%s is missing", configuration->path);
	if ((r = vx_json_get(configuration, "order", &j, e)) < 0 ||
	    (r = vx_json_no_others(configuration, known, e)) < 0 ||
	    (r = vx_json_array(&j, a->rank, a->rank, &n, e)) < 0)
		return r;
	if (a->nfilters)
		return vx_fail(e, -EOPNOTSUPP, "%s: a transpose behind a filter is not supported", configuration->path);
	memcpy(before, a->order, sizeof before);
	for (size_t i = 0; i < n; i++) {
		vx_json_at(&j, i, &item);
		if ((r = vx_json_int(&item, 0, (int64_t)n - 1, &axis, e)) < 0)
			return r;
		seen |= 1u << axis;
		a->order[i] = before[axis];
	}
	return seen + 1 == 1u << n ? 0 : vx_fail(e, -EBADMSG, "%s is no permutation", j.path);
}

static int endian(const struct vx_json *configuration, bool *big, struct vx_err *e)
{
	static const char *const known[] = {"endian", NULL};
	struct vx_json j;
	const char *s;
	int r;

	*big = false;
	if (!configuration->value || !vx_json_find(configuration, "endian", &j))
		return configuration->value ? vx_json_no_others(configuration, known, e) : 0;
	if ((r = vx_json_no_others(configuration, known, e)) < 0 || (r = vx_json_string(&j, &s, e)) < 0)
		return r;
	if (strcmp(s, "little") && strcmp(s, "big"))
		return vx_fail(e, -EBADMSG, "%s is %s; it must be \"little\" or \"big\"", j.path, vx_quote(s).text);
	*big = s[0] == 'b';
	return 0;
}

/* One codec from bytes to bytes, behind a shard or what is not one. */
static int add_link(const struct vx_json *j, const char *name, const struct vx_json *configuration, struct vx_array *a,
		    enum vx_link_kind *links, unsigned *n, struct vx_err *e)
{
	const char *id = strncmp(name, NUMCODECS, strlen(NUMCODECS)) ? name : name + strlen(NUMCODECS);
	bool core = !strcmp(name, "gzip") || !strcmp(name, "zstd") || !strcmp(name, "blosc") || !strcmp(name, "crc32c");
	struct vx_json where = configuration->value ? *configuration : *j;
	int r;

	if (id == name && !core)
		return refuse(j, name, e);
	if (*n == VX_CHAIN_LINKS_MAX)
		return vx_fail(e, -EOPNOTSUPP, "%s: more than %d compressors and checksums are not supported", j->path,
			       VX_CHAIN_LINKS_MAX);
	if ((r = vx_array_numcodec(&where, id, &links[*n], e)) < 0)
		return r == -EOPNOTSUPP && id != name && where.value == configuration->value ? r : refuse(j, name, e);
	++*n;
	vx_array_note(a, name);
	return 0;
}

/* numcodecs' filters stand before `bytes`, which alone decides on the order of bytes. */
static int add_filter(const struct vx_json *j, const char *name, const struct vx_json *configuration,
		      struct vx_array *a, struct vx_err *e)
{
	const char *id = strncmp(name, NUMCODECS, strlen(NUMCODECS)) ? "" : name + strlen(NUMCODECS);
	int r = strcmp(id, "shuffle") ? vx_array_filter(configuration->value ? configuration : j, id, a, e) : 0;

	return r == 0 ? refuse(j, name, e) : r < 0 ? r : 0;
}

static void settle_filters(struct vx_array *a)
{
	for (unsigned i = 0; i < a->nfilters; i++) {
		a->filters[i].plain.big_endian = false;
		a->filters[i].stored.big_endian = i + 1 == a->nfilters && a->big_endian;
	}
	if (a->nfilters)
		a->big_endian = false;
}

/* ---- shards ---- */

/* The codecs of an index give it a fixed length: bytes, then perhaps crc32c. */
static int index_codecs(const struct vx_json *configuration, struct vx_shard_level *s, struct vx_err *e)
{
	struct vx_json list, item, c;
	const char *name;
	size_t n;
	int r = vx_json_get(configuration, "index_codecs", &list, e);

	if (r < 0 || (r = vx_json_array(&list, 1, 2, &n, e)) < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		vx_json_at(&list, i, &item);
		if ((r = vx_zarr3_named(&item, &name, &c, e)) < 0)
			return r;
		if (i == 0 && (!strcmp(name, "bytes") || !strcmp(name, "endian")))
			r = endian(&c, &s->index_big_endian, e);
		else if (i == 1 && !strcmp(name, "crc32c"))
			s->index_crc32c = true;
		else
			r = refuse(&item, name, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int index_location(const struct vx_json *configuration, struct vx_shard_level *shard, struct vx_err *e)
{
	struct vx_json j;
	const char *s;
	int r;

	shard->index_at_end = true;
	if (!vx_json_find(configuration, "index_location", &j))
		return 0;
	if ((r = vx_json_string(&j, &s, e)) < 0)
		return r;
	if (strcmp(s, "start") && strcmp(s, "end"))
		return vx_fail(e, -EBADMSG, "%s is %s; it must be \"start\" or \"end\"", j.path, vx_quote(s).text);
	shard->index_at_end = s[0] == 'e';
	return 0;
}

/* Lengths along the axes as they are stored, that is, transposed. */
static int inner_shape(const struct vx_json *configuration, struct vx_array *a, struct vx_shard_level *s,
		       struct vx_err *e)
{
	uint64_t part[VX_ARRAY_RANK_MAX];
	struct vx_json j;
	int r = vx_json_get(configuration, "chunk_shape", &j, e);

	if (r < 0 || (r = vx_array_lengths(&j, 1, &a->rank, part, e)) < 0)
		return r;
	for (unsigned k = 0; k < a->rank; k++) {
		unsigned axis = a->order[k];

		if (a->inner[axis] % part[k])
			return vx_fail(e, -EBADMSG, "%s[%u] %llu does not divide the shard's %llu", j.path, k,
				       (unsigned long long)part[k], (unsigned long long)a->inner[axis]);
		a->inner[axis] = s->part[axis] = part[k];
	}
	memcpy(s->order, a->order, sizeof s->order);
	return 0;
}

static int codec_list(const struct vx_json *list, struct vx_array *a, struct vx_err *e);

static int sharding(const struct vx_json *j, const struct vx_json *configuration, struct vx_array *a, struct vx_err *e)
{
	static const char *const known[] = {"chunk_shape", "codecs", "index_codecs", "index_location", NULL};
	struct vx_shard_level *s = &a->shard[a->nshards];
	struct vx_json inner;
	int r;

	if (!configuration->value)
		return vx_fail(e, -EBADMSG, "%s is missing", configuration->path);
	if (a->nfilters)
		return vx_fail(e, -EOPNOTSUPP, "%s: shards behind a filter are not supported", j->path);
	if (a->nshards == VX_SHARD_LEVELS_MAX)
		return vx_fail(e, -EOPNOTSUPP, "%s: more than %d shards within each other are not supported", j->path,
			       VX_SHARD_LEVELS_MAX);
	a->nshards++;
	if ((r = vx_json_no_others(configuration, known, e)) < 0 || (r = inner_shape(configuration, a, s, e)) < 0 ||
	    (r = index_codecs(configuration, s, e)) < 0 || (r = index_location(configuration, s, e)) < 0 ||
	    (r = vx_json_get(configuration, "codecs", &inner, e)) < 0)
		return r;
	vx_array_note(a, "sharding_indexed");
	return codec_list(&inner, a, e);
}

/* ---- the list ---- */

static int codec_list(const struct vx_json *list, struct vx_array *a, struct vx_err *e)
{
	struct vx_shard_level *s = &a->shard[a->nshards]; /* if there is to be one */
	bool in_bytes = false, is_shard = false;
	struct vx_json item, configuration;
	const char *name;
	size_t n;
	int r = vx_json_array(list, 1, 64, &n, e);

	for (size_t i = 0; r >= 0 && i < n; i++) {
		vx_json_at(list, i, &item);
		if ((r = vx_zarr3_named(&item, &name, &configuration, e)) < 0)
			return r;
		if (in_bytes) {
			r = is_shard ? add_link(&item, name, &configuration, a, s->links, &s->nlinks, e)
				     : add_link(&item, name, &configuration, a, a->links, &a->nlinks, e);
			continue;
		}
		is_shard = !strcmp(name, "sharding_indexed");
		in_bytes = is_shard || !strcmp(name, "bytes") || !strcmp(name, "endian");
		r = is_shard                     ? sharding(&item, &configuration, a, e)
		    : in_bytes                   ? endian(&configuration, &a->big_endian, e)
		    : !strcmp(name, "transpose") ? transpose(&configuration, a, e)
						 : add_filter(&item, name, &configuration, a, e);
	}
	if (r >= 0 && !in_bytes)
		return vx_fail(e, -EBADMSG, "%s has no codec that makes bytes", list->path);
	return r;
}

int vx_zarr3_codecs(const struct vx_json *list, struct vx_array *a, struct vx_err *e)
{
	int r;

	memcpy(a->inner, a->object, sizeof a->inner);
	for (unsigned k = 0; k < a->rank; k++)
		a->order[k] = k;
	r = codec_list(list, a, e);
	vx_links_turn(a->links, a->nlinks);
	for (unsigned i = 0; i < a->nshards; i++)
		vx_links_turn(a->shard[i].links, a->shard[i].nlinks);
	settle_filters(a);
	vx_array_settle(a);
	return r;
}
