/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: which bytes of an answer are the ones that were asked for. Pure, any thread.
 */
#ifndef VX_FETCH_RANGE_H
#define VX_FETCH_RANGE_H

#include "fetch/header.h"
#include "fetch/retry.h"

static inline bool vx_fetch_is_ranged(const struct vx_fetch *r)
{
	return r->range.len > 0;
}

/* "0-99" or "-100", as a Range header has it after "bytes=". */
void vx_range_print(const struct vx_fetch *r, char text[48]);

/* What to keep of a body: after `skip` bytes the next `want`, and nothing else. */
struct vx_take {
	uint64_t skip, want;
	bool open_end; /* how many will come is not known: keep at most `want` */
	bool tail;     /* with open_end: of those, only the last range.len at the end */
	bool whole;    /* the body is the whole object although a part was asked for */
	uint64_t total;
};

/* Decides from the head of an answer with status 200 or 206; `length` is its Content-Length or VX_SIZE_UNKNOWN.
 * VX_FAULT_NONE, or why the answer is no good. */
enum vx_fault vx_range_take(const struct vx_fetch *r, const struct vx_answer *a, uint64_t length, struct vx_take *ret);

/* What a 416 means; VX_FAULT_NONE: the object is empty and its last bytes were asked for. */
enum vx_fault vx_range_refused(const struct vx_fetch *r, const struct vx_answer *a);

/* The wanted bytes of an object of `size` bytes: true and where they begin and how many they are, or false when it
 * is too short. */
bool vx_range_within(const struct vx_fetch *r, uint64_t size, uint64_t *ret_off, uint64_t *ret_len);

#endif
