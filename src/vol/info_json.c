/* SPDX-License-Identifier: Apache-2.0
 * info.json, as people and their scripts read it: one member a line, triples on one line. Written
 * as text, because a JSON library would spread each triple over five lines; strings go through
 * jansson's escaping. tools/info.schema.json says what each member means. Pure, any thread.
 */
#include "vol/volume.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* A string with its quotes; false when memory is short. */
static bool put_string(FILE *f, const char *s)
{
	VX_AUTO_FREE char *ascii = NULL, *quoted = NULL;
	json_t *j = json_string(s);

	if (!j) { /* no UTF-8: a file name may be anything, and an error sentence may end inside a character */
		ascii = strdup(s);
		for (char *c = ascii; c && *c; c++)
			if ((unsigned char)*c >= 0x80)
				*c = '?';
		j = ascii ? json_string(ascii) : NULL;
	}
	quoted = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
	json_decref(j);
	return quoted && fputs(quoted, f) >= 0;
}

/* null for what the metadata does not say. */
static bool put_known(FILE *f, const char *s)
{
	if (s[0])
		return put_string(f, s);
	fputs("null", f);
	return true;
}

static bool put_member(FILE *f, const char *name, const char *value)
{
	bool ok;

	fprintf(f, "  \"%s\": ", name);
	ok = put_string(f, value);
	fputs(",\n", f);
	return ok;
}

/* The shortest decimal number that reads back as the same double. */
static void put_real(FILE *f, double x)
{
	char text[40];

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, x);
		if (strtod(text, NULL) == x)
			break;
	}
	for (char *c = text; *c; c++)
		if (*c == ',') /* some locales' decimal point */
			*c = '.';
	fputs(text, f);
}

/* "name": [x, y, z], with null for what the metadata did not say. */
static void put_int3(FILE *f, const char *name, const int64_t v[3], bool known)
{
	if (known)
		fprintf(f, "\"%s\": [%" PRId64 ", %" PRId64 ", %" PRId64 "]", name, v[0], v[1], v[2]);
	else
		fprintf(f, "\"%s\": null", name);
}

static void put_voxel_size(FILE *f, const struct vx_scale *s)
{
	fputs("\"voxel_size\": ", f);
	if (!(s->resolution[0] > 0)) {
		fputs("null", f);
		return;
	}
	for (int d = 0; d < 3; d++) {
		fputs(d ? ", " : "[", f);
		put_real(f, s->resolution[d]);
	}
	fputs("]", f);
}

static void put_chunk_sizes(FILE *f, const struct vx_scale *s)
{
	fputs("\"chunk_sizes\": ", f);
	if (!s->ngrids)
		fputs("null", f);
	for (unsigned g = 0; g < s->ngrids; g++) {
		const uint64_t *c = s->grids[g].chunk;

		fprintf(f, "%s[%" PRIu64 ", %" PRIu64 ", %" PRIu64 "]%s", g ? ", " : "[", c[0], c[1], c[2],
			g + 1 == s->ngrids ? "]" : "");
	}
}

/* The geometry members that the scale itself and its entry in the list share. */
static void put_geometry(FILE *f, const struct vx_scale *s, const char *between)
{
	put_voxel_size(f, s);
	fputs(between, f);
	put_int3(f, "voxel_offset", s->bounds.lo, !vx_box_empty(&s->bounds));
	fputs(between, f);
	put_chunk_sizes(f, s);
	fputs(between, f);
}

/* Precomputed's names in their one spelling; Zarr's and N5's lists of codecs as they are. */
static bool put_encoding(FILE *f, const struct vx_scale *s)
{
	const char *name = s->codec && s->codec == vx_codec_find(s->codec->name) ? s->codec->name : s->encoding;

	fputs("\"encoding\": ", f);
	if (name)
		return put_string(f, name);
	fputs("null", f);
	return true;
}

/* Whether voxfs serves the scale, and why not. */
static bool put_state(FILE *f, const struct vx_scale *s, const char *between)
{
	fprintf(f, "\"readable\": %s%s\"error\": ", s->bad.code ? "false" : "true", between);
	if (s->bad.code)
		return put_string(f, s->bad.why);
	fputs("null", f);
	return true;
}

static bool put_scale(FILE *f, const struct vx_scale *s, unsigned mip)
{
	int64_t size[3];
	bool ok;

	for (int d = 0; d < 3; d++)
		size[d] = s->bounds.hi[d] - s->bounds.lo[d];
	fprintf(f, "    {\"mip\": %u, \"dir\": \"", mip);
	if (mip)
		fprintf(f, "mip%u", mip);
	fputs("\", ", f);
	put_int3(f, "size", size, !vx_box_empty(&s->bounds));
	fputs(", ", f);
	put_geometry(f, s, ", ");
	ok = put_encoding(f, s);
	fputs(", ", f);
	ok &= put_state(f, s, ", ");
	fputs("}", f);
	return ok;
}

static void put_shape(FILE *f, const struct vx_volume *v, const struct vx_scale *s)
{
	uint64_t n[3], bytes;
	char box[VX_BOX_NAME_MAX];

	if (vx_box_empty(&s->bounds) || !vx_volume_box_bytes(v, &s->bounds, &bytes)) {
		fputs("  \"shape\": null,\n  \"numpy_shape\": null,\n  \"box\": null,\n  \"bytes\": null,\n  ", f);
		return;
	}
	vx_box_extents(&s->bounds, n);
	fprintf(f, "  \"shape\": {\"x\": %" PRIu64 ", \"y\": %" PRIu64 ", \"z\": %" PRIu64 "},\n", n[0], n[1], n[2]);
	fputs("  \"numpy_shape\": [", f);
	if (v->channels > 1)
		fprintf(f, "%" PRIu32 ", ", v->channels);
	fprintf(f, "%" PRIu64 ", %" PRIu64 ", %" PRIu64 "],\n", n[2], n[1], n[0]);
	vx_box_print(&s->bounds, box);
	fprintf(f, "  \"box\": \"%s\",\n  \"bytes\": %" PRIu64 ",\n  ", box, bytes);
}

static const char *role_name(enum vx_role r)
{
	static const char *const names[] = {
	    [VX_ROLE_X] = "x",       [VX_ROLE_Y] = "y",       [VX_ROLE_Z] = "z", [VX_ROLE_CHANNEL] = "channel",
	    [VX_ROLE_TIME] = "time", [VX_ROLE_NONE] = "none",
	};

	return names[r];
}

/* What the axes of the stored arrays are called, and what they became. */
static bool put_axes(FILE *f, const struct vx_volume *v)
{
	bool ok = true;

	fputs("  \"axes\": ", f);
	if (!v->naxes)
		fputs("null", f);
	for (unsigned i = 0; ok && i < v->naxes; i++) {
		fputs(i ? ", {\"name\": " : "[{\"name\": ", f);
		ok = put_known(f, v->axis[i].name);
		fprintf(f, ", \"is\": \"%s\", \"unit\": ", role_name(v->axis[i].role));
		ok = ok && put_known(f, v->axis[i].unit);
		fputs(i + 1 < v->naxes ? "}" : "}]", f);
	}
	fputs(",\n", f);
	return ok;
}

static bool put_times(FILE *f, const struct vx_volume *v, uint32_t time)
{
	bool ok;

	fprintf(f, "  \"times\": %" PRIu32 ",\n  \"time\": ", v->times);
	if (time == VX_ALL_TIMES)
		fputs("null", f);
	else
		fprintf(f, "%" PRIu32, time);
	fputs(",\n  \"time_step\": ", f);
	if (v->time_step > 0)
		put_real(f, v->time_step);
	else
		fputs("null", f);
	fputs(",\n  \"time_unit\": ", f);
	ok = put_known(f, v->time_unit);
	fputs(",\n", f);
	return ok;
}

static bool put_document(FILE *f, const struct vx_volume *v, unsigned scale, uint32_t time, const char *name,
			 const char *source)
{
	const struct vx_scale *s = &v->scales[scale];
	bool ok;

	fputs("{\n", f);
	ok = put_member(f, "name", name) && put_member(f, "source", source) &&
	     put_member(f, "format", v->format->name) && put_member(f, "type", v->type) &&
	     put_member(f, "dtype", vx_dtype_name(v->dtype));
	fprintf(f, "  \"channels\": %" PRIu32 ",\n  \"scale\": %u,\n  ", v->channels, scale);
	ok = ok && put_state(f, s, ",\n  ");
	fputs(",\n", f);
	ok = ok && put_axes(f, v) && put_times(f, v, time);
	put_shape(f, v, s);
	fputs("\"voxel_unit\": ", f);
	ok = ok && put_known(f, v->voxel_unit);
	fputs(",\n  ", f);
	put_geometry(f, s, ",\n  ");
	ok = ok && put_encoding(f, s);
	fputs(",\n  \"byte_order\": \"little\",\n  \"order\": \"x fastest, then y, z, channel\",\n  \"scales\": [\n",
	      f);
	for (unsigned i = 0; ok && i < v->nscales; i++) {
		ok = put_scale(f, &v->scales[i], i);
		fputs(i + 1 < v->nscales ? ",\n" : "\n", f);
	}
	fputs("  ]\n}\n", f);
	return ok && !ferror(f);
}

char *vx_info_json(const struct vx_volume *v, unsigned scale, uint32_t time, const char *name, const char *source)
{
	char *text = NULL;
	size_t len;
	FILE *f;
	bool ok;

	assert(scale < v->nscales);
	f = open_memstream(&text, &len);
	if (!f)
		return NULL;
	ok = put_document(f, v, scale, time, name, source);
	if (fclose(f) || !ok) {
		free(text);
		return NULL;
	}
	return text;
}
