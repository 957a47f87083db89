/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: what a kind of store is made of. A new kind (S3, GS) is one more entry in the
 * table of store.c. Every function may be called from any thread.
 */
#ifndef VX_FETCH_STORE_H
#define VX_FETCH_STORE_H

#include "fetch/account.h"
#include "fetch/fetch.h"

struct vx_attempt;
struct vx_host;

struct vx_store_ops {
	const char *scheme; /* lower case, as before "://" */

	/* `url` is printable, within VX_MAX_URL and starts with the scheme. Fills at least the
	 * private fields of the store. */
	int (*open)(struct vx_store **ret, struct vx_fetcher *f, const char *url, struct vx_err *e);
	void (*close)(struct vx_store *s);

	/* Local stores have `read`, remote ones `aim`, which points the CURL handle of an attempt at its object:
	 * URL, credentials, protocols and header lines. -EAGAIN: the credentials are being looked for. The key was
	 * checked. */
	void (*read)(struct vx_store *s, const struct vx_fetch *r, struct vx_fetched *got);
	int (*aim)(struct vx_store *s, struct vx_attempt *a, struct vx_err *e);
	/* May be NULL. True when an answer with an error's status has taught the store to ask better. As `aim`, it
	 * runs on the loop's thread. */
	bool (*recover)(struct vx_store *s, const struct vx_attempt *a);
};

struct vx_store {
	const struct vx_store_ops *ops; /* store.c sets it, and the next one */
	struct vx_fetcher *fetcher;
	struct vx_host *host;       /* of a remote one; the fetcher's */
	char *shown;                /* owned; the URL without secrets */
	size_t shown_len;           /* what follows these bytes of it is shown after a key: "?..." or "" */
	_Atomic unsigned under_way; /* requests not done yet, for an assertion */
	/* Who asks, for the disk cache; `open` sets it where there are credentials. */
	char account[VX_ACCOUNT];
	/* It could not be reached: older answers stand in without asking. */
	_Atomic uint64_t down_until_ns;
};

extern const struct vx_store_ops vx_store_file_ops, vx_store_http_ops, vx_store_https_ops, vx_store_s3_ops,
    vx_store_s3_http_ops, vx_store_s3_https_ops, vx_store_gs_ops;

/* Keys hold text from metadata documents, which come from outside: -EBADMSG for what is empty, absolute,
 * too long for its field or has control characters. */
int vx_key_check(const char *key, size_t size, struct vx_err *e);

/* The URL of one object, without secrets; cut short to fit. Returns `text`. */
const char *vx_store_show(const struct vx_store *s, const char *key, char *text, size_t size);

/* cached.c, the loop's thread: takes what the store said to the disk cache, or answers from there after all. */
void vx_cached_arrived(struct vx_fetch *r, struct vx_fetched *got);

/* What a fetcher was given. */
struct vx_diskcache *vx_fetcher_cache(struct vx_fetcher *f);
/* The pool that a fetcher was given. */
struct vx_pool *vx_fetcher_pool(struct vx_fetcher *f);

#endif
