/* SPDX-License-Identifier: Apache-2.0
 * Box names. Each box has one name and each name one box, so that a file is never resident under
 * two names: whatever is not canonical decimal is no name. Pure, any thread.
 */
#include "base/limits.h"
#include "vol/volume.h"

#include <inttypes.h>
#include <stdio.h>

static bool take_char(const char **at, const char *end, char c)
{
	if (*at == end || **at != c)
		return false;
	++*at;
	return true;
}

static bool take_number(const char **at, const char *end, int64_t *ret)
{
	bool minus = take_char(at, end, '-');
	const char *first = *at;
	int64_t v = 0;

	for (; *at < end && **at >= '0' && **at <= '9'; ++*at) {
		v = v * 10 + (**at - '0');
		if (v > VX_MAX_EXTENT)
			return false;
	}
	if (*at == first || (*first == '0' && (*at - first > 1 || minus)))
		return false;
	*ret = minus ? -v : v;
	return true;
}

bool vx_box_parse(const char *s, size_t len, struct vx_box *ret)
{
	const char *end = s + len;
	struct vx_box b;

	for (int d = 0; d < 3; d++)
		if ((d > 0 && !take_char(&s, end, '_')) || !take_number(&s, end, &b.lo[d]) ||
		    !take_char(&s, end, '-') || !take_number(&s, end, &b.hi[d]) || b.lo[d] >= b.hi[d])
			return false;
	if (s != end)
		return false;
	*ret = b;
	return true;
}

int vx_box_print(const struct vx_box *b, char ret[VX_BOX_NAME_MAX])
{
	return snprintf(ret, VX_BOX_NAME_MAX, "%" PRId64 "-%" PRId64 "_%" PRId64 "-%" PRId64 "_%" PRId64 "-%" PRId64,
			b->lo[0], b->hi[0], b->lo[1], b->hi[1], b->lo[2], b->hi[2]);
}
