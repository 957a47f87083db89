/* SPDX-License-Identifier: Apache-2.0
 * Box names: each canonical name reads and prints back as itself; every other spelling is no name.
 */
#include "../lib/vxtest.h"
#include "base/limits.h"
#include "vol/volume.h"

#include <string.h>

static const struct {
	const char *name;
	struct vx_box box;
} good[] = {
    {"0-1_0-1_0-1", {{0, 0, 0}, {1, 1, 1}}},
    {"1000-1100_2000-2100_50-55", {{1000, 2000, 50}, {1100, 2100, 55}}},
    {"-5-0_-1-1_0-10", {{-5, -1, 0}, {0, 1, 10}}},
    {"-7--1_-100--99_-3-20", {{-7, -100, -3}, {-1, -99, 20}}},
    {"-281474976710656-281474976710656_-281474976710656--281474976710655_281474976710655-281474976710656",
     {{-VX_MAX_EXTENT, -VX_MAX_EXTENT, VX_MAX_EXTENT - 1}, {VX_MAX_EXTENT, 1 - VX_MAX_EXTENT, VX_MAX_EXTENT}}},
};

START_TEST(canonical_names)
{
	struct vx_box b;
	char text[VX_BOX_NAME_MAX];

	ck_assert(vx_box_parse(good[_i].name, strlen(good[_i].name), &b));
	ck_assert(vx_box_equal(&b, &good[_i].box));
	ck_assert_int_eq(vx_box_print(&b, text), (int)strlen(good[_i].name));
	ck_assert_str_eq(text, good[_i].name);
}
END_TEST

static const char *const wrong[] = {
    "",
    "0",
    "0-1",
    "0-1_",
    "0-1_0-1",
    "0-1_0-1_",
    "0-1_0-1_0",
    "0-1_0-1_0-",
    "0-1_0-1_-1",
    "-1_0-1_0-1",
    "_0-1_0-1_0-1",
    "0-1_0-1_0-1_",
    "0-1_0-1_0-1_0-1",
    "0-1__0-1_0-1",
    "0--1_0-1_0-1",
    "0---1_0-1_0-1",
    "--1-1_0-1_0-1",
    "0-1_0-1_0-1.raw",
    "0-1_0-1_0-1\n",
    " 0-1_0-1_0-1",
    "0-1_0-1_0-1 ",
    "0 -1_0-1_0-1",
    "0- 1_0-1_0-1",
    "+0-1_0-1_0-1",
    "0-+1_0-1_0-1",
    "+1-2_0-1_0-1",
    "-0-1_0-1_0-1",
    "-1--0_0-1_0-1",
    "-1-0_-0-1_0-1",
    "00-1_0-1_0-1",
    "0-01_0-1_0-1",
    "-01-1_0-1_0-1",
    "0-1_0-1_007-8",
    "0x0-1_0-1_0-1",
    "0-1e1_0-1_0-1",
    "0-1.0_0-1_0-1",
    "0-1,0-1,0-1",
    "0:1_0:1_0:1",
    "0/1_0-1_0-1",
    "0-1-0-1-0-1",
    "1-1_0-1_0-1",
    "0-1_2-1_0-1",
    "0-1_0-1_-5--5",
    "0-1_0-1_-5--6",
    "0-281474976710657_0-1_0-1",
    "-281474976710657-0_0-1_0-1",
    "0-18446744073709551617_0-1_0-1",
    "0-9223372036854775808_0-1_0-1",
    "0-99999999999999999999999999999999999999_0-1_0-1",
    "\xd9\xa0-\xd9\xa1_0-1_0-1", /* Arabic digits */
    "\xef\xbc\x90-1_0-1_0-1",    /* a fullwidth zero */
    "\xe2\x88\x92"
    "1-1_0-1_0-1", /* a minus sign that is no hyphen */
    "0\xe2\x80\x93"
    "1_0-1_0-1", /* an en dash */
    "all",
    ".",
    "..",
};

START_TEST(other_spellings)
{
	const struct vx_box before = {{7, 7, 7}, {7, 7, 7}};
	struct vx_box b = before;

	ck_assert_msg(!vx_box_parse(wrong[_i], strlen(wrong[_i]), &b), "%s", wrong[_i]);
	ck_assert(vx_box_equal(&b, &before));
}
END_TEST

START_TEST(length_is_obeyed)
{
	struct vx_box b;

	ck_assert(vx_box_parse("0-1_0-1_0-12345", 12, &b) && b.hi[2] == 12);
	ck_assert(!vx_box_parse("0-1_0-1_0-1\0", 12, &b));
	ck_assert(!vx_box_parse("0-1\0_0-1_0-1", 12, &b));
	ck_assert(!vx_box_parse("0-1_0-1_0-1", 10, &b));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boxname");
	TCase *tc = tcase_create("boxname");

	tcase_add_loop_test(tc, canonical_names, 0, VX_ARRAY_LEN(good));
	tcase_add_loop_test(tc, other_spellings, 0, VX_ARRAY_LEN(wrong));
	tcase_add_test(tc, length_is_obeyed);
	suite_add_tcase(suite, tc);
	return vxt_run(suite);
}
