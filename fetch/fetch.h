/* SPDX-License-Identifier: Apache-2.0
 * Stores: (key) -> bytes. Knows no chunks and no volumes. A store is opened on a base URL; keys are
 * relative to it. Local stores answer at once in the caller's thread; remote ones complete later,
 * on the transfer loop's thread.
 */
#ifndef VX_FETCH_FETCH_H
#define VX_FETCH_FETCH_H

#include "base/buf.h"
#include "base/err.h"

struct vx_fetcher; /* one in a process: owns the transfer loop's thread */
struct vx_store;
struct vx_diskcache;

struct vx_fetch_opts {
	unsigned connections;        /* transfers at once */
	unsigned host_connections;   /* to one host; 0: as many */
	bool hedge;                  /* send a second request beside one that lags */
	uint64_t connect_ms;         /* to reach a host */
	uint64_t stall_ms;           /* without a byte */
	unsigned tries;              /* attempts in all, >= 1 */
	uint64_t retry_ms;           /* wait before the first retry; doubles, with jitter */
	uint64_t retry_after_max_ms; /* longest wait that a store may ask for; else the request is given up */
	uint64_t retry_max_ms;       /* longest wait between tries */
	/* Of what remote stores say; outlives the fetcher. NULL: none. */
	struct vx_diskcache *cache;
};
void vx_fetch_opts_default(struct vx_fetch_opts *o);

int vx_fetcher_new(struct vx_fetcher **ret, const struct vx_fetch_opts *o, struct vx_pool *pool, struct vx_err *e);
/* Cancels what is under way (each request completes with -ECANCELED), joins the thread. Stores must
 * be closed after. */
void vx_fetcher_stop(struct vx_fetcher *f);
void vx_fetcher_free(struct vx_fetcher **f);

/* Opens "file:///dir", "http://host/path" or "https://..."; touches neither disk nor network.
 * User and password in the URL are used and never shown. */
int vx_store_open(struct vx_store **ret, struct vx_fetcher *f, const char *url, struct vx_err *e);
void vx_store_close(struct vx_store **s);
const char *vx_store_url(const struct vx_store *s); /* without secrets, for messages */
bool vx_store_is_local(const struct vx_store *s);

/* What came back. */
struct vx_fetched {
	struct vx_err err;         /* code 0: fine. -ENODATA: the store does not have it. Others as in
				      DESIGN's table:   -EACCES, -EHOSTUNREACH, -ETIMEDOUT, -EIO, -EBADMSG
				      (larger than the cap, or a range that is not there), -ECANCELED */
	struct vx_buf *body;       /* NULL on error, when not modified and when in place; the receiver owns the
				      reference */
	bool in_place;             /* it was read to `into` */
	bool not_modified;         /* the object still is what if_none_match named */
	uint64_t total;            /* the object's whole size where the store said it, else 0 */
	char etag[72];             /* as the server said it, else "" */
	char content_encoding[16]; /* lower case; HTTP's header, or "gzip", "br", "zstd" told by a
				      suffix on disk;
				      "" when nothing was said */
};

/* One wish for one object. The caller owns the struct and keeps it in place until `done` has been
 * called. */
struct vx_fetch {
	char key[1024];  /* "8_8_8/0-64_0-64_0-64", "info" */
	uint64_t cap;    /* refuse bodies of more bytes */
	uint64_t expect; /* likely size, 0 if unknown: sizes the first buffer */
	bool suffixes;   /* on disk, also look for key.gz, key.br, key.zstd; not with a range */
	/* Bytes wanted: all of them (len 0), [off, off + len), or, with `suffix`, the object's last `len`. The body
	 * then has exactly these, of a smaller object's suffix all; an object that ends earlier is -EBADMSG. */
	struct {
		uint64_t off, len;
		bool suffix;
	} range;
	/* Local stores, optional: an object of exactly `into_len` bytes whose name does not say that it is packed is
	 * read to here, without a body. After a failure there is rubbish. */
	void *into;
	uint64_t into_len;
	char if_none_match[72];                                   /* an etag, "": none; remote stores only */
	void (*done)(struct vx_fetch *r, struct vx_fetched *got); /* exactly once; `got` lives during the call only;
								     may submit and may free `r`; holds no lock */
	bool uncached; /* the disk cache shall neither be asked nor be given the answer */
	bool recheck;  /* what the disk cache has is to be confirmed by the store, or stands in for it */
	/* private to fetch/ */
	struct vx_store *store;
	struct vx_held *held;
	void *impl;
	struct vx_fetch *next;
	_Atomic bool cancelled;
};

/* Local stores only: reads now, blocking; done is not called. *got is filled. */
void vx_store_read(struct vx_store *s, struct vx_fetch *r, struct vx_fetched *got);

/* Remote stores: queues and returns; `done` follows on the loop's thread. Local stores: `done` is
 * called before return. */
void vx_store_submit(struct vx_store *s, struct vx_fetch *r);

/* ---- the disk cache: remote stores of a fetcher that has one; nothing happens with others ---- */

bool vx_store_is_cached(const struct vx_store *s);
/* Looks there, blocking on the local disk, before `r` is submitted. True: *got is the answer, `r` is not to be
 * submitted. False: submit it, or forget it: it may hold an older answer now, which is the answer when the store
 * confirms it or cannot be reached. */
bool vx_store_cached(struct vx_store *s, struct vx_fetch *r, struct vx_fetched *got);
/* Instead of submitting. */
void vx_store_forget(struct vx_fetch *r);
/* What arrived for a request goes to the disk by itself. This is for a part of it: `r` names the part (its range),
 * `data` lies in got->body. */
void vx_store_keep(struct vx_store *s, const struct vx_fetch *r, const struct vx_fetched *got, const uint8_t *data,
		   uint64_t len);
/* The answer was no good to whoever got it: next time the store itself is to be asked. */
void vx_store_distrust(struct vx_store *s, const struct vx_fetch *r);

/* Asks that the request end soon with -ECANCELED (it may still complete otherwise). `r` must not be
 * done yet. */
void vx_store_cancel(struct vx_fetch *r);

/* Tells every place on disk where credentials and certificates for a store may be read from, now or later, as the
 * environment says it: files and directories, most of which need not be there; none for local stores. For who locks
 * files away, before the first store is opened. Any thread. */
void vx_fetch_secret_places(const char *url, void (*tell)(void *ctx, const char *path), void *ctx);

/* Transfers under way and waiting, for the gauges. */
void vx_fetcher_depth(struct vx_fetcher *f, unsigned *ret_active, unsigned *ret_waiting);

#endif
