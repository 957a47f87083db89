/* SPDX-License-Identifier: Apache-2.0
 * What fuzz_zarr2, fuzz_zarr3 and fuzz_n5 share: of metadata that is accepted, every promise of the parsers is checked.
 */
#include "base/limits.h"
#include "vol/image.h"
#include "vol/order.h"

#include <jansson.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_cell(const struct vx_volume *v, const struct vx_scale *s, const struct vx_cell *cell)
{
	struct vx_box b = vx_scale_cell_box(s, 0, cell->at);
	struct vx_chunk_form f = vx_scale_form(v, s, 0, cell);
	struct vx_shard_at at;
	uint64_t payload;
	char name[1024];
	int n;

	must(!vx_box_empty(&b) && vx_box_contains(&s->bounds, &b));
	payload = s->codec->max_payload(&f);
	must(payload > 0 && payload <= VX_MAX_CHUNK_BYTES + 4096 && vx_chunk_form_bytes(&f) <= payload);
	must(!s->codec->expand || s->codec->max_stored(&f) > 0);
	n = v->format->chunk_name(s, 0, cell, name, sizeof name);
	must(n > 0 && strlen(name) == (size_t)n && name[0] != '/');
	if (!s->sharding)
		return;
	vx_shard_find(s->sharding, s->grids[0].cells, cell->at, cell->slab, &at);
	vx_shard_find_time(s->sharding, cell->time, &at);
	must((at.chunk + 1) * 16 <= vx_shard_root_span(s->sharding, &at).len);
}

static void check_scale(const struct vx_volume *v, const struct vx_scale *s)
{
	struct vx_cell cell = {.slab = s->grids[0].slabs - 1, .time = v->times - 1};
	uint64_t bytes, lo[3], hi[3];
	struct vx_order o;

	must(s->codec && s->encoding && s->ngrids == 1 && !vx_box_empty(&s->bounds));
	must(vx_volume_box_bytes(v, &s->bounds, &bytes) && bytes > 0);
	vx_scale_cells(s, 0, &s->bounds, lo, hi);
	vx_order_init(&o, lo, hi, true);
	for (int i = 0; i < 10 && vx_order_next(&o, cell.at); i++)
		check_cell(v, s, &cell);
	for (int d = 0; d < 3; d++)
		cell.at[d] = hi[d] - 1;
	check_cell(v, s, &cell);
}

static void check_volume(const struct vx_volume *v)
{
	json_t *j;
	char *text;

	must(v->channels >= 1 && v->channels <= VX_MAX_CHANNELS && v->times >= 1 && v->times <= VX_MAX_TIMES);
	for (unsigned i = 0; i < v->nscales; i++) {
		must(!v->scales[i].bad.code == !v->scales[i].bad.why[0]);
		if (!v->scales[i].bad.code)
			check_scale(v, &v->scales[i]);
		text = vx_info_json(v, i, v->times > 1 ? VX_ALL_TIMES : 0, "name", v->scales[i].bad.why);
		j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
		must(j != NULL);
		json_decref(j);
		free(text);
	}
}

/* The array, or `copies` of it as the scales of an image. */
static void check_array(const struct vx_array *a, const struct vx_image *im)
{
	struct vx_level level = {.path = (char *)""};
	struct vx_image alone = {.nlevels = 1, .level = &level};
	struct vx_array copies[VX_MAX_SCALES];
	struct vx_err none[VX_MAX_SCALES] = {{0}}, e = {0};
	struct vx_volume *v = NULL;

	im = im ? im : &alone;
	for (unsigned i = 0; i < im->nlevels; i++)
		copies[i] = *a;
	if (vx_image_build(im, copies, none, "a/b", &v, &e) < 0) {
		must(!v && e.code < 0 && e.why[0]);
		return;
	}
	check_volume(v);
	vx_volume_free(&v);
}

/* Documents of two kinds in one input: a zero byte parts them. */
static size_t split(const uint8_t *data, size_t size, const char **second, size_t *second_len)
{
	const uint8_t *zero = memchr(data, 0, size);
	size_t first = zero ? (size_t)(zero - data) : size;

	*second = (const char *)data + (zero ? first + 1 : size);
	*second_len = zero ? size - first - 1 : 0;
	return first;
}

/* The document of a Zarr array and, behind a zero byte, that of a group that has it as its scales. */
static inline void check_zarr(const uint8_t *data, size_t size, bool v3)
{
	struct vx_array a;
	struct vx_ome o;
	struct vx_paths p;
	struct vx_err e = {0};
	const char *group;
	size_t group_len, len = split(data, size, &group, &group_len);

	if ((v3 ? vx_zarr3_parse : vx_zarr2_parse)((const char *)data, len, &a, &e) < 0) {
		must(e.code < 0 && e.why[0]);
		memset(&a, 0, sizeof a);
	} else {
		if (!v3)
			vx_zarr2_names(group, group_len, &a);
		check_array(&a, NULL);
	}
	if (!group_len)
		return;
	if (vx_zarr_consolidated(group, group_len, v3, &p, &e) == 0)
		vx_paths_free(&p);
	if (vx_ome_parse(group, group_len, v3, &o, &e) < 0)
		return;
	for (unsigned i = 0; a.rank && i < o.nimages; i++)
		check_array(&a, &o.image[i]);
	vx_ome_free(&o);
}
