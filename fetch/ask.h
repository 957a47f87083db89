/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: small HTTP requests that are waited for, and whose waiting can be ended. One thread asks, any
 * may quit.
 */
#ifndef VX_FETCH_ASK_H
#define VX_FETCH_ASK_H

#include "fetch/token.h"

struct vx_asker;

int vx_asker_new(struct vx_asker **ret);
void vx_asker_free(struct vx_asker **a);
/* From now on every question ends with -ECANCELED, the one under way too. */
void vx_asker_quit(struct vx_asker *a);
int vx_asker_ask(struct vx_asker *a, const struct vx_ask *q, char **ret_text, int *ret_status, struct vx_err *e);

#endif
