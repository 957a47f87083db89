/* SPDX-License-Identifier: Apache-2.0
 * Byte ranges. A server may answer with the part that was asked for (206), with the whole object (200: it does not
 * do ranges, or does not do them for this object) or with something else, which is never taken for the part.
 */
#include "fetch/range.h"

#include "base/limits.h"

#include <stdio.h>

void vx_range_print(const struct vx_fetch *r, char text[48])
{
	if (r->range.suffix)
		snprintf(text, 48, "-%llu", (unsigned long long)r->range.len);
	else
		snprintf(text, 48, "%llu-%llu", (unsigned long long)r->range.off,
			 (unsigned long long)(r->range.off + r->range.len - 1));
}

bool vx_range_within(const struct vx_fetch *r, uint64_t size, uint64_t *ret_off, uint64_t *ret_len)
{
	*ret_off = 0;
	*ret_len = size;
	if (!vx_fetch_is_ranged(r))
		return true;
	if (r->range.suffix) {
		*ret_len = vx_min_u64(size, r->range.len);
		*ret_off = size - *ret_len;
		return true;
	}
	*ret_off = r->range.off;
	*ret_len = r->range.len;
	return r->range.off <= size && r->range.len <= size - r->range.off;
}

static enum vx_fault take_part(const struct vx_fetch *r, const struct vx_answer *a, uint64_t length,
			       struct vx_take *ret)
{
	uint64_t off = r->range.off, len = r->range.len;

	if (!a->ranged || a->first == VX_SIZE_UNKNOWN)
		return VX_FAULT_RANGE;
	if (a->total != VX_SIZE_UNKNOWN && !vx_range_within(r, a->total, &off, &len))
		return a->first == off && a->last == a->total - 1 ? VX_FAULT_SHORT : VX_FAULT_RANGE;
	/* Without the size nobody can tell whether these are the last bytes. */
	if (r->range.suffix && a->total == VX_SIZE_UNKNOWN)
		return VX_FAULT_RANGE;
	if (a->first != off || a->last - a->first != len - 1 || (length != VX_SIZE_UNKNOWN && length != len))
		return VX_FAULT_RANGE;
	ret->want = len;
	ret->total = a->total == VX_SIZE_UNKNOWN ? 0 : a->total;
	return VX_FAULT_NONE;
}

/* The whole object, of which a part is wanted. */
static enum vx_fault take_from_whole(const struct vx_fetch *r, uint64_t length, struct vx_take *ret)
{
	ret->whole = true;
	if (length == VX_SIZE_UNKNOWN) {
		ret->open_end = ret->tail = r->range.suffix;
		ret->skip = r->range.suffix ? 0 : r->range.off;
		ret->want = r->range.suffix ? VX_MAX_UNRANGED_BYTES : r->range.len;
		return VX_FAULT_NONE;
	}
	if (length > VX_MAX_UNRANGED_BYTES)
		return VX_FAULT_UNRANGED;
	ret->total = length;
	return vx_range_within(r, length, &ret->skip, &ret->want) ? VX_FAULT_NONE : VX_FAULT_SHORT;
}

enum vx_fault vx_range_take(const struct vx_fetch *r, const struct vx_answer *a, uint64_t length, struct vx_take *ret)
{
	enum vx_fault fault;

	*ret = (struct vx_take){.want = 0};
	if (!vx_fetch_is_ranged(r)) {
		if (a->status != 200)
			return VX_FAULT_STATUS;
		ret->open_end = length == VX_SIZE_UNKNOWN;
		ret->want = ret->open_end ? r->cap : length;
		return ret->want > r->cap ? VX_FAULT_TOO_BIG : VX_FAULT_NONE;
	}
	if (r->range.len > r->cap)
		return VX_FAULT_TOO_BIG;
	if (a->content_encoding[0])
		return VX_FAULT_ENCODED;
	fault = a->status == 206 ? take_part(r, a, length, ret) : take_from_whole(r, length, ret);
	return fault;
}

enum vx_fault vx_range_refused(const struct vx_fetch *r, const struct vx_answer *a)
{
	return r->range.suffix && a->ranged && a->total == 0 ? VX_FAULT_NONE : VX_FAULT_SHORT;
}
