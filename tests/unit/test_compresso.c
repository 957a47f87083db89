/* SPDX-License-Identifier: Apache-2.0
 * The compresso codec: the description's own stream, random labels through a plain encoder that is written down here
 * (every step, connectivity and version, every legal choice of a location), and streams that lie.
 */
#include "../lib/vxtest.h"
#include "codec/codec.h"

#include <string.h>

#define VOXELS_MAX 4096
#define STREAM_MAX (1 << 20)

static struct vx_pool *pool;

static void setup(void)
{
	ck_assert_int_eq(vx_pool_new(&pool, 1 << 20), 0);
}

static void teardown(void)
{
	ck_assert_uint_eq(vx_pool_bytes_used(pool), 0);
	vx_pool_free(&pool);
}

static int expand(const struct vx_chunk_form *f, const uint8_t *data, size_t len, struct vx_buf **ret, struct vx_err *e)
{
	struct vx_buf *stored = vx_buf_get(pool, len + 1);
	int err;

	memcpy(stored->data, data, len);
	stored->len = len;
	err = vx_codec_compresso.expand(pool, f, stored, ret, e);
	vx_buf_put(stored);
	return err;
}

/* ---- an encoder, voxel by voxel ---- */

struct volume {
	uint64_t n[3], label[VOXELS_MAX];
	uint8_t edge[VOXELS_MAX];
	uint32_t component[VOXELS_MAX];
	uint32_t width, step[3];
	int connectivity, version;
};

struct stream {
	uint8_t *at;
	size_t len;
};

static void put(struct stream *s, uint64_t v, size_t bytes)
{
	ck_assert(s->len + bytes <= STREAM_MAX);
	memcpy(s->at + s->len, &v, bytes);
	s->len += bytes;
}

static uint64_t index_of(const struct volume *v, uint64_t x, uint64_t y, uint64_t z)
{
	return x + v->n[0] * (y + v->n[1] * z);
}

/* The neighbour of voxel i in the direction of a location's code, or -1. */
static int64_t neighbour(const struct volume *v, uint64_t i, unsigned code)
{
	int64_t at[3] = {(int64_t)(i % v->n[0]), (int64_t)(i / v->n[0] % v->n[1]), (int64_t)(i / v->n[0] / v->n[1])};

	at[code / 2] += code % 2 ? 1 : -1;
	if (at[code / 2] < 0 || at[code / 2] >= (int64_t)v->n[code / 2])
		return -1;
	return (int64_t)index_of(v, (uint64_t)at[0], (uint64_t)at[1], (uint64_t)at[2]);
}

static uint64_t voxels(const struct volume *v)
{
	return v->n[0] * v->n[1] * v->n[2];
}

static void find_edges(struct volume *v)
{
	for (uint64_t i = 0; i < voxels(v); i++) {
		v->edge[i] = 0;
		for (unsigned code = 1; code < (v->connectivity == 6 ? 6 : 4); code += 2) {
			int64_t k = neighbour(v, i, code);

			v->edge[i] |= k >= 0 && v->label[k] != v->label[i];
		}
	}
}

static void flood(struct volume *v, uint64_t from, uint32_t number)
{
	static uint64_t stack[VOXELS_MAX];
	size_t n = 0;

	v->component[from] = number;
	stack[n++] = from;
	while (n > 0) {
		uint64_t i = stack[--n];

		for (unsigned code = 0; code < (v->connectivity == 6 ? 6u : 4u); code++) {
			int64_t k = neighbour(v, i, code);

			if (k < 0 || v->edge[k] || v->component[k])
				continue;
			v->component[k] = number;
			stack[n++] = (uint64_t)k;
		}
	}
}

/* Writes ids; in_slice: how many of them begin in each. */
static uint64_t put_components(struct volume *v, struct stream *s, uint64_t *in_slice)
{
	uint32_t count = 0;

	memset(v->component, 0, sizeof v->component);
	for (uint64_t i = 0; i < voxels(v); i++) {
		if (v->edge[i] || v->component[i])
			continue;
		flood(v, i, ++count);
		put(s, v->label[i], v->width);
		in_slice[i / v->n[0] / v->n[1]]++;
	}
	return count;
}

/* The voxel's label as a location: any of the ways that are right. */
static void put_location(const struct volume *v, struct stream *s, uint64_t i, struct vxt_rng *r)
{
	uint64_t most = v->width == 8 ? UINT64_MAX : ((uint64_t)1 << (8 * v->width)) - 1;
	unsigned start = (unsigned)vxt_rnd(r, 8), codes = v->connectivity == 6 || v->version == 0 ? 6 : 4;

	for (unsigned c = 0; c < 8; c++) {
		unsigned code = (start + c) % 8;
		int64_t k = code < codes ? neighbour(v, i, code) : -1;

		if (k >= 0 && !v->edge[k] && v->label[k] == v->label[i]) {
			put(s, code, v->width);
			return;
		}
		if (code == 7)
			break;
	}
	if (v->label[i] > most - 7 || vxt_rnd(r, 2)) {
		put(s, 6, v->width);
		put(s, v->label[i], v->width);
	} else {
		put(s, v->label[i] + 7, v->width);
	}
}

static uint64_t put_locations(const struct volume *v, struct stream *s, uint64_t *start, struct vxt_rng *r)
{
	size_t begin = s->len;

	for (uint64_t i = 0; i < voxels(v); i++) {
		bool given = false;

		if (i % (v->n[0] * v->n[1]) == 0)
			start[i / v->n[0] / v->n[1]] = (s->len - begin) / v->width;
		if (!v->edge[i])
			continue;
		for (unsigned code = 0; code < (v->connectivity == 6 ? 6 : 4); code += 2) {
			int64_t k = neighbour(v, i, code);

			given |= k >= 0 && !v->edge[k];
		}
		if (!given)
			put_location(v, s, i, r);
	}
	return (s->len - begin) / v->width;
}

static size_t window_width(const struct volume *v)
{
	uint32_t n = v->step[0] * v->step[1] * v->step[2];

	return n <= 8 ? 1 : n <= 16 ? 2 : n <= 32 ? 4 : 8;
}

static uint64_t window_at(const struct volume *v, uint64_t wx, uint64_t wy, uint64_t wz)
{
	uint64_t bits = 0, n = 0;

	for (uint64_t z = 0; z < v->step[2]; z++)
		for (uint64_t y = 0; y < v->step[1]; y++)
			for (uint64_t x = 0; x < v->step[0]; x++, n++) {
				uint64_t at[3] = {wx * v->step[0] + x, wy * v->step[1] + y, wz * v->step[2] + z};

				if (at[0] < v->n[0] && at[1] < v->n[1] && at[2] < v->n[2] &&
				    v->edge[index_of(v, at[0], at[1], at[2])])
					bits |= (uint64_t)1 << n;
			}
	return bits;
}

/* Values go to `values`, in order of appearance, and their numbers, as runs or one by one, to `windows`. False: there
 * are more values than a window's bytes can number. */
static bool put_windows(const struct volume *v, struct stream *values, struct stream *windows)
{
	size_t ww = window_width(v), n = 0;
	uint64_t grid[3], run = 0, most = ww == 8 ? UINT64_MAX / 2 : (((uint64_t)1 << (8 * ww)) - 1) / 2;

	for (int d = 0; d < 3; d++)
		grid[d] = (v->n[d] + v->step[d] - 1) / v->step[d];
	for (uint64_t i = 0; i < grid[0] * grid[1] * grid[2]; i++) {
		uint64_t w = window_at(v, i % grid[0], i / grid[0] % grid[1], i / grid[0] / grid[1]), k = 0;

		while (k < n && memcmp(values->at + k * ww, &w, ww))
			k++;
		if (k == n) {
			put(values, w, ww);
			n++;
		}
		if (k > most)
			return false;
		if (run && (k || run == most)) {
			put(windows, run << 1 | 1, ww);
			run = 0;
		}
		if (k)
			put(windows, k << 1, ww);
		else
			run++;
	}
	if (run)
		put(windows, run << 1 | 1, ww);
	return true;
}

static void put_index(const struct volume *v, struct stream *s, const uint64_t *counts, const uint64_t *starts)
{
	uint64_t most = 2 * v->n[0] * v->n[1];
	size_t width = most < 255 ? 1 : most < 65535 ? 2 : 4;

	for (uint64_t z = 0; z < v->n[2]; z++)
		put(s, counts[z], width);
	for (uint64_t z = 0; z < v->n[2]; z++)
		put(s, starts[z] - (z ? starts[z - 1] : 0), width);
}

static bool encode(struct volume *v, struct stream *s, struct vxt_rng *r)
{
	static uint8_t mem[4][STREAM_MAX];
	struct stream ids = {mem[0], 0}, values = {mem[1], 0}, locations = {mem[2], 0}, windows = {mem[3], 0};
	uint64_t counts[VOXELS_MAX] = {0}, starts[VOXELS_MAX] = {0}, n_ids, n_locations;

	find_edges(v);
	n_ids = put_components(v, &ids, counts);
	n_locations = put_locations(v, &locations, starts, r);
	if (!put_windows(v, &values, &windows))
		return false;
	s->len = 0;
	put(s, 0x6f737063, 4);
	put(s, (uint64_t)v->version, 1);
	put(s, v->width, 1);
	for (int d = 0; d < 3; d++)
		put(s, v->n[d], 2);
	for (int d = 0; d < 3; d++)
		put(s, v->step[d], 1);
	put(s, n_ids, 8);
	put(s, values.len / window_width(v), 4);
	put(s, n_locations, 8);
	put(s, (uint64_t)v->connectivity, 1);
	for (int i = 0; i < 4; i++) {
		memcpy(s->at + s->len, mem[i], (const size_t[]){ids.len, values.len, locations.len, windows.len}[i]);
		s->len += (const size_t[]){ids.len, values.len, locations.len, windows.len}[i];
	}
	if (v->version == 1)
		put_index(v, s, counts, starts);
	return true;
}

/* ---- what it is for ---- */

static struct volume volume;
static uint8_t stream_memory[STREAM_MAX];

static struct vx_chunk_form form_of(const struct volume *v)
{
	return (struct vx_chunk_form){.n = {v->n[0], v->n[1], v->n[2]}, .channels = 1, .width = v->width};
}

/* Boxes of labels over each other, and some single voxels. */
static void random_labels(struct volume *v, struct vxt_rng *r)
{
	uint64_t most = v->width == 8 ? UINT64_MAX : ((uint64_t)1 << (8 * v->width)) - 1;

	memset(v->label, 0, sizeof v->label);
	for (uint64_t k = vxt_rnd(r, 12); k > 0; k--) {
		uint64_t label = vxt_rnd(r, 2) ? most - vxt_rnd(r, 9) : vxt_rnd(r, 9), lo[3], hi[3];

		for (int d = 0; d < 3; d++) {
			lo[d] = vxt_rnd(r, v->n[d]);
			hi[d] = lo[d] + 1 + vxt_rnd(r, v->n[d] - lo[d]);
		}
		for (uint64_t z = lo[2]; z < hi[2]; z++)
			for (uint64_t y = lo[1]; y < hi[1]; y++)
				for (uint64_t x = lo[0]; x < hi[0]; x++)
					v->label[index_of(v, x, y, z)] = label;
	}
	for (uint64_t k = vxt_rnd(r, 2) * vxt_rnd(r, voxels(v)); k > 0; k--)
		v->label[vxt_rnd(r, voxels(v))] = vxt_rnd(r, 3);
}

static void random_volume(struct volume *v, struct vxt_rng *r)
{
	static const uint32_t steps[][3] = {{4, 4, 1}, {8, 8, 1}, {4, 4, 2}, {4, 2, 1},  {3, 5, 1},
					    {1, 1, 1}, {8, 1, 1}, {1, 1, 7}, {64, 1, 1}, {5, 3, 4}};

	v->n[0] = 1 + vxt_rnd(r, vxt_rnd(r, 4) ? 20 : 150);
	v->n[1] = 1 + vxt_rnd(r, vxt_rnd(r, 4) ? 12 : 3);
	v->n[2] = 1 + vxt_rnd(r, v->n[0] > 40 ? 8 : 15);
	v->width = 1u << vxt_rnd(r, 4);
	v->connectivity = vxt_rnd(r, 2) ? 4 : 6;
	v->version = (int)vxt_rnd(r, 2);
	memcpy(v->step, steps[vxt_rnd(r, VX_ARRAY_LEN(steps))], sizeof v->step);
	while (voxels(v) > VOXELS_MAX)
		v->n[2]--;
	random_labels(v, r);
}

static bool random_stream(struct vxt_rng *r, struct stream *s)
{
	random_volume(&volume, r);
	s->at = stream_memory;
	return encode(&volume, s, r);
}

START_TEST(random_labels_come_back)
{
	struct vxt_rng r = vxt_seed("compresso", _i);

	for (unsigned i = vxt_ops(200); i > 0; i--) {
		struct vx_buf *got = NULL;
		struct vx_err e = {0};
		struct vx_chunk_form f;
		struct stream s;

		if (!random_stream(&r, &s))
			continue;
		f = form_of(&volume);
		if (s.len > vx_codec_compresso.max_stored(&f))
			ck_abort_msg("%zu bytes are more than the bound", s.len);
		if (expand(&f, s.at, s.len, &got, &e) < 0)
			ck_abort_msg("%s", e.why);
		for (uint64_t k = 0; k < voxels(&volume); k++)
			if (memcmp(got->data + k * f.width, &volume.label[k], f.width))
				ck_abort_msg("voxel %llu differs", (unsigned long long)k);
		if (got->len != vx_chunk_form_bytes(&f))
			ck_abort_msg("%zu bytes", got->len);
		vx_buf_put(got);
	}
}
END_TEST

/* Whatever is cut off or changed: a sentence, or voxels of the right length. */
START_TEST(damage_is_met_with_a_sentence)
{
	struct vxt_rng r = vxt_seed("compresso-damage", _i);

	for (unsigned i = vxt_ops(200); i > 0; i--) {
		struct vx_buf *got = NULL;
		struct vx_err e = {0};
		struct vx_chunk_form f;
		struct stream s;
		int err;

		if (!random_stream(&r, &s))
			continue;
		f = form_of(&volume);
		if (vxt_rnd(&r, 3) == 0)
			s.len = vxt_rnd(&r, s.len);
		for (uint64_t k = s.len ? vxt_rnd(&r, 4) : 0; k > 0; k--)
			s.at[vxt_rnd(&r, vxt_rnd(&r, 2) ? vx_min_u64(s.len, 36) : s.len)] = (uint8_t)vxt_rnd(&r, 256);
		err = expand(&f, s.at, s.len, &got, &e);
		if (err == 0 ? got->len != vx_chunk_form_bytes(&f) : err != -EBADMSG || !e.why[0] || got)
			ck_abort_msg("%d %s", err, e.why);
		vx_buf_put(got);
	}
}
END_TEST

/* ---- the description's stream, and lies in it ---- */

static const uint8_t vector[] = {
    /* clang-format off */
	'c', 'p', 's', 'o', 1, 1, 4, 0, 4, 0, 2, 0, 4, 4, 1, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4,
	1, 2, 3, 1, 2, 3, 0xff, 0x72, 0x0c, 0x72, 0x4c, 8, 8, 3, 0, 2, 0, 3, 4, 0, 1,
    /* clang-format on */
};

static const struct vx_chunk_form vector_form = {.n = {4, 4, 2}, .channels = 1, .width = 1};

START_TEST(the_descriptions_stream)
{
	static const uint8_t want[] = {1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 3, 2, 3, 3, 3, 3,
				       1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 3, 2, 3, 3, 3, 0xff};
	struct vx_buf *got = NULL;
	struct vx_err e = {0};

	ck_assert_msg(expand(&vector_form, vector, sizeof vector, &got, &e) == 0, "%s", e.why);
	ck_assert_uint_eq(got->len, sizeof want);
	ck_assert_mem_eq(got->data, want, sizeof want);
	vx_buf_put(got);
	for (size_t n = 0; n < sizeof vector; n++)
		ck_assert_int_eq(expand(&vector_form, vector, n, &got, &e), -EBADMSG);
}
END_TEST

static const struct {
	size_t at;
	uint8_t byte;
	const char *sentence; /* a part of it */
} lies[] = {
    {3, 'x', "no compresso stream"},
    {4, 2, "version 2 is not known"},
    {5, 2, "labels have 2 bytes, those of the volume 1"},
    {6, 5, "5 voxels along x instead of 4"},
    {9, 1, "260 voxels along y instead of 4"},
    {10, 1, "1 voxels along z instead of 2"},
    {12, 0, "windows that are not of 1 to 64 voxels"},
    {14, 5, "windows that are not of 1 to 64 voxels"},
    {15, 200, "cut off"},
    {22, 0xff, "cut off"},
    {26, 0xff, "cut off"},
    {34, 0xff, "cut off"},
    {15, 8, "ends within a window"},
    {15, 5, "a value that does not exist"},
    {35, 5, "connectivity"},
    {47, 2, "takes a label from a boundary"},
    {47, 4, "takes a label from outside"},
    {48, 6, "too few labels of boundary voxels"},
    {49, 9, "more than 2 windows"},
    {51, 4, "a value that does not exist"},
    {53, 2, "is not as its index says"},
    {56, 0, "is not as its index says"},
};

START_TEST(lies_are_refused)
{
	uint8_t data[sizeof vector];
	struct vx_buf *got = NULL;
	struct vx_err e = {0};

	memcpy(data, vector, sizeof data);
	data[lies[_i].at] = lies[_i].byte;
	ck_assert_int_eq(expand(&vector_form, data, sizeof data, &got, &e), -EBADMSG);
	ck_assert_msg(strstr(e.why, lies[_i].sentence) != NULL, "%s", e.why);
	ck_assert_ptr_null(got);
}
END_TEST

/* A label that no region takes, with and without an index of slices. */
START_TEST(labels_left_over)
{
	const size_t behind_ids = 43, index = 6;
	uint8_t data[sizeof vector + 1];
	struct vx_buf *got = NULL;
	struct vx_err e = {0};

	memcpy(data, vector, behind_ids);
	data[behind_ids] = 9;
	memcpy(data + behind_ids + 1, vector + behind_ids, sizeof vector - behind_ids);
	data[15]++;
	data[4] = _i ? 1 : 0;
	ck_assert_int_eq(expand(&vector_form, data, sizeof data - (_i ? 0 : index), &got, &e), -EBADMSG);
	ck_assert_msg(strstr(e.why, "more labels than its boundaries enclose") != NULL, "%s", e.why);
	ck_assert_ptr_null(got);
}
END_TEST

/* A few bytes that stand for a chunk of 2 GiB, of another shape than the volume's: nothing is taken for it. */
START_TEST(shape_before_memory)
{
	struct vx_chunk_form f = {.n = {65536, 4, 2}, .channels = 1, .width = 1};
	struct vx_buf *got = NULL;
	struct vx_err e = {0};
	uint8_t data[sizeof vector];

	ck_assert_int_eq(expand(&f, vector, sizeof vector, &got, &e), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.why, "of this shape"));
	memcpy(data, vector, sizeof data);
	memset(data + 6, 0xff, 6);
	ck_assert_int_eq(expand(&vector_form, data, sizeof data, &got, &e), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.why, "65535 voxels along x"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("compresso");
	TCase *t = tcase_create("compresso");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, random_labels_come_back, 0, 5);
	tcase_add_loop_test(t, damage_is_met_with_a_sentence, 0, 5);
	tcase_add_test(t, the_descriptions_stream);
	tcase_add_loop_test(t, lies_are_refused, 0, VX_ARRAY_LEN(lies));
	tcase_add_loop_test(t, labels_left_over, 0, 2);
	tcase_add_test(t, shape_before_memory);
	return vxt_run(s);
}
