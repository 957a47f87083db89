/* SPDX-License-Identifier: Apache-2.0
 * Groups: what attributes of OME-Zarr and N5 say of the arrays in them, and the volumes those become.
 */
#include "../lib/vxtest.h"
#include "vol/image.h"

#include <string.h>

#define AXIS(name, type, unit) "{\"name\":\"" name "\",\"type\":\"" type "\",\"unit\":\"" unit "\"}"
#define ZYX AXIS("z", "space", "micrometer") "," AXIS("y", "space", "micrometer") "," AXIS("x", "space", "micrometer")
#define SCALED(path, scale)                                                                                 \
	"{\"path\":\"" path "\",\"coordinateTransformations\":[{\"type\":\"scale\",\"scale\":[" scale "]}," \
	"{\"type\":\"translation\",\"translation\":[0.5,0.5,0.5]}]}"
#define OME(axes, datasets, more) "{\"multiscales\":[{\"axes\":[" axes "],\"datasets\":[" datasets "]" more "}]}"

static struct vx_array array(unsigned rank, const uint64_t *shape)
{
	struct vx_array a = {.format = &vx_format_zarr2, .dtype = VX_U16, .rank = rank, .separator = '/'};

	for (unsigned i = 0; i < rank; i++) {
		a.shape[i] = shape[i];
		a.object[i] = a.inner[i] = a.chunk[i] = 1;
		a.order[i] = i;
	}
	return a;
}

static struct vx_volume *must_build(const struct vx_image *im, const struct vx_array *a, const struct vx_err *err)
{
	struct vx_volume *v = NULL;
	struct vx_err e = {0};

	ck_assert_msg(vx_image_build(im, a, err, "top", &v, &e) == 0, "%s", e.why);
	return v;
}

static void must_ome(const char *text, bool v3, struct vx_ome *o)
{
	struct vx_err e = {0};

	ck_assert_msg(vx_ome_parse(text, strlen(text), v3, o, &e) == 0, "%s: %s", text, e.why);
}

static void check_resolution(const struct vx_scale *s, double x, double y, double z)
{
	ck_assert_msg(s->resolution[0] == x && s->resolution[1] == y && s->resolution[2] == z, "%g %g %g",
		      s->resolution[0], s->resolution[1], s->resolution[2]);
}

START_TEST(scales_are_nanometres)
{
	static const uint64_t shapes[][3] = {{8, 16, 32}, {8, 8, 16}};
	const struct vx_array a[] = {array(3, shapes[0]), array(3, shapes[1])};
	const struct vx_err none[2] = {0};
	struct vx_ome o;
	struct vx_volume *v;

	must_ome(OME(ZYX, SCALED("a/0", "2,0.5,0.25") "," SCALED("a/1", "2,1,0.5"),
		     ",\"coordinateTransformations\":[{\"type\":\"scale\",\"scale\":[1,2,1]}],\"name\":\"em\""),
		 false, &o);
	ck_assert_uint_eq(o.nimages, 1);
	ck_assert_str_eq(o.image[0].name, "em");
	v = must_build(&o.image[0], a, none);
	ck_assert_str_eq(v->voxel_unit, "nm");
	ck_assert_str_eq(v->type, "image");
	ck_assert_str_eq(v->scales[0].key, "top/a/0");
	check_resolution(&v->scales[0], 250, 1000, 2000);
	check_resolution(&v->scales[1], 500, 2000, 2000);
	vx_volume_free(&v);
	vx_ome_free(&o);
}
END_TEST

START_TEST(time_has_a_step_and_units_may_be_unknown)
{
	static const uint64_t shape[] = {3, 8, 9};
	const struct vx_array a = array(3, shape);
	const struct vx_err none = {0};
	struct vx_ome o;
	struct vx_volume *v;

	must_ome("{\"attributes\":{\"ome\":{\"version\":\"0.5\",\"image-label\":{},\"multiscales\":[{\"axes\":[" AXIS(
		     "when", "time",
		     "second") "," AXIS("y", "space",
					"furlong") "," AXIS("x", "space",
							    "furlong") "],"
								       "\"datasets\":[{\"path\":\"0\","
								       "\"coordinateTransformations\":[{\"type\":"
								       "\"scale\",\"scale\":[2.5,3,4]}]}]}]}}}",
		 true, &o);
	v = must_build(&o.image[0], &a, &none);
	ck_assert_uint_eq(v->times, 3);
	ck_assert(v->time_step == 2.5);
	ck_assert_str_eq(v->time_unit, "second");
	ck_assert_str_eq(v->voxel_unit, "furlong");
	ck_assert_str_eq(v->type, "segmentation");
	check_resolution(&v->scales[0], 4, 3, 1);
	vx_volume_free(&v);
	vx_ome_free(&o);
}
END_TEST

START_TEST(bad_scales_spare_the_others)
{
	static const uint64_t shapes[][3] = {{8, 16, 32}, {8, 0, 16}, {8, 8, 8}, {4, 4, 4}};
	struct vx_array a[] = {array(3, shapes[0]), array(3, shapes[1]), array(3, shapes[2]), array(3, shapes[3])};
	struct vx_err err[4] = {0};
	struct vx_ome o;
	struct vx_volume *v;

	a[2].dtype = VX_F32;
	vx_fail(&err[3], -EBADMSG, "broken");
	must_ome(OME("\"z\",\"y\",\"x\"", "{\"path\":\"0\"},{\"path\":\"1\"},{\"path\":\"2\"},{\"path\":\"3\"}", ""),
		 false, &o);
	v = must_build(&o.image[0], a, err);
	ck_assert_int_eq(v->scales[0].bad.code, 0);
	ck_assert_str_eq(v->scales[1].bad.why, "top/1: shape[1] is 0: the array is empty");
	ck_assert_str_eq(v->scales[2].bad.why, "top/2: its type is float32 and that of the volume uint16");
	ck_assert_str_eq(v->scales[3].bad.why, "broken");
	check_resolution(&v->scales[0], 0, 0, 0);
	ck_assert_str_eq(v->voxel_unit, "");
	vx_volume_free(&v);
	vx_ome_free(&o);
}
END_TEST

/* One thing about the second scale is not as in the first; it alone is left out, and says why. */
static const struct {
	uint64_t shape[3]; /* c, y, x or t, y, x */
	unsigned rank;
	uint32_t times_apart;
	const char *axes, *why;
} others[] = {
    {{3, 8, 9}, 3, 0, "\"c\",\"y\",\"x\"", "it has 3 channels and the volume 2"},
    {{3, 8, 9}, 3, 0, "\"t\",\"y\",\"x\"", "it has 3 time points and the volume 2"},
    {{2, 8, 9}, 3, 7, "\"t\",\"y\",\"x\"", "time is an axis of it and a folder around it"},
    {{8, 9}, 2, 0, "\"c\",\"y\",\"x\"", "the array has 2 axes and its volume 3"},
};

START_TEST(scales_that_are_of_another_volume)
{
	static const uint64_t shape[] = {2, 16, 18};
	struct vx_array a[] = {array(3, shape), array(others[_i].rank, others[_i].shape)};
	const struct vx_err none[2] = {0};
	struct vx_ome o;
	struct vx_volume *v;
	char text[300];

	a[1].times_apart = others[_i].times_apart;
	snprintf(text, sizeof text, OME("%s", "{\"path\":\"0\"},{\"path\":\"1\"}", ""), others[_i].axes);
	must_ome(text, false, &o);
	v = must_build(&o.image[0], a, none);
	ck_assert_int_eq(v->scales[0].bad.code, 0);
	ck_assert_msg(strstr(v->scales[1].bad.why, others[_i].why) != NULL, "%s", v->scales[1].bad.why);
	vx_volume_free(&v);
	vx_ome_free(&o);
}
END_TEST

static void refuse_build(const struct vx_image *im, const struct vx_array *a, const char *base, const char *why)
{
	const struct vx_err none = {0};
	struct vx_volume *v = NULL;
	struct vx_err e = {0};

	ck_assert_int_lt(vx_image_build(im, a, &none, base, &v, &e), 0);
	ck_assert_msg(strstr(e.why, why) != NULL, "%s", e.why);
	ck_assert_ptr_null(v);
}

START_TEST(images_that_cannot_be)
{
	static const uint64_t shape[] = {8, 16, 32, 9};
	const struct vx_array three = array(3, shape), four = array(4, shape);
	char base[600];
	struct vx_ome o;

	must_ome(OME(ZYX, SCALED("0", "1,1,1"), ""), false, &o);
	refuse_build(&o.image[0], &four, "top", "3 axes are described and the array has 4");
	memset(base, 'd', sizeof base - 1);
	base[sizeof base - 1] = 0;
	refuse_build(&o.image[0], &three, base, "ddd"); /* longer than a key may be */
	vx_ome_free(&o);
}
END_TEST

/* `one`, n times, with commas between. */
static char *repeated(const char *before, const char *one, unsigned n, const char *after)
{
	size_t size = strlen(before) + n * (strlen(one) + 1) + strlen(after) + 1;
	char *text = malloc(size), *at = text + sprintf(text, "%s", before);

	for (unsigned i = 0; i < n; i++)
		at += sprintf(at, "%s%s", i ? "," : "", one);
	strcpy(at, after);
	return text;
}

START_TEST(more_than_anybody_has)
{
	static const struct {
		const char *before, *one, *after, *why;
		unsigned most;
	} cases[] = {
	    {"{\"labels\":[", "\"a\"", "]}", "labels has 4097 entries; it must have at most 4096", 4096},
	    {"{\"multiscales\":[{\"datasets\":[", "{\"path\":\"0\"}", "]}]}", "64", 64},
	};
	struct vx_ome o;

	for (unsigned i = 0; i < VX_ARRAY_LEN(cases); i++)
		for (unsigned n = 0; n < 2; n++) {
			VX_AUTO_FREE char *text =
			    repeated(cases[i].before, cases[i].one, cases[i].most + n, cases[i].after);
			struct vx_err e = {0};
			int r = vx_ome_parse(text, strlen(text), false, &o, &e);

			ck_assert_msg(n ? r < 0 && strstr(e.why, cases[i].why) : r == 0, "%u: %s", i, e.why);
			if (r == 0)
				vx_ome_free(&o);
		}
}
END_TEST

START_TEST(more_arrays_than_anybody_has)
{
	VX_AUTO_FREE char *text = malloc(200000);
	char *at = text + sprintf(text, "{\"metadata\":{");
	struct vx_paths p;
	struct vx_err e = {0};

	for (unsigned i = 0; i < 4096; i++)
		at += sprintf(at, "\"%u/.zarray\":{\"shape\":[2,3]},", i);
	strcpy(at - 1, "}}");
	ck_assert_int_eq(vx_zarr_consolidated(text, strlen(text), false, &p, &e), 0);
	ck_assert_uint_eq(p.n, 4096);
	vx_paths_free(&p);
	strcpy(at - 1, ",\"a/.zarray\":{\"shape\":[2,3]}}}");
	ck_assert_int_eq(vx_zarr_consolidated(text, strlen(text), false, &p, &e), -EFBIG);
	ck_assert_msg(strstr(e.why, "more than 4096 entries") != NULL, "%s", e.why);
}
END_TEST

START_TEST(groups_that_are_no_images)
{
	struct vx_ome o;

	must_ome("{}", true, &o);
	ck_assert_uint_eq(o.nimages + o.labels.n + o.parts.n, 0);
	must_ome("{\"attributes\":[]}", true, &o);
	must_ome("{\"labels\":[\"cells\",\"a/0\"],\"x\":NaN}", false, &o);
	ck_assert_uint_eq(o.labels.n, 2);
	ck_assert_str_eq(o.labels.at[1], "a/0");
	vx_ome_free(&o);
	must_ome("{\"bioformats2raw.layout\":3}", false, &o);
	ck_assert(o.is_bioformats);
	must_ome("{\"attributes\":{\"ome\":{\"series\":[\"0\",\"1\"]}}}", true, &o);
	ck_assert_uint_eq(o.parts.n, 2);
	vx_ome_free(&o);
	must_ome("{\"well\":{\"images\":[{\"path\":\"0\"},{\"path\":\"1\"}]}}", false, &o);
	ck_assert_uint_eq(o.parts.n, 2);
	vx_ome_free(&o);
	must_ome("{\"plate\":{\"wells\":[{\"path\":\"B/7\"}]}}", false, &o);
	ck_assert_str_eq(o.field, "B/7");
	vx_ome_free(&o);
}
END_TEST

static const char *const bad[][2] = {
    {"{\"multiscales\":[{\"axes\":[],\"datasets\":[{\"path\":\"0\"}]}]}", "axes has 0 entries"},
    {"{\"multiscales\":[{}]}", "datasets is missing"},
    {"{\"multiscales\":[7]}", "multiscales[0] is a number"},
    {"{\"multiscales\":[{\"datasets\":[]}]}", "datasets has 0 entries"},
    {"{\"multiscales\":[{\"datasets\":[{}]}]}", "path is missing"},
    {"{\"multiscales\":[{\"datasets\":[{\"path\":\"../x\"}]}]}", "\"../x\" is no path within the group"},
    {"{\"multiscales\":[{\"datasets\":[{\"path\":\"/x\"}]}]}", "no path within the group"},
    {"{\"multiscales\":[{\"datasets\":[{\"path\":\"a//x\"}]}]}", "no path within the group"},
    {"{\"multiscales\":[{\"datasets\":[{\"path\":\"a\\u0001\"}]}]}", "no path within the group"},
    {"{\"multiscales\":[{\"coordinateSystems\":[],\"datasets\":[{\"path\":\"0\"}]}]}", "version of OME-Zarr"},
    {"{\"labels\":[\"..\"]}", "\"..\" is no path"},
    {"{\"labels\":[7]}", "labels[0] is a number"},
};

START_TEST(attributes_that_are_refused)
{
	struct vx_ome o;
	struct vx_err e = {0};

	ck_assert_int_lt(vx_ome_parse(bad[_i][0], strlen(bad[_i][0]), false, &o, &e), 0);
	ck_assert_msg(strstr(e.why, bad[_i][1]) != NULL, "%s: %s", bad[_i][0], e.why);
}
END_TEST

START_TEST(consolidated_metadata_lists_arrays)
{
	static const char v2[] = "{\"metadata\":{\".zgroup\":{},\"a/.zarray\":{\"shape\":[2,3]},\"b/c/.zarray\":"
				 "{\"shape\":[2,3,4]},\"d/.zarray\":{\"shape\":[2]},\"a/.zattrs\":"
				 "{\"shape\":[2,3]}}}";
	static const char v3[] =
	    "{\"consolidated_metadata\":{\"metadata\":{\"a\":{\"node_type\":\"array\",\"shape\":[2,3]},"
	    "\"b\":{\"node_type\":\"group\",\"shape\":[2,3]},\"c\":{\"shape\":[2,3]}}}}";
	struct vx_paths p;
	struct vx_err e = {0};

	ck_assert_int_eq(vx_zarr_consolidated(v2, strlen(v2), false, &p, &e), 0);
	ck_assert_uint_eq(p.n, 2);
	ck_assert_str_eq(p.at[1], "b/c");
	vx_paths_free(&p);
	ck_assert_int_eq(vx_zarr_consolidated(v3, strlen(v3), true, &p, &e), 0);
	ck_assert_uint_eq(p.n, 1);
	vx_paths_free(&p);
	ck_assert_int_eq(vx_zarr_consolidated("{}", 2, true, &p, &e), 0);
	ck_assert_uint_eq(p.n, 0);
}
END_TEST

/* ---- N5 ---- */

static const struct {
	const char *group, *own[2]; /* of s0 and s1; each half as fine in x and y, not in z */
	double nm[2][3];            /* 0: not known */
	const char *unit;
} spaces[] = {
    {"{\"scales\":[[1,1,1],[2,2,1]],\"pixelResolution\":{\"dimensions\":[4,5,6],\"unit\":\"um\"}}",
     {"{}", "{}"},
     {{4000, 5000, 6000}, {8000, 10000, 6000}},
     "nm"},
    {"{\"downsamplingFactors\":[[1,1,1],[2,2,1]],\"resolution\":[4,5,6]}", {"{}", "{}"}, {{4, 5, 6}, {8, 10, 6}}, "nm"},
    {"{\"resolution\":[4,5,6],\"units\":[\"um\",\"um\",\"um\"]}",
     {"{}", "{}"},
     {{4000, 5000, 6000}, {8000, 10000, 6000}}, /* factors from shapes */
     "nm"},
    {"{\"pixelResolution\":[4,5,6]}", {"{}", "{\"downsamplingFactors\":[3,3,1]}"}, {{4, 5, 6}, {12, 15, 6}}, ""},
    {"{}",
     {"{\"pixelResolution\":{\"dimensions\":[4,5,6],\"unit\":\"nm\"}}",
      "{\"pixelResolution\":{\"dimensions\":[4,5,6],\"unit\":\"nm\"},\"downsamplingFactors\":[2,2,1]}"},
     {{4, 5, 6}, {8, 10, 6}},
     "nm"},
    {"{\"multiscales\":[{\"datasets\":[{\"path\":\"s0\",\"transform\":{\"axes\":[\"z\",\"y\",\"x\"],\"scale\":[6,5,4],"
     "\"units\":[\"nm\",\"nm\",\"nm\"]}},{\"path\":\"s1\",\"transform\":{\"axes\":[\"z\",\"y\",\"x\"],"
     "\"scale\":[6,10,8],\"units\":[\"nm\",\"nm\",\"nm\"]}}]}]}",
     {"{}", "{}"},
     {{4, 5, 6}, {8, 10, 6}},
     "nm"},
    {"{\"multiscales\":[{\"datasets\":[{\"path\":\"s0\",\"transform\":{\"axes\":[\"z\",\"y\",\"q\"],\"scale\":[6,5,4]}}"
     ","
     "{\"path\":\"s1\",\"transform\":{\"axes\":[\"c\",\"y\",\"x\"],\"scale\":[6,10,8]}}]}]}",
     {"{}", "{}"},
     {{0, 0, 0}, {0, 0, 0}}, /* axes that it cannot have */
     ""},
    {"{\"scales\":[[1,1,1],[2,2,1]]}", {"{}", "{}"}, {{0, 0, 0}, {0, 0, 0}}, ""},
};

START_TEST(n5_has_many_ways_to_say_a_size)
{
	static const uint64_t shapes[][3] = {{8, 16, 32}, {8, 8, 16}};
	struct vx_array a[] = {array(3, shapes[0]), array(3, shapes[1])};
	const struct vx_err none[2] = {0};
	struct vx_n5_space own[2];
	struct vx_n5_group g;
	struct vx_volume *v;
	struct vx_err e = {0};

	ck_assert_msg(vx_n5_group_parse(spaces[_i].group, strlen(spaces[_i].group), &g, &e) == 0, "%s", e.why);
	for (int i = 0; i < 2; i++)
		vx_n5_space_parse(spaces[_i].own[i], strlen(spaces[_i].own[i]), &own[i]);
	if (!g.image.nlevels) {
		ck_assert_int_eq(vx_image_add(&g.image, "s0", &(struct vx_json){0}, &e), 0);
		ck_assert_int_eq(vx_image_add(&g.image, "s1", &(struct vx_json){0}, &e), 0);
	}
	ck_assert_uint_eq(g.image.nlevels, 2);
	vx_n5_calibrate(&g.image, &g, own, a, none);
	v = must_build(&g.image, a, none);
	ck_assert_str_eq(v->voxel_unit, spaces[_i].unit);
	for (int i = 0; i < 2; i++)
		check_resolution(&v->scales[i], spaces[_i].nm[i][0], spaces[_i].nm[i][1], spaces[_i].nm[i][2]);
	vx_volume_free(&v);
	vx_n5_group_free(&g);
}
END_TEST

START_TEST(n5_time_points_apart_are_in_the_key)
{
	static const uint64_t shape[] = {8, 16, 32};
	struct vx_array a[] = {array(3, shape), array(3, shape)};
	const struct vx_err none[2] = {0};
	const struct vx_cell cell = {.at = {1, 0, 0}, .time = 1234};
	struct vx_n5_group g;
	struct vx_volume *v;
	struct vx_err e = {0};
	char name[64];
	static const char text[] = "{\"downsamplingFactors\":[[1,1,1],[2,2,2]],\"dataType\":\"uint8\"}";

	ck_assert_int_eq(vx_n5_group_parse(text, strlen(text), &g, &e), 0);
	ck_assert(g.has_dtype && g.dtype == VX_U8);
	ck_assert(vx_n5_is_same_form(&a[0], &a[1]));
	a[1].chunk[2] = a[1].object[2] = a[1].inner[2] = 2;
	ck_assert(!vx_n5_is_same_form(&a[0], &a[1]));
	for (int i = 0; i < 2; i++) {
		a[i].times_apart = 2000;
		a[i].key_fast_first = true;
		a[i].separator = '/';
	}
	v = must_build(&g.image, a, none);
	ck_assert_uint_eq(v->times, 2000);
	ck_assert_int_eq(v->format->chunk_name(&v->scales[1], 0, &cell, name, sizeof name), (int)strlen(name));
	ck_assert_str_eq(name, "top/timepoint1234/s1/1/0/0");
	ck_assert_int_eq(v->format->chunk_name(&v->scales[1], 0, &cell, name, strlen(name)), -ENAMETOOLONG);
	vx_volume_free(&v);
	vx_n5_group_free(&g);
}
END_TEST

START_TEST(n5_datasets_are_no_groups)
{
	static const char text[] = "{\"dimensions\":[1,2],\"downsamplingFactors\":[1,1]}";
	struct vx_n5_group g;
	struct vx_err e = {0};

	ck_assert_int_eq(vx_n5_group_parse(text, strlen(text), &g, &e), 0);
	ck_assert(g.is_dataset && !g.image.nlevels);
	vx_n5_group_free(&g);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("image");
	TCase *c = tcase_create("groups");

	tcase_add_test(c, scales_are_nanometres);
	tcase_add_test(c, time_has_a_step_and_units_may_be_unknown);
	tcase_add_test(c, bad_scales_spare_the_others);
	tcase_add_loop_test(c, scales_that_are_of_another_volume, 0, VX_ARRAY_LEN(others));
	tcase_add_test(c, images_that_cannot_be);
	tcase_add_test(c, more_than_anybody_has);
	tcase_add_test(c, more_arrays_than_anybody_has);
	tcase_add_test(c, groups_that_are_no_images);
	tcase_add_loop_test(c, attributes_that_are_refused, 0, VX_ARRAY_LEN(bad));
	tcase_add_test(c, consolidated_metadata_lists_arrays);
	tcase_add_loop_test(c, n5_has_many_ways_to_say_a_size, 0, VX_ARRAY_LEN(spaces));
	tcase_add_test(c, n5_time_points_apart_are_in_the_key);
	tcase_add_test(c, n5_datasets_are_no_groups);
	suite_add_tcase(s, c);
	return vxt_run(s);
}
