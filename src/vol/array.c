/* SPDX-License-Identifier: Apache-2.0
 * What the parsers of Zarr and N5 share: lengths, numcodecs' compressors, and the roles of axes.
 */
#include "vol/array.h"
#include "base/limits.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

int vx_array_lengths(const struct vx_json *j, int64_t min, unsigned *rank, uint64_t *ret, struct vx_err *e)
{
	struct vx_json item;
	size_t n;
	int64_t x;
	int r = *rank ? vx_json_array(j, *rank, *rank, &n, e) : vx_json_array(j, 0, 64, &n, e);

	if (r < 0)
		return r;
	if (n < 2 || n > VX_ARRAY_RANK_MAX)
		return vx_fail(e, -EOPNOTSUPP, "%s: an array of %zu ax%cs; 2 to %d are supported", j->path, n,
			       n == 1 ? 'i' : 'e', VX_ARRAY_RANK_MAX);
	for (size_t i = 0; i < n; i++) {
		vx_json_at(j, i, &item);
		r = vx_json_int(&item, min, VX_MAX_EXTENT, &x, e);
		if (r < 0)
			return r;
		ret[i] = (uint64_t)x;
	}
	*rank = (unsigned)n;
	return 0;
}

int vx_array_separator(const struct vx_json *j, struct vx_array *a, struct vx_err *e)
{
	const char *s;
	int r = vx_json_string(j, &s, e);

	if (r < 0)
		return r;
	if (strcmp(s, ".") && strcmp(s, "/"))
		return vx_fail(e, -EBADMSG, "%s is %s; it must be \".\" or \"/\"", j->path, vx_quote(s).text);
	a->separator = s[0];
	return 0;
}

/* ---- codecs ---- */

static int lzma_format(const struct vx_json *j, struct vx_err *e)
{
	struct vx_json format;
	int64_t n = 1;
	int r = vx_json_find(j, "format", &format) ? vx_json_int(&format, -1000, 1000, &n, e) : 0;

	if (r == 0 && n != 1 && n != 2)
		return vx_fail(e, -EOPNOTSUPP, "%s %lld: of lzma only 1 (.xz) and 2 (.lzma) are supported", format.path,
			       (long long)n);
	return r;
}

int vx_array_numcodec(const struct vx_json *j, const char *id, enum vx_link_kind *ret, struct vx_err *e)
{
	static const struct {
		const char *id;
		enum vx_link_kind kind;
	} known[] = {
	    {"blosc", VX_LINK_BLOSC}, {"zstd", VX_LINK_ZSTD}, {"gzip", VX_LINK_GZIP}, {"zlib", VX_LINK_ZLIB},
	    {"lz4", VX_LINK_LZ4},     {"bz2", VX_LINK_BZIP2}, {"lzma", VX_LINK_XZ},   {"crc32c", VX_LINK_CRC32C},
	};
	struct vx_json where;
	const char *text;
	int r;

	for (unsigned i = 0; i < VX_ARRAY_LEN(known); i++) {
		if (strcmp(id, known[i].id))
			continue;
		*ret = known[i].kind;
		if (*ret == VX_LINK_XZ)
			return lzma_format(j, e);
		if (*ret == VX_LINK_CRC32C && vx_json_find(j, "location", &where)) {
			r = vx_json_string(&where, &text, e);
			if (r == 0 && strcmp(text, "end"))
				r = vx_fail(e, -EOPNOTSUPP, "%s %s is not supported", where.path, vx_quote(text).text);
			return r;
		}
		return 0;
	}
	return vx_fail(e, -EOPNOTSUPP, "%s: the codec %s is not supported", j->path, vx_quote(id).text);
}

void vx_array_note(struct vx_array *a, const char *codec)
{
	size_t len = strlen(a->encoding);

	snprintf(a->encoding + len, sizeof a->encoding - len, "%s%s", len ? ", " : "", codec);
}

void vx_links_turn(enum vx_link_kind *links, unsigned n)
{
	for (unsigned i = 0; i < n / 2; i++) {
		enum vx_link_kind k = links[i];

		links[i] = links[n - 1 - i];
		links[n - 1 - i] = k;
	}
}

/* A part of a shard can be read, unless there is a compressor around it. */
void vx_array_settle(struct vx_array *a)
{
	bool parts = a->nshards && !a->shard[0].nlinks;

	memcpy(a->chunk, parts ? a->shard[0].part : a->object, sizeof a->chunk);
}

/* ---- axes ---- */

static enum vx_role role_by_name(const char *name, enum vx_axis_kind kind)
{
	static const struct {
		const char *name;
		enum vx_role role;
		bool space;
	} known[] = {
	    {"x", VX_ROLE_X, true},           {"y", VX_ROLE_Y, true},         {"z", VX_ROLE_Z, true},
	    {"c", VX_ROLE_CHANNEL, false},    {"ch", VX_ROLE_CHANNEL, false}, {"channel", VX_ROLE_CHANNEL, false},
	    {"channels", VX_ROLE_CHANNEL, 0}, {"t", VX_ROLE_TIME, false},     {"time", VX_ROLE_TIME, false},
	};

	if (kind == VX_AXIS_IS_CHANNEL)
		return VX_ROLE_CHANNEL;
	if (kind == VX_AXIS_IS_TIME)
		return VX_ROLE_TIME;
	for (unsigned i = 0; i < VX_ARRAY_LEN(known); i++)
		if (!strcasecmp(name, known[i].name) &&
		    (kind == VX_AXIS_ANY || (kind == VX_AXIS_SPACE && known[i].space)))
			return known[i].role;
	return VX_ROLE_NONE;
}

/* The role that the place gives to an axis without one: the first that is free. */
static enum vx_role role_by_place(enum vx_axis_kind kind, const bool *taken)
{
	for (enum vx_role r = VX_ROLE_X; r <= VX_ROLE_TIME; r++) {
		if (taken[r] || (kind == VX_AXIS_SPACE && r > VX_ROLE_Z) ||
		    (kind == VX_AXIS_OTHER && r != VX_ROLE_CHANNEL) || kind == VX_AXIS_IS_CHANNEL ||
		    kind == VX_AXIS_IS_TIME)
			continue;
		return r;
	}
	return VX_ROLE_NONE;
}

int vx_axes_assign(struct vx_axis *axis, const enum vx_axis_kind *kind, const uint64_t *shape, unsigned n,
		   struct vx_err *e)
{
	bool taken[VX_ROLE_TIME + 1] = {false};

	for (unsigned i = 0; i < n; i++) {
		enum vx_role r = role_by_name(axis[i].name, kind[i]);

		axis[i].role = taken[r] ? VX_ROLE_NONE : r;
		taken[axis[i].role] = axis[i].role != VX_ROLE_NONE;
	}
	for (unsigned i = n; i-- > 0;) {
		if (axis[i].role != VX_ROLE_NONE)
			continue;
		axis[i].role = role_by_place(kind[i], taken);
		taken[axis[i].role] = axis[i].role != VX_ROLE_NONE;
		if (axis[i].role == VX_ROLE_NONE && shape[i] != 1)
			return vx_fail(e, -EOPNOTSUPP,
				       "axis %u (%s) has %llu entries and is none of x, y, z, channel and time", i,
				       vx_quote(axis[i].name).text, (unsigned long long)shape[i]);
	}
	return 0;
}
