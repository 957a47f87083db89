/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: credentials. A token is what a request proves its right with, at one time; a holder knows how
 * to come by tokens. Looking for one may read files and ask servers: that happens on a thread of its own, "vx-token",
 * so that the transfer loop never waits; it is told when something has changed. Nothing of a token is ever logged.
 *
 * Lock: rank TOKENS, above FETCH; held for moments only, never while a token is looked for. Any thread.
 */
#ifndef VX_FETCH_TOKEN_H
#define VX_FETCH_TOKEN_H

#include "base/err.h"
#include "base/lock.h"

#include <stdatomic.h>

enum vx_token_kind {
	VX_TOKEN_NONE,   /* anonymous: nothing was found */
	VX_TOKEN_AWS,    /* name: key id, secret, session or NULL */
	VX_TOKEN_BEARER, /* secret */
	VX_TOKEN_BASIC,  /* name and secret */
};

/* Constant once made; counted. */
struct vx_token {
	_Atomic unsigned refs;
	enum vx_token_kind kind;
	char *name, *secret, *session;
	char *region;    /* what its source says of it, or NULL */
	char **headers;  /* more header lines, NULL at the end, or NULL */
	int64_t expires; /* wall clock, seconds; 0: it does not */
};

struct vx_token *vx_token_new(enum vx_token_kind kind); /* NULL when memory is short */
struct vx_token *vx_token_ref(struct vx_token *t);
void vx_token_put(struct vx_token *t); /* NULL is fine; wipes what it had */
bool vx_token_equal(const struct vx_token *a, const struct vx_token *b);
static inline void vx_token_put_scope(struct vx_token **t)
{
	vx_token_put(*t);
}
#define VX_AUTO_TOKEN VX_CLEANUP(vx_token_put_scope)

struct vx_tokens; /* the thread and all holders */

/* Looks for a token; may wait. `subject` is the bucket or host. */
typedef int vx_token_source(struct vx_tokens *ts, const char *subject, struct vx_token **ret, struct vx_err *e);

int vx_tokens_new(struct vx_tokens **ret, void (*changed)(void *ctx), void *ctx);
/* Ends a search that is under way; joins the thread. No holder may be used after. */
void vx_tokens_stop(struct vx_tokens *ts);
void vx_tokens_free(struct vx_tokens **ts);

struct vx_holder;

/* The holder for this source and subject, made when there is none yet; lives as long as `ts`. NULL: no memory. */
struct vx_holder *vx_holder_get(struct vx_tokens *ts, vx_token_source *source, const char *subject);

/* Its token as of `now` (wall clock), a reference. -EAGAIN: being looked for, `changed` will be called. Else the
 * reason why there is none. */
int vx_holder_use(struct vx_holder *id, int64_t now, struct vx_token **ret, struct vx_err *e);

/* A store did not accept `t`. True when a new one is being looked for, or there is another one already. */
bool vx_holder_reject(struct vx_holder *id, const struct vx_token *t, int64_t now);

/* --- for sources, on the thread of tokens --- */

/* Asks one source after another until one knows (anything but -ENOENT); else there is no need of a token. */
int vx_token_first(vx_token_source *const *chain, size_t n, struct vx_tokens *ts, const char *subject,
		   struct vx_token **ret, struct vx_err *e);

/* One small HTTP request; sent again when the server is busy. */
struct vx_ask {
	const char *method; /* NULL: GET */
	const char *url;
	const char *headers[4]; /* lines */
	const char *body;       /* form data to POST, or NULL */
	long connect_ms;        /* 0: ten seconds */
	bool direct;            /* never through a proxy */
};

/* The answer's text, malloc'd, and its status. Negative when there was none: -ECANCELED at the end of everything,
 * -EHOSTUNREACH or another; the sentence names the host only. */
int vx_ask(struct vx_tokens *ts, const struct vx_ask *q, char **ret_text, int *ret_status, struct vx_err *e);

#define VX_MAX_SECRET_BYTES ((size_t)65536)

#endif
