/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: one request's way through libcurl. A transfer is made of attempts: begin, then
 * curl calls back with headers and body, then end says what came of it. Two attempts of one transfer may run beside
 * each other. All of it runs on the loop's thread, and the handle's own thread safety rests on that.
 */
#ifndef VX_FETCH_TRANSFER_H
#define VX_FETCH_TRANSFER_H

#include "base/list.h"
#include "fetch/range.h"
#include "fetch/token.h"

#include <curl/curl.h>

struct vx_transfer;

struct vx_attempt {
	struct vx_transfer *of;
	CURL *easy;                            /* while it runs */
	uint64_t begun_ns, first_ns, heard_ns; /* start, first header or 0, last byte */
	bool probe;                            /* finds out whether the host is back */
	enum vx_fault fault;                   /* set by a callback that ends the attempt */
	struct vx_buf *body;                   /* owned, as the next two */
	struct curl_slist *headers;
	struct vx_token *token;  /* NULL: the store has no identity */
	struct vx_answer answer; /* the head of the response that counts */
	bool planned;            /* `take` is known */
	struct vx_take take;
	uint64_t seen;    /* bytes of the body so far, kept or not */
	size_t discarded; /* bytes of an error's body, of which the first are kept as text */
	char page[512];
	char curl_says[CURL_ERROR_SIZE];
};

struct vx_transfer {
	struct vx_link link;        /* in one of the loop's lists */
	struct vx_link cancel_link; /* in the inbox's list of cancelled; under the inbox's lock */
	struct vx_fetch *fetch;     /* borrowed until done */
	struct vx_store *store;     /* of the fetch */
	struct vx_pool *pool;
	struct vx_attempt attempts[2]; /* the second one beside a first that lags */
	uint64_t due_ns;               /* while it waits for the next try */
	unsigned tries;                /* attempts begun, second ones not counted */
	unsigned recoveries;           /* attempts that the store itself set right: other credentials, another region */
	struct vx_fetched got;         /* set once the transfer is over */
};

/* An easy handle with everything set that does not depend on the object; NULL when memory is short. */
CURL *vx_easy_new(const struct vx_fetch_opts *o);

/* Points `easy` at the object. -EAGAIN: its credentials are being looked for; on another failure the
 * transfer's error is filled. Then a->easy stays NULL. */
int vx_attempt_begin(struct vx_attempt *a, struct vx_transfer *t, CURL *easy, uint64_t now_ns);

/* One more header line for the attempt that is being begun; false when memory is short. */
bool vx_attempt_header(struct vx_attempt *a, const char *line);

/* What came of the attempt that curl says ended with `code`. */
enum vx_fault vx_attempt_end(struct vx_attempt *a, CURLcode code);

/* Moves what a good attempt brought. */
void vx_attempt_tell(struct vx_attempt *a, struct vx_fetched *ret);

/* Frees what the attempt holds and hands its handle back, clean for the next; it has left curl's multi. */
CURL *vx_attempt_release(struct vx_attempt *a);

/* True when no byte came for `stall_ns`. Establishing a connection has a limit of its own. */
bool vx_attempt_stalled(const struct vx_attempt *a, uint64_t now_ns, uint64_t stall_ns);

/* Fills the transfer's error: one sentence with the cause, the number of tries and the URL without secrets. `a` is
 * the attempt that failed, or NULL. */
void vx_transfer_explain(struct vx_transfer *t, const struct vx_attempt *a, enum vx_fault fault, int code);

#endif
