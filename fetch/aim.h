/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: pointing a handle at a URL, with or without credentials. The loop's thread.
 */
#ifndef VX_FETCH_AIM_H
#define VX_FETCH_AIM_H

#include "fetch/transfer.h"

struct vx_aim {
	const char *url;    /* "https://..." or "http://..." */
	bool follow;        /* redirects */
	const char *region; /* for tokens that sign, else NULL */
};

/* Nothing of what the handle was used for before remains. `t` may be NULL: anonymous. */
int vx_aim(struct vx_attempt *a, const struct vx_aim *w, const struct vx_token *t, struct vx_err *e);

#endif
