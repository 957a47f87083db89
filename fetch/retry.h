/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: what to do after an attempt failed. Pure: no clock, no state, any thread.
 */
#ifndef VX_FETCH_RETRY_H
#define VX_FETCH_RETRY_H

#include "base/vx.h"

/* name, worth trying again, errno at last, sentence. STATUS looks at the HTTP status instead. */
#define VX_FAULTS(X)                                                                                           \
	X(STATUS, false, EIO, "the store answered")                                                            \
	X(RESOLVE, true, EHOSTUNREACH, "the host's name does not resolve")                                     \
	X(CONNECT, true, EHOSTUNREACH, "no connection to the host")                                            \
	X(TLS, true, EHOSTUNREACH, "no TLS session with the host")                                             \
	X(TRUST, false, EHOSTUNREACH, "the host's certificate was not accepted")                               \
	X(CONNECT_TIME, true, ETIMEDOUT, "the host took too long to connect")                                  \
	X(STALL, true, ETIMEDOUT, "the store sent nothing for too long")                                       \
	X(CUT, true, EIO, "the connection ended before the whole answer had come")                             \
	X(REDIRECTS, false, EIO, "the store redirects in a circle")                                            \
	X(PROTOCOL, false, EIO, "the store redirects to a URL that may not be followed")                       \
	X(MALFORMED, false, EIO, "the store's answer is not understood")                                       \
	X(TOO_BIG, false, EBADMSG, "the object has more bytes than it may have")                               \
	X(SHORT, false, EBADMSG, "the object is shorter than its index says")                                  \
	X(RANGE, false, EBADMSG, "the store answered with other bytes than were asked for")                    \
	X(UNRANGED, false, EIO,                                                                                \
	  "the server does not do byte ranges, and the object is too large to be read whole for a part of it") \
	X(ENCODED, false, EBADMSG, "the store packs what it sends, so that a part of it means nothing")        \
	X(MEMORY, false, ENOMEM, "no memory")                                                                  \
	X(NO_BUCKET, false, EHOSTUNREACH, "there is no such bucket")                                           \
	X(DOWN, false, EHOSTUNREACH, "the host has not answered for a while and is asked only now and then")   \
	X(CANCELLED, false, ECANCELED, "the request was cancelled")                                            \
	X(OTHER, false, EIO, "the transfer failed")

enum vx_fault {
	VX_FAULT_NONE,
#define X(name, again, code, text) VX_FAULT_##name,
	VX_FAULTS(X)
#undef X
};

struct vx_retry_policy {
	unsigned tries;            /* attempts in all */
	uint64_t first_ms, max_ms; /* wait before the second; longest wait */
	uint64_t after_max_ms;     /* longest wait that a store may ask for */
};

struct vx_failure {
	enum vx_fault fault;
	int status;              /* HTTP status; counts for VX_FAULT_STATUS */
	unsigned tries;          /* attempts made so far, >= 1 */
	uint64_t retry_after_ms; /* the store's wish, 0 if none */
};

struct vx_verdict {
	bool again;
	uint64_t wait_ms; /* when again */
};

/* How long all retries of one request wait together, at most: for so long a host may be away without being given up. */
uint64_t vx_retry_grace_ms(const struct vx_retry_policy *p);

struct vx_verdict vx_retry_decide(const struct vx_retry_policy *p, const struct vx_failure *f, uint64_t random);

/* The errno of a failure that is not tried again. */
int vx_retry_code(const struct vx_failure *f);

const char *vx_fault_text(enum vx_fault fault);

#endif
