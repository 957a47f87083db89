/* SPDX-License-Identifier: Apache-2.0
 * The `info` document of a Neuroglancer Precomputed volume. It came from a network: everything is
 * checked here, once, so that nobody downstream needs to. What is promised of a good scale:
 * coordinates within +-VX_MAX_EXTENT, every chunk within VX_MAX_CHUNK_BYTES, the whole scale's
 * bytes within 63 bits, an encoding that fits the data type. Members that are not needed are
 * ignored, whatever they hold. Pure, any thread.
 */
#include "base/check.h"
#include "base/limits.h"
#include "vol/json.h"
#include "vol/volume.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A block of compressed_segmentation refers to its labels with 24 bits; usual are 8 x 8 x 8 voxels. */
#define MAX_BLOCK_VOXELS ((uint64_t)1 << 24)
#define MAX_KEY (VX_MAX_URL - VX_BOX_NAME_MAX)

/* ---- one scale ---- */

/* Resolves ".", ".." and doubled slashes in place; what leads out of the volume stays in front as "../". */
static void normalise_key(char *key)
{
	const char *from = key;
	size_t len = 0, fixed = 0; /* key[0,fixed) is the "../" that cannot be taken back */

	while (*from) {
		size_t n = strcspn(from, "/");

		if (n == 2 && from[0] == '.' && from[1] == '.' && len > fixed) {
			while (len > fixed && key[--len] != '/')
				;
		} else if (n && !(n == 1 && from[0] == '.')) {
			bool up = n == 2 && from[0] == '.' && from[1] == '.';

			if (len)
				key[len++] = '/';
			memmove(key + len, from, n); /* never ahead of what is read */
			len += n;
			if (up)
				fixed = len;
		}
		from += n;
		from += strspn(from, "/");
	}
	key[len] = 0;
}

static int parse_key(const struct vx_json *scale, struct vx_scale *s, struct vx_err *e)
{
	struct vx_json j;
	const char *text;
	int r = vx_json_get(scale, "key", &j, e);

	if (r < 0 || (r = vx_json_string(&j, &text, e)) < 0)
		return r;
	if (!text[0])
		return vx_fail(e, -EBADMSG, "%s is empty", j.path);
	if (text[0] == '/')
		return vx_fail(e, -EBADMSG, "%s %s is absolute; it must be relative to the volume", j.path,
			       vx_quote(text).text);
	if (strlen(text) > MAX_KEY)
		return vx_fail(e, -EBADMSG, "%s has %zu bytes; at most %d are supported", j.path, strlen(text),
			       MAX_KEY);
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return vx_fail(e, -EBADMSG, "%s %s contains a control character", j.path, vx_quote(text).text);
	s->key = strdup(text);
	if (!s->key)
		return vx_no_memory(e);
	normalise_key(s->key);
	return 0;
}

static int parse_bounds(const struct vx_json *scale, struct vx_scale *s, struct vx_err *e)
{
	struct vx_json size_at, offset_at;
	int64_t size[3], offset[3] = {0};
	int r = vx_json_get(scale, "size", &size_at, e);

	if (r < 0 || (r = vx_json_int3(&size_at, 1, VX_MAX_EXTENT, size, e)) < 0)
		return r;
	if (vx_json_find(scale, "voxel_offset", &offset_at) &&
	    (r = vx_json_int3(&offset_at, -VX_MAX_EXTENT, VX_MAX_EXTENT, offset, e)) < 0)
		return r;
	for (int d = 0; d < 3; d++)
		if (offset[d] + size[d] > VX_MAX_EXTENT)
			return vx_fail(e, -EBADMSG, "%s[%d] + size[%d] is %lld; it must be at most %lld",
				       offset_at.path, d, d, (long long)(offset[d] + size[d]),
				       (long long)VX_MAX_EXTENT);
	for (int d = 0; d < 3; d++) {
		s->bounds.lo[d] = offset[d];
		s->bounds.hi[d] = offset[d] + size[d];
	}
	return 0;
}

static int parse_resolution(const struct vx_json *scale, struct vx_scale *s, struct vx_err *e)
{
	struct vx_json j;
	double nm[3];
	int r = vx_json_get(scale, "resolution", &j, e);

	if (r < 0 || (r = vx_json_positive3(&j, nm, e)) < 0)
		return r;
	memcpy(s->resolution, nm, sizeof nm);
	return 0;
}

/* Needs the bounds. */
static int parse_grids(const struct vx_json *scale, const struct vx_volume *v, struct vx_scale *s, struct vx_err *e)
{
	VX_AUTO_FREE struct vx_grid *grids = NULL;
	struct vx_json j, item;
	int64_t chunk[3];
	size_t n;
	int r = vx_json_get(scale, "chunk_sizes", &j, e);

	if (r < 0 || (r = vx_json_array(&j, 1, VX_MAX_CHUNK_SIZES, &n, e)) < 0)
		return r;
	grids = calloc(n, sizeof *grids);
	if (!grids)
		return vx_no_memory(e);
	for (size_t i = 0; i < n; i++) {
		vx_json_at(&j, i, &item);
		r = vx_json_int3(&item, 1, VX_MAX_EXTENT, chunk, e);
		if (r < 0)
			return r;
		for (int d = 0; d < 3; d++) {
			grids[i].chunk[d] = (uint64_t)chunk[d];
			grids[i].cells[d] = vx_div_up(vx_box_extent(&s->bounds, d), grids[i].chunk[d]);
		}
		grids[i].chunk_c = v->channels;
		grids[i].slabs = 1;
	}
	s->grids = vx_steal(grids);
	s->ngrids = (unsigned)n;
	return 0;
}

static int parse_encoding(const struct vx_json *scale, struct vx_scale *s, struct vx_err *e)
{
	struct vx_json j;
	const char *name;
	int r = vx_json_get(scale, "encoding", &j, e);

	if (r < 0 || (r = vx_json_string(&j, &name, e)) < 0)
		return r;
	s->encoding = strdup(name);
	if (!s->encoding)
		return vx_no_memory(e);
	s->codec = vx_codec_find(name);
	if (!s->codec && vx_codec_lacks(name))
		return vx_fail(e, -EOPNOTSUPP, "%s %s is not supported: this voxfs was built without %s", j.path,
			       vx_quote(name).text, vx_codec_lacks(name));
	if (!s->codec)
		return vx_fail(e, -EOPNOTSUPP, "%s %s is not supported", j.path, vx_quote(name).text);
	return 0;
}

/* One of two words; absent is the first. */
static int parse_choice(const struct vx_json *object, const char *name, bool required, const char *const words[2],
			bool *ret, struct vx_err *e)
{
	struct vx_json j;
	const char *text;
	int r;

	*ret = false;
	if (!required && !vx_json_find(object, name, &j))
		return 0;
	if ((r = vx_json_get(object, name, &j, e)) < 0 || (r = vx_json_string(&j, &text, e)) < 0)
		return r;
	*ret = !strcasecmp(text, words[1]);
	if (!*ret && strcasecmp(text, words[0]))
		return vx_fail(e, -EOPNOTSUPP, "%s is %s; it must be \"%s\" or \"%s\"", j.path, vx_quote(text).text,
			       words[0], words[1]);
	return 0;
}

static int parse_bits(const struct vx_json *object, const char *name, unsigned *ret, struct vx_err *e)
{
	struct vx_json j;
	int64_t bits;
	int r = vx_json_get(object, name, &j, e);

	if (r < 0 || (r = vx_json_int(&j, 0, 64, &bits, e)) < 0)
		return r;
	*ret = (unsigned)bits;
	return 0;
}

/* What an encoding can hold; raw holds everything. */
static const struct {
	const char *encoding;
	uint32_t dtypes; /* a bit for each vx_dtype */
	const char *dtypes_text;
	uint32_t channels; /* a bit for each number; 0: any */
	const char *channels_text;
} fits[] = {
    {"compressed_segmentation", 1u << VX_U32 | 1u << VX_U64, "uint32 or uint64", 0, NULL},
    {"jpeg", 1u << VX_U8, "uint8", 1u << 1 | 1u << 3, "1 or 3"},
    {"png", 1u << VX_U8 | 1u << VX_U16, "uint8 or uint16", 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4, "1 to 4"},
    {"jxl", 1u << VX_U8, "uint8", 1u << 1 | 1u << 3 | 1u << 4, "1, 3 or 4"},
    {"compresso", 1u << VX_U8 | 1u << VX_U16 | 1u << VX_U32 | 1u << VX_U64, "uint8, uint16, uint32 or uint64", 1u << 1,
     "1"},
};

static int check_fit(const struct vx_json *scale, const struct vx_volume *v, const struct vx_scale *s, struct vx_err *e)
{
	for (size_t i = 0; i < VX_ARRAY_LEN(fits); i++) {
		if (strcasecmp(s->encoding, fits[i].encoding))
			continue;
		if (!(fits[i].dtypes >> v->dtype & 1))
			return vx_fail(e, -EBADMSG, "%s.encoding %s needs data_type %s, not %s", scale->path,
				       vx_quote(s->encoding).text, fits[i].dtypes_text, vx_dtype_name(v->dtype));
		if (fits[i].channels && (v->channels > 31 || !(fits[i].channels >> v->channels & 1)))
			return vx_fail(e, -EBADMSG, "%s.encoding %s needs num_channels %s, not %u", scale->path,
				       vx_quote(s->encoding).text, fits[i].channels_text, v->channels);
	}
	return 0;
}

/* A member that is not known may change where everything is: the other readers refuse it too. */
static int parse_shard_layout(const struct vx_json *j, struct vx_sharding *s, struct vx_err *e)
{
	static const char *const known[] = {
	    "@type",         "hash", "preshift_bits", "minishard_bits", "shard_bits", "minishard_index_encoding",
	    "data_encoding", NULL,
	};
	static const char *const hashes[2] = {"identity", "murmurhash3_x86_128"};
	static const char *const encodings[2] = {"raw", "gzip"};
	struct vx_json type;
	const char *text;
	int r = vx_json_object(j, e);

	if (r < 0 || (r = vx_json_get(j, "@type", &type, e)) < 0 || (r = vx_json_string(&type, &text, e)) < 0)
		return r;
	if (strcmp(text, "neuroglancer_uint64_sharded_v1"))
		return vx_fail(e, -EOPNOTSUPP, "%s is %s; only \"neuroglancer_uint64_sharded_v1\" is supported",
			       type.path, vx_quote(text).text);
	s->kind = VX_SHARD_PRECOMPUTED;
	if ((r = vx_json_no_others(j, known, e)) < 0 ||
	    (r = parse_bits(j, "preshift_bits", &s->preshift_bits, e)) < 0 ||
	    (r = parse_bits(j, "minishard_bits", &s->minishard_bits, e)) < 0 ||
	    (r = parse_bits(j, "shard_bits", &s->shard_bits, e)) < 0 ||
	    (r = parse_choice(j, "hash", true, hashes, &s->murmur, e)) < 0 ||
	    (r = parse_choice(j, "minishard_index_encoding", false, encodings, &s->index_gzip, e)) < 0 ||
	    (r = parse_choice(j, "data_encoding", false, encodings, &s->data_gzip, e)) < 0)
		return r;
	r = vx_sharding_check(s, e);
	return r < 0 ? vx_fail_prefix(e, "%s", j->path) : 0;
}

/* Needs the grids. */
static int parse_sharding(const struct vx_json *scale, struct vx_scale *s, struct vx_err *e)
{
	VX_AUTO_FREE struct vx_sharding *sharding = NULL;
	struct vx_json j;
	int r;

	if (!vx_json_find(scale, "sharding", &j) || json_is_null(j.value))
		return 0;
	sharding = calloc(1, sizeof *sharding);
	if (!sharding)
		return vx_no_memory(e);
	r = parse_shard_layout(&j, sharding, e);
	if (r < 0)
		return r;
	/* Chunks of two sizes would have the same numbers. */
	if (s->ngrids != 1)
		return vx_fail(e, -EBADMSG, "%s.chunk_sizes has %u entries; a sharded scale has one", scale->path,
			       s->ngrids);
	if (vx_compressed_morton_bits(s->grids[0].cells) > 64)
		return vx_fail(e, -EFBIG, "%s: the grid has too many chunks to be numbered with 64 bits", j.path);
	s->sharding = vx_steal(sharding);
	return 0;
}

/* The block size; other encodings have none and ignore what stands there. */
static int parse_block(const struct vx_json *scale, struct vx_scale *s, struct vx_err *e)
{
	struct vx_json j;
	int64_t block[3];
	int r;

	if (s->codec != &vx_codec_cseg)
		return 0;
	r = vx_json_get(scale, "compressed_segmentation_block_size", &j, e);
	if (r < 0 || (r = vx_json_int3(&j, 1, (int64_t)MAX_BLOCK_VOXELS, block, e)) < 0)
		return r;
	if ((uint64_t)block[0] * (uint64_t)block[1] > MAX_BLOCK_VOXELS ||
	    (uint64_t)block[0] * (uint64_t)block[1] * (uint64_t)block[2] > MAX_BLOCK_VOXELS)
		return vx_fail(e, -EFBIG, "%s makes blocks of more than %llu voxels", j.path,
			       (unsigned long long)MAX_BLOCK_VOXELS);
	for (int d = 0; d < 3; d++)
		s->block[d] = (uint32_t)block[d];
	return 0;
}

/* Needs everything else. What counts is the largest chunk as it is stored, that is, clipped. */
static int check_bytes(const struct vx_json *scale, const struct vx_volume *v, const struct vx_scale *s,
		       struct vx_err *e)
{
	struct vx_box chunk = {{0}, {0}};
	uint64_t bytes;

	if (!vx_volume_box_bytes(v, &s->bounds, &bytes))
		return vx_fail(e, -EFBIG, "%s.size makes a volume of 2^63 bytes or more", scale->path);
	for (unsigned g = 0; g < s->ngrids; g++) {
		for (int d = 0; d < 3; d++)
			chunk.hi[d] = (int64_t)vx_min_u64(s->grids[g].chunk[d], vx_box_extent(&s->bounds, d));
		if (!vx_volume_box_bytes(v, &chunk, &bytes) || bytes > VX_MAX_CHUNK_BYTES)
			return vx_fail(e, -EFBIG, "%s.chunk_sizes[%u] makes chunks of more than %llu bytes",
				       scale->path, g, (unsigned long long)VX_MAX_CHUNK_BYTES);
	}
	return 0;
}

static int parse_scale(const struct vx_json *scale, const struct vx_volume *v, struct vx_scale *s, struct vx_err *e)
{
	int r = vx_json_object(scale, e);

	if (r < 0 || (r = parse_key(scale, s, e)) < 0 || (r = parse_bounds(scale, s, e)) < 0 ||
	    (r = parse_resolution(scale, s, e)) < 0 || (r = parse_grids(scale, v, s, e)) < 0 ||
	    (r = parse_encoding(scale, s, e)) < 0 || (r = check_fit(scale, v, s, e)) < 0 ||
	    (r = parse_block(scale, s, e)) < 0 || (r = parse_sharding(scale, s, e)) < 0)
		return r;
	return check_bytes(scale, v, s, e);
}

int vx_precomputed_chunk_name(const struct vx_scale *s, const struct vx_box *cell_box, char *ret, size_t size)
{
	char name[VX_BOX_NAME_MAX];
	int n;

	vx_box_print(cell_box, name);
	n = snprintf(ret, size, "%s%s%s", s->key, s->key[0] ? "/" : "", name);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : n;
}

static int chunk_name(const struct vx_scale *s, unsigned grid, const struct vx_cell *cell, char *ret, size_t size)
{
	struct vx_box box = vx_scale_cell_box(s, grid, cell->at);

	if (s->sharding) {
		struct vx_shard_at at;

		vx_shard_find(s->sharding, s->grids[grid].cells, cell->at, cell->slab, &at);
		return vx_shard_name(s->sharding, s->key, at.shard[0], ret, size);
	}
	return vx_precomputed_chunk_name(s, &box, ret, size);
}

const struct vx_format vx_format_precomputed = {
    .name = "precomputed",
    .chunk_name = chunk_name,
    .packed_at_rest = true,
};

/* ---- the document ---- */

static int check_is_volume(const struct vx_json *top, struct vx_err *e)
{
	struct vx_json type, graph, app, dir, scales, redirect;
	const char *text;

	if (vx_json_find(top, "@type", &type)) {
		int r = vx_json_string(&type, &text, e);

		if (r < 0)
			return r;
		if (strcmp(text, "neuroglancer_multiscale_volume"))
			return vx_fail(e, -EBADMSG, "%s is %s; only \"neuroglancer_multiscale_volume\" is a volume",
				       type.path, vx_quote(text).text);
	}
	vx_json_find(top, "graph", &graph);
	vx_json_find(top, "app", &app);
	if (json_is_object(graph.value) || json_is_object(app.value)) {
		text = vx_json_find(top, "data_dir", &dir) ? json_string_value(dir.value) : NULL;
		return vx_fail(e, -EOPNOTSUPP, "%s: graphene volume; open its data_dir instead%s%s",
			       json_is_object(graph.value) ? graph.path : app.path, text ? ": " : "",
			       text ? vx_quote(text).text : "");
	}
	if (!vx_json_find(top, "scales", &scales) && vx_json_find(top, "redirect", &redirect)) {
		text = json_string_value(redirect.value);
		return vx_fail(e, -EOPNOTSUPP, "%s: the volume has moved; open %s instead", redirect.path,
			       text ? vx_quote(text).text : "its new place");
	}
	return 0;
}

static int parse_head(const struct vx_json *top, struct vx_volume *v, struct vx_err *e)
{
	struct vx_json j;
	const char *text;
	int64_t channels;
	int r = vx_json_get(top, "type", &j, e);

	if (r < 0 || (r = vx_json_string(&j, &text, e)) < 0)
		return r;
	v->type = strdup(text);
	if (!v->type)
		return vx_no_memory(e);
	r = vx_json_get(top, "data_type", &j, e);
	if (r < 0 || (r = vx_json_string(&j, &text, e)) < 0)
		return r;
	if (!vx_dtype_find(text, &v->dtype) || v->dtype > VX_F32)
		return vx_fail(e, -EOPNOTSUPP, "%s %s is not supported", j.path, vx_quote(text).text);
	r = vx_json_get(top, "num_channels", &j, e);
	if (r < 0 || (r = vx_json_int(&j, 1, VX_MAX_CHANNELS, &channels, e)) < 0)
		return r;
	v->channels = (uint32_t)channels;
	return 0;
}

static int parse_scales(const struct vx_json *top, struct vx_volume *v, struct vx_err *e)
{
	struct vx_json j, item;
	bool good = false;
	size_t n;
	int r = vx_json_get(top, "scales", &j, e);

	if (r < 0 || (r = vx_json_array(&j, 1, VX_MAX_SCALES, &n, e)) < 0)
		return r;
	v->scales = calloc(n, sizeof *v->scales);
	if (!v->scales)
		return vx_no_memory(e);
	v->nscales = (unsigned)n;
	for (size_t i = 0; i < n; i++) {
		vx_json_at(&j, i, &item);
		r = parse_scale(&item, v, &v->scales[i], &v->scales[i].bad);
		if (r == -ENOMEM)
			return vx_no_memory(e);
		good |= !r;
	}
	if (!good)
		return vx_fail(e, v->scales[0].bad.code, "%s", v->scales[0].bad.why);
	return 0;
}

static void volume_free_scope(struct vx_volume **v)
{
	vx_volume_free(v);
}

int vx_precomputed_parse(const char *json, size_t len, struct vx_volume **ret, struct vx_err *e)
{
	VX_AUTO_JSON struct vx_json top = {0};
	VX_CLEANUP(volume_free_scope) struct vx_volume *v = NULL;
	int r = vx_json_parse("info", json, len, VX_MAX_INFO_BYTES, &top, e);

	if (r < 0)
		return r;
	v = calloc(1, sizeof *v);
	if (!v)
		return vx_no_memory(e);
	v->format = &vx_format_precomputed;
	v->times = 1;
	strcpy(v->voxel_unit, "nm");
	if ((r = check_is_volume(&top, e)) < 0 || (r = parse_head(&top, v, e)) < 0 ||
	    (r = parse_scales(&top, v, e)) < 0)
		return r;
	*ret = vx_steal(v);
	return 0;
}
