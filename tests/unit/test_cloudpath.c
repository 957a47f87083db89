/* SPDX-License-Identifier: Apache-2.0
 * Cloudpaths in all their spellings.
 */
#include "../lib/vxtest.h"
#include "sched/cloudpath.h"

#include <string.h>

static const struct {
	const char *text;
	enum vx_wanted format;
	const char *url, *inner, *name;
	char separator;
} good[] = {
    {"/data/em", VX_ANY_FORMAT, "file:///data/em", "", "em", 0},
    {"/", VX_ANY_FORMAT, "file:///", "", "", 0},
    {"file:///data/em///", VX_ANY_FORMAT, "file:///data/em", "", "em", 0},
    {"https://h/a/em.zarr", VX_ANY_FORMAT, "https://h/a/em.zarr", "", "em.zarr", 0},
    {"https://h/em?sig=a/b", VX_ANY_FORMAT, "https://h/em?sig=a/b", "", "em", 0},
    {"precomputed:///data/em", VX_PRECOMPUTED, "file:///data/em", "", "em", 0},
    {"precomputed://https://h/em", VX_PRECOMPUTED, "https://h/em", "", "em", 0},
    {"zarr://file:///d/x.zarr/", VX_ZARR, "file:///d/x.zarr", "", "x.zarr", 0},
    {"zarr2://s3://b/x", VX_ZARR2, "s3://b/x", "", "x", 0},
    {"zarr3://gs://b/x", VX_ZARR3, "gs://b/x", "", "x", 0},
    {"n5://http://h/x.n5/em", VX_N5, "http://h/x.n5/em", "", "em", 0},
    {"https://h/em|neuroglancer-precomputed:", VX_PRECOMPUTED, "https://h/em", "", "em", 0},
    {"https://h/x.zarr/|zarr3:", VX_ZARR3, "https://h/x.zarr", "", "x.zarr", 0},
    {"s3://b/x|zarr2:a/0/", VX_ZARR2, "s3://b/x", "a/0", "0", 0},
    {"s3://b/x|zarr:/a", VX_ZARR, "s3://b/x", "a", "a", 0},
    {"s3://b/x|n5:", VX_N5, "s3://b/x", "", "x", 0},
    {"s3://b/x|auto:", VX_ANY_FORMAT, "s3://b/x", "", "x", 0},
    {"zarr://s3://b/x|zarr:y", VX_ZARR, "s3://b/x", "y", "y", 0},
    {"zarr://s3://b/x#dimension_separator=/", VX_ZARR, "s3://b/x", "", "x", '/'},
    {"s3://b/x|zarr2:#dimension_separator=.", VX_ZARR2, "s3://b/x", "", "x", '.'},
    {"/data/a|b", VX_ANY_FORMAT, "file:///data/a|b", "", "a|b", 0},
    {"/data/a#b", VX_ANY_FORMAT, "file:///data/a#b", "", "a", 0},
};

START_TEST(taken)
{
	struct vx_cloudpath c;
	struct vx_err e = {0};
	VX_AUTO_FREE char *name = NULL;

	ck_assert_msg(vx_cloudpath_parse(&c, good[_i].text, &e) == 0, "%s: %s", good[_i].text, e.why);
	name = vx_cloudpath_name(&c);
	ck_assert_int_eq(c.format, good[_i].format);
	ck_assert_str_eq(c.url, good[_i].url);
	ck_assert_str_eq(c.inner, good[_i].inner);
	ck_assert_str_eq(name, good[_i].name);
	ck_assert_int_eq(c.separator, good[_i].separator);
	vx_cloudpath_done(&c);
}
END_TEST

static const char *const bad[][2] = {
    {"graphene://https://h/x", "format graphene:// is not supported"},
    {"boss://x", "format boss:// is not supported"},
    {"https://h/x|zip:", "|zip: is not supported"},
    {"https://h/x|zip:a|zarr:../b", "is no path within a store"},
    {"https://h/x|zarr:a//b", "is no path within a store"},
    {"n5://https://h/x|zarr:", "given twice"},
    {"n5://https://h/x#dimension_separator=/", "only with zarr"},
    {"zarr://https://h/x#dimension_separator=-", "takes . or /"},
    {"zarr://https://h/x#dimension_separator=./", "takes . or /"},
};

START_TEST(refused)
{
	struct vx_cloudpath c;
	struct vx_err e = {0};

	ck_assert_int_eq(vx_cloudpath_parse(&c, bad[_i][0], &e), -EINVAL);
	ck_assert_msg(strstr(e.why, bad[_i][1]) != NULL, "%s: %s", bad[_i][0], e.why);
	ck_assert_ptr_null(c.url);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cloudpath");
	TCase *c = tcase_create("cloudpath");

	tcase_add_loop_test(c, taken, 0, VX_ARRAY_LEN(good));
	tcase_add_loop_test(c, refused, 0, VX_ARRAY_LEN(bad));
	suite_add_tcase(s, c);
	return vxt_run(s);
}
