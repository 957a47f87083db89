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

/* Certificates that the user trusts instead of the system's: CURL_CA_BUNDLE, SSL_CERT_FILE, REQUESTS_CA_BUNDLE or
 * AWS_CA_BUNDLE, and SSL_CERT_DIR. Any thread. */
void vx_trust(CURL *easy);

/* Nothing of what the handle was used for before remains. `t` may be NULL: anonymous. */
int vx_aim(struct vx_attempt *a, const struct vx_aim *w, const struct vx_token *t, struct vx_err *e);

#endif
