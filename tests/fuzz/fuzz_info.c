/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as an `info` document. Of what is accepted, the promises of the parser are checked by
 * walking the first, last and middle cells of every grid, and info.json must be JSON.
 */
#include "base/limits.h"
#include "vol/order.h"
#include "vol/volume.h"

#include <jansson.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_cell(const struct vx_volume *v, const struct vx_scale *s, unsigned g, const uint64_t cell[3])
{
	struct vx_box b = vx_scale_cell_box(s, g, cell);
	struct vx_chunk_form f;
	uint64_t lo[3], hi[3], bytes;
	char name[VX_MAX_URL], box[VX_BOX_NAME_MAX];
	struct vx_box back;
	int n;

	must(!vx_box_empty(&b) && vx_box_contains(&s->bounds, &b));
	vx_scale_cells(s, g, &b, lo, hi);
	for (int d = 0; d < 3; d++)
		must(lo[d] == cell[d] && hi[d] == cell[d] + 1);
	f = vx_scale_form(v, s, g, &(struct vx_cell){.at = {cell[0], cell[1], cell[2]}});
	must(vx_volume_box_bytes(v, &b, &bytes) && bytes == vx_chunk_form_bytes(&f) && bytes <= VX_MAX_CHUNK_BYTES);
	must(vx_scale_best_grid(s, &b) < s->ngrids);
	n = vx_precomputed_chunk_name(s, &b, name, sizeof name);
	must(n > 0 && strlen(name) == (size_t)n && name[0] != '/');
	n = v->format->chunk_name(s, g, &(struct vx_cell){.at = {cell[0], cell[1], cell[2]}}, name, sizeof name);
	must(n > 0 && strlen(name) == (size_t)n && name[0] != '/');
	n = vx_box_print(&b, box);
	must(vx_box_parse(box, (size_t)n, &back) && vx_box_equal(&b, &back));
}

static void check_scale(const struct vx_volume *v, const struct vx_scale *s)
{
	uint64_t bytes, lo[3], hi[3], cell[3];
	struct vx_order o;

	must(s->codec && s->encoding && s->ngrids > 0 && !vx_box_empty(&s->bounds));
	must(vx_volume_box_bytes(v, &s->bounds, &bytes) && bytes > 0);
	for (unsigned g = 0; g < s->ngrids; g++) {
		vx_scale_cells(s, g, &s->bounds, lo, hi);
		for (int d = 0; d < 3; d++)
			must(!lo[d] && hi[d] == s->grids[g].cells[d]);
		vx_order_init(&o, lo, hi, g % 2 == 0);
		for (int i = 0; i < 20 && vx_order_next(&o, cell); i++)
			check_cell(v, s, g, cell);
		for (int d = 0; d < 3; d++)
			cell[d] = hi[d] / 2;
		check_cell(v, s, g, cell);
		for (int d = 0; d < 3; d++)
			cell[d] = hi[d] - 1;
		check_cell(v, s, g, cell);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vx_volume *v = NULL;
	struct vx_err e = {0};
	unsigned good = 0;

	if (vx_precomputed_parse((const char *)data, size, &v, &e) < 0) {
		must(!v && e.code < 0 && e.why[0]);
		return 0;
	}
	for (unsigned i = 0; i < v->nscales; i++) {
		char *text;
		json_t *j;

		must(!v->scales[i].bad.code == !v->scales[i].bad.why[0]);
		if (!v->scales[i].bad.code) {
			check_scale(v, &v->scales[i]);
			good++;
		}
		if (i > 1) /* all have the same list of scales: twice is enough */
			continue;
		text = vx_info_json(v, i, 0, "name", e.why);
		must(text != NULL);
		j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
		must(j != NULL);
		json_decref(j);
		free(text);
	}
	must(good > 0);
	vx_volume_free(&v);
	return 0;
}
