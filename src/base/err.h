/* SPDX-License-Identifier: Apache-2.0
 * One error convention: functions return 0 or a negative errno; those whose failure a user will
 * read also fill a `struct vx_err` with one clear sentence. Any thread; the struct belongs to the
 * caller.
 */
#ifndef VX_BASE_ERR_H
#define VX_BASE_ERR_H

#include "base/vx.h"

struct vx_err {
	int code;      /* negative errno, or 0 */
	char why[300]; /* one sentence, no final full stop, no newline; "" when code is 0 */
};

/* Fills `e` (may be NULL) and returns `code`, so that `return vx_fail(e, -EBADMSG, "...")` reads as
 * one step. Control characters in the text are replaced: it may quote bytes that came from a
 * network. */
int vx_fail(struct vx_err *e, int code, const char *fmt, ...) VX_PRINTF(3, 4);

/* The same for the failure that says nothing but itself: -ENOMEM. */
int vx_no_memory(struct vx_err *e);

/* Puts "text: " in front of the sentence already in `e`; returns e->code. */
int vx_fail_prefix(struct vx_err *e, const char *fmt, ...) VX_PRINTF(2, 3);

/* "EBADMSG" for -EBADMSG; "E?" when unknown. */
const char *vx_errno_name(int code);

#endif
