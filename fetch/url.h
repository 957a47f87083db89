/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: taking base URLs apart and putting keys behind them. Pure, any thread.
 */
#ifndef VX_FETCH_URL_H
#define VX_FETCH_URL_H

#include "base/err.h"

/* An http or https base URL in its parts; every string owned by the struct. */
struct vx_url {
	char *origin; /* "https://host:port", without user and password */
	char *path;   /* "" or "/a/b": as given, no slash at its end */
	char *query;  /* "" or "?token=..." */
	char *user;   /* decoded; NULL when none was given, as the next */
	char *password;
};

/* Never quotes the URL in its sentences: it may hold a password. */
int vx_url_split(struct vx_url *ret, const char *url, struct vx_err *e);
void vx_url_done(struct vx_url *u);

/* The URL of the object `key`, as a request needs it: bytes that are not unreserved are
 * percent-encoded, "." and ".." segments are resolved against the path, the query comes last.
 * -EBADMSG when longer than `size` - 1. */
int vx_url_join(const struct vx_url *u, const char *key, char *text, size_t size, struct vx_err *e);

/* The directory that a file URL names, percent-decoded, malloc'd. */
int vx_url_file_path(char **ret, const char *url, struct vx_err *e);

#endif
