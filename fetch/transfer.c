/* SPDX-License-Identifier: Apache-2.0
 * One HTTP attempt: options, header and body callbacks, verdict. Bodies go straight into a pooled
 * buffer: of Content-Length bytes when the store says it, else of the expected size, doubled as
 * needed, and never more than the request allows. Only the headers of the last response count, those
 * of redirects and interim responses are forgotten. Runs on the loop's thread; holds no lock.
 */
#include "fetch/transfer.h"
#include "fetch/aim.h"
#include "fetch/store.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/ledger.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

/* What curl takes from a socket in one step. Measured over loopback with objects of 256 KiB: less means
 * more steps, more means buffers that fall out of the processor's cache when many transfers run. */
#define RECEIVE_BYTES 131072L
#define FIRST_BODY_BYTES ((uint64_t)65536)
/* An error's body is read to keep the connection, unless it is longer than a new connection costs. */
#define DISCARD_BYTES 65536

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
	struct vx_attempt *a = arg;

	a->heard_ns = vx_now_ns();
	if (!a->first_ns)
		a->first_ns = a->heard_ns;
	vx_answer_line(&a->answer, line, len, time(NULL));
	return len;
}

/* Ends the attempt from within a callback. */
static size_t give_up(struct vx_attempt *a, enum vx_fault fault)
{
	a->fault = fault;
	return 0;
}

static bool has_body(const struct vx_attempt *a)
{
	return a->answer.status == 200 || (a->answer.status == 206 && vx_fetch_is_ranged(a->of->fetch));
}

/* Once the head is complete: what to keep, and a buffer for it. */
static enum vx_fault plan(struct vx_attempt *a, size_t len)
{
	uint64_t size = a->of->fetch->expect ? a->of->fetch->expect : FIRST_BODY_BYTES;
	curl_off_t said = -1;
	enum vx_fault fault;

	if (curl_easy_getinfo(a->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &said) != CURLE_OK)
		said = -1;
	fault = vx_range_take(a->of->fetch, &a->answer, said >= 0 ? (uint64_t)said : VX_SIZE_UNKNOWN, &a->take);
	if (fault != VX_FAULT_NONE)
		return fault;
	a->planned = true;
	if (!a->take.open_end)
		size = a->take.want;
	a->body = vx_buf_get(a->of->pool, (size_t)vx_min_u64(vx_max_u64(size, len), a->take.want));
	return a->body ? VX_FAULT_NONE : VX_FAULT_MEMORY;
}

static enum vx_fault append(struct vx_attempt *a, const char *data, uint64_t len)
{
	if (len > a->take.want - a->body->len)
		return a->take.tail ? VX_FAULT_UNRANGED : VX_FAULT_TOO_BIG;
	if (len > a->body->cap - a->body->len) {
		uint64_t size = vx_max_u64(2 * a->body->cap, a->body->len + len);

		if (vx_buf_grow(&a->body, (size_t)vx_min_u64(size, a->take.want)) < 0)
			return VX_FAULT_MEMORY;
	}
	memcpy(a->body->data + a->body->len, data, len);
	a->body->len += len;
	return VX_FAULT_NONE;
}

/* Keeps what `take` says of the next bytes of the body. */
static enum vx_fault receive(struct vx_attempt *a, const char *data, size_t len)
{
	uint64_t at = a->seen, drop = at < a->take.skip ? vx_min_u64(a->take.skip - at, len) : 0, rest = len - drop;

	a->seen += len;
	if (a->take.whole && a->seen > VX_MAX_UNRANGED_BYTES)
		return VX_FAULT_UNRANGED;
	if (a->take.whole && !a->take.tail)
		rest = vx_min_u64(rest, a->take.want - a->body->len);
	return append(a, data + drop, rest);
}

/* Of an error's page; its first bytes may say more than the status. */
static size_t discard(struct vx_attempt *a, const char *data, size_t len)
{
	if (a->discarded < sizeof a->page - 1)
		memcpy(a->page + a->discarded, data, vx_min_u64(len, sizeof a->page - 1 - a->discarded));
	a->discarded += len;
	return a->discarded > DISCARD_BYTES ? give_up(a, VX_FAULT_STATUS) : len;
}

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
	struct vx_attempt *a = arg;
	enum vx_fault fault = VX_FAULT_NONE;

	a->heard_ns = vx_now_ns();
	VX_COUNT_ADD(store_bytes, len);
	if (!has_body(a))
		return discard(a, data, len);
	if (!a->planned)
		fault = plan(a, len);
	if (fault == VX_FAULT_NONE)
		fault = receive(a, data, len);
	return fault == VX_FAULT_NONE ? len : give_up(a, fault);
}

CURL *vx_easy_new(const struct vx_fetch_opts *o)
{
	CURL *h = curl_easy_init();

	if (!h)
		return NULL;
	vx_trust(h);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_USERAGENT, "voxfs");
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(h, CURLOPT_HTTP_CONTENT_DECODING, 0L); /* workers unpack */
	curl_easy_setopt(h, CURLOPT_MAXREDIRS, (long)VX_MAX_REDIRECTS);
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)vx_min_u64(o->connect_ms, INT32_MAX));
	curl_easy_setopt(h, CURLOPT_BUFFERSIZE, RECEIVE_BYTES);
	curl_easy_setopt(h, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(h, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(h, CURLOPT_NOPROGRESS, 1L);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	return h;
}

bool vx_attempt_header(struct vx_attempt *a, const char *line)
{
	struct curl_slist *longer = curl_slist_append(a->headers, line);

	if (longer)
		a->headers = longer;
	return longer != NULL;
}

/* Accept-Encoding is curl's own option and not one of our header lines, because those are signed with the request for
 * S3, and proxies change this one. */
static bool set_headers(struct vx_attempt *a)
{
	const struct vx_fetch *r = a->of->fetch;
	char line[sizeof r->if_none_match + 32], range[48];
	bool ranged = vx_fetch_is_ranged(r);

	if (ranged)
		vx_range_print(r, range);
	curl_easy_setopt(a->easy, CURLOPT_RANGE, ranged ? range : NULL);
	curl_easy_setopt(a->easy, CURLOPT_ACCEPT_ENCODING, ranged ? "identity" : "gzip, br, zstd");
	snprintf(line, sizeof line, "If-None-Match: %.71s", r->if_none_match);
	if (r->if_none_match[0] && !vx_attempt_header(a, line))
		return false;
	return curl_easy_setopt(a->easy, CURLOPT_HTTPHEADER, a->headers) == CURLE_OK;
}

static int check_wish(const struct vx_fetch *r, struct vx_err *e)
{
	uint64_t end;

	if (!r->range.suffix && !vx_add_u64(r->range.off, r->range.len, &end))
		return vx_fail(e, -EBADMSG, "bytes beyond any object's end were asked for: %s", r->key);
	if (strnlen(r->if_none_match, sizeof r->if_none_match) == sizeof r->if_none_match ||
	    strpbrk(r->if_none_match, "\r\n"))
		return vx_fail(e, -EINVAL, "no etag has such bytes");
	return vx_key_check(r->key, sizeof r->key, e);
}

int vx_attempt_begin(struct vx_attempt *a, struct vx_transfer *t, CURL *easy, uint64_t now_ns)
{
	struct vx_err *e = &t->got.err;
	int r;

	memset(a, 0, sizeof *a);
	a->of = t;
	a->easy = easy;
	a->begun_ns = a->heard_ns = now_ns;
	r = check_wish(t->fetch, e);
	if (r == 0)
		r = t->store->ops->aim(t->store, a, e);
	if (r == 0 && !set_headers(a))
		r = vx_no_memory(e);
	if (r < 0) {
		vx_attempt_release(a);
		return r;
	}
	curl_easy_setopt(easy, CURLOPT_PRIVATE, a);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, a);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, a->curl_says);
	return 0;
}

CURL *vx_attempt_release(struct vx_attempt *a)
{
	curl_easy_setopt(a->easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(a->easy, CURLOPT_ERRORBUFFER, NULL);
	curl_slist_free_all(vx_steal(a->headers));
	vx_token_put(vx_steal(a->token));
	vx_buf_put(vx_steal(a->body));
	return vx_steal(a->easy);
}

static bool connected(const struct vx_attempt *a, uint64_t *ret_at_ns)
{
	curl_off_t us = 0;

	curl_easy_getinfo(a->easy, CURLINFO_PRETRANSFER_TIME_T, &us);
	*ret_at_ns = a->begun_ns + (uint64_t)us * 1000;
	return us > 0;
}

bool vx_attempt_stalled(const struct vx_attempt *a, uint64_t now_ns, uint64_t stall_ns)
{
	uint64_t at;

	if (now_ns < a->heard_ns + stall_ns)
		return false;
	return connected(a, &at) && now_ns >= at + stall_ns;
}

/* A server that sends more than it promised leaves the rest in its connection, in front of the next answer: that one
 * deserves another connection, as if this one had been cut. */
static bool reused(const struct vx_attempt *a)
{
	long connects = 1;

	return curl_easy_getinfo(a->easy, CURLINFO_NUM_CONNECTS, &connects) == CURLE_OK && connects == 0;
}

static enum vx_fault fault_of(const struct vx_attempt *a, CURLcode code)
{
	uint64_t at;

	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return VX_FAULT_RESOLVE;
	case CURLE_COULDNT_CONNECT:
		return VX_FAULT_CONNECT;
	case CURLE_SSL_CONNECT_ERROR:
		return VX_FAULT_TLS;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return VX_FAULT_TRUST;
	case CURLE_OPERATION_TIMEDOUT:
		return connected(a, &at) ? VX_FAULT_STALL : VX_FAULT_CONNECT_TIME;
	case CURLE_PARTIAL_FILE:
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return VX_FAULT_CUT;
	case CURLE_TOO_MANY_REDIRECTS:
		return VX_FAULT_REDIRECTS;
	case CURLE_UNSUPPORTED_PROTOCOL: /* also what curl says of an answer without a status line */
		return a->answer.status ? VX_FAULT_PROTOCOL : reused(a) ? VX_FAULT_CUT : VX_FAULT_MALFORMED;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_URL_MALFORMAT:
	case CURLE_BAD_CONTENT_ENCODING:
		return VX_FAULT_MALFORMED;
	case CURLE_OUT_OF_MEMORY:
		return VX_FAULT_MEMORY;
	default:
		return VX_FAULT_OTHER;
	}
}

/* A good answer has ended: the body must be what was asked for. */
static enum vx_fault conclude(struct vx_attempt *a)
{
	enum vx_fault fault = a->planned ? VX_FAULT_NONE : plan(a, 0);
	uint64_t len = a->of->fetch->range.len;

	if (fault != VX_FAULT_NONE)
		return fault;
	if (a->take.whole || !vx_fetch_is_ranged(a->of->fetch))
		a->take.total = a->seen;
	if (a->take.tail && a->body->len > len) {
		memmove(a->body->data, a->body->data + a->body->len - len, len);
		a->body->len = len;
	}
	if (!a->take.open_end && a->body->len < a->take.want)
		return a->take.whole ? VX_FAULT_SHORT : VX_FAULT_CUT;
	return VX_FAULT_NONE;
}

static bool is_not_modified(const struct vx_attempt *a)
{
	return a->answer.status == 304 && a->of->fetch->if_none_match[0];
}

/* An answer with an error's status, or one that was cut, or whose body is still to be looked at. */
static enum vx_fault judge(struct vx_attempt *a, CURLcode code)
{
	int status = a->answer.status;
	char word[VX_ERROR_CODE_MAX];
	enum vx_fault fault;

	if (status == 416 && vx_fetch_is_ranged(a->of->fetch)) {
		fault = vx_range_refused(a->of->fetch, &a->answer);
		if (fault == VX_FAULT_NONE && !(a->body = vx_buf_get(a->of->pool, 0)))
			fault = VX_FAULT_MEMORY;
		return fault;
	}
	if (status == 404 && vx_error_code(a->page, word) && strcmp(word, "NoSuchBucket") == 0)
		return VX_FAULT_NO_BUCKET; /* which is not the same as an object that is not there */
	if (status >= 400 || (code == CURLE_OK && !has_body(a) && !is_not_modified(a)))
		return VX_FAULT_STATUS; /* whether or not its body came whole */
	if (code != CURLE_OK)
		return fault_of(a, code);
	return is_not_modified(a) ? VX_FAULT_NONE : conclude(a);
}

enum vx_fault vx_attempt_end(struct vx_attempt *a, CURLcode code)
{
	enum vx_fault fault = a->fault == VX_FAULT_NONE ? judge(a, code) : a->fault;

	if (fault != VX_FAULT_NONE) {
		vx_buf_put(a->body);
		a->body = NULL;
	}
	return fault;
}

void vx_attempt_tell(struct vx_attempt *a, struct vx_fetched *ret)
{
	ret->err.code = 0;
	ret->err.why[0] = 0;
	ret->body = vx_steal(a->body);
	ret->not_modified = is_not_modified(a);
	ret->total = a->take.total;
	memcpy(ret->etag, a->answer.etag, sizeof ret->etag);
	memcpy(ret->content_encoding, a->answer.content_encoding, sizeof ret->content_encoding);
}

static bool curl_knows_more(enum vx_fault fault)
{
	switch (fault) {
	case VX_FAULT_RESOLVE:
	case VX_FAULT_CONNECT:
	case VX_FAULT_TLS:
	case VX_FAULT_TRUST:
	case VX_FAULT_CONNECT_TIME:
	case VX_FAULT_CUT:
	case VX_FAULT_PROTOCOL:
	case VX_FAULT_MALFORMED:
	case VX_FAULT_OTHER:
		return true;
	default:
		return false;
	}
}

void vx_transfer_explain(struct vx_transfer *t, const struct vx_attempt *a, enum vx_fault fault, int code)
{
	char cause[240], tries[32] = "", url[1200], word[VX_ERROR_CODE_MAX];

	if (fault == VX_FAULT_STATUS && vx_error_code(a->page, word))
		snprintf(cause, sizeof cause, "%s with HTTP status %d (%s)", vx_fault_text(fault), a->answer.status,
			 word);
	else if (fault == VX_FAULT_STATUS)
		snprintf(cause, sizeof cause, "%s with HTTP status %d", vx_fault_text(fault), a->answer.status);
	else if (a && a->curl_says[0] && curl_knows_more(fault))
		snprintf(cause, sizeof cause, "%s (%.90s)", vx_fault_text(fault), a->curl_says);
	else
		snprintf(cause, sizeof cause, "%s", vx_fault_text(fault));
	if (t->tries > 0)
		snprintf(tries, sizeof tries, ", %u %s", t->tries, t->tries == 1 ? "try" : "tries");
	vx_fail(&t->got.err, code, "%s%s: %s", cause, tries, vx_store_show(t->store, t->fetch->key, url, sizeof url));
}
