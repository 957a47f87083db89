/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: one request's way through libcurl. A transfer is made of attempts: begin, then
 * curl calls back with headers and body, then end says what came of it. All of it runs on the loop's
 * thread, and the handle's own thread safety rests on that.
 */
#ifndef VX_FETCH_TRANSFER_H
#define VX_FETCH_TRANSFER_H

#include "base/list.h"
#include "fetch/range.h"

#include <curl/curl.h>

struct vx_transfer {
	struct vx_link link;        /* in one of the loop's lists */
	struct vx_link cancel_link; /* in the inbox's list of cancelled; under the inbox's lock */
	struct vx_fetch *fetch;     /* borrowed until done */
	struct vx_store *store;     /* of the fetch */
	struct vx_pool *pool;
	CURL *easy;        /* while an attempt runs */
	uint64_t due_ns;   /* while it waits for the next one */
	unsigned tries;    /* attempts begun */
	struct vx_err err; /* set once the transfer is over; code 0: fine */

	/* this attempt */
	uint64_t begun_ns, heard_ns; /* start, and last byte */
	enum vx_fault fault;         /* set by a callback that ends the attempt */
	struct vx_buf *body;         /* owned */
	struct vx_answer answer;     /* the head of the response that counts */
	bool planned;                /* `take` is known */
	struct vx_take take;
	uint64_t seen;              /* bytes of the body so far, kept or not */
	size_t discarded;           /* bytes of an error's body */
	struct curl_slist *headers; /* owned */
	char curl_says[CURL_ERROR_SIZE];
};

/* An easy handle with everything set that does not depend on the object; NULL when memory is short. */
CURL *vx_easy_new(const struct vx_fetch_opts *o);

/* Points t->easy, which the caller has set, at the object. On failure t->err is filled. */
int vx_transfer_begin(struct vx_transfer *t, uint64_t now_ns);

/* Frees what an attempt held apart from its body; the handle has left curl's multi. */
void vx_transfer_release(struct vx_transfer *t);

/* What came of the attempt that curl says ended with `code`. */
enum vx_fault vx_transfer_end(struct vx_transfer *t, CURLcode code);

/* What a good attempt says beside the body. */
void vx_transfer_tell(const struct vx_transfer *t, struct vx_fetched *ret);

/* True when no byte came for `stall_ns`. Establishing a connection has a limit of its own. */
bool vx_transfer_stalled(const struct vx_transfer *t, uint64_t now_ns, uint64_t stall_ns);

/* Fills t->err: one sentence with the cause, the number of tries and the URL without secrets. */
void vx_transfer_explain(struct vx_transfer *t, enum vx_fault fault, int code);

#endif
