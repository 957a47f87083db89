/* SPDX-License-Identifier: Apache-2.0
 * One HTTP attempt: options, header and body callbacks, verdict. Bodies go straight into a pooled
 * buffer: of Content-Length bytes when the store says it, else of the expected size, doubled as
 * needed, and never more than the request allows. Only the headers of the last response count, those
 * of redirects and interim responses are forgotten. Runs on the loop's thread; holds no lock.
 */
#include "fetch/transfer.h"
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
	struct vx_transfer *t = arg;

	t->heard_ns = vx_now_ns();
	vx_answer_line(&t->answer, line, len, time(NULL));
	return len;
}

/* Ends the attempt from within a callback. */
static size_t give_up(struct vx_transfer *t, enum vx_fault fault)
{
	t->fault = fault;
	return 0;
}

static bool has_body(const struct vx_transfer *t)
{
	return t->answer.status == 200 || (t->answer.status == 206 && vx_fetch_is_ranged(t->fetch));
}

/* Once the head is complete: what to keep, and a buffer for it. */
static enum vx_fault plan(struct vx_transfer *t, size_t len)
{
	uint64_t size = t->fetch->expect ? t->fetch->expect : FIRST_BODY_BYTES;
	curl_off_t said = -1;
	enum vx_fault fault;

	if (curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &said) != CURLE_OK)
		said = -1;
	fault = vx_range_take(t->fetch, &t->answer, said >= 0 ? (uint64_t)said : VX_SIZE_UNKNOWN, &t->take);
	if (fault != VX_FAULT_NONE)
		return fault;
	t->planned = true;
	if (!t->take.open_end)
		size = t->take.want;
	t->body = vx_buf_get(t->pool, (size_t)vx_min_u64(vx_max_u64(size, len), t->take.want));
	return t->body ? VX_FAULT_NONE : VX_FAULT_MEMORY;
}

static enum vx_fault append(struct vx_transfer *t, const char *data, uint64_t len)
{
	if (len > t->take.want - t->body->len)
		return t->take.tail ? VX_FAULT_UNRANGED : VX_FAULT_TOO_BIG;
	if (len > t->body->cap - t->body->len) {
		uint64_t size = vx_max_u64(2 * t->body->cap, t->body->len + len);

		if (vx_buf_grow(&t->body, (size_t)vx_min_u64(size, t->take.want)) < 0)
			return VX_FAULT_MEMORY;
	}
	memcpy(t->body->data + t->body->len, data, len);
	t->body->len += len;
	return VX_FAULT_NONE;
}

/* Keeps what `take` says of the next bytes of the body. */
static enum vx_fault receive(struct vx_transfer *t, const char *data, size_t len)
{
	uint64_t at = t->seen, drop = at < t->take.skip ? vx_min_u64(t->take.skip - at, len) : 0, rest = len - drop;

	t->seen += len;
	if (t->take.whole && t->seen > VX_MAX_UNRANGED_BYTES)
		return VX_FAULT_UNRANGED;
	if (t->take.whole && !t->take.tail)
		rest = vx_min_u64(rest, t->take.want - t->body->len);
	return append(t, data + drop, rest);
}

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
	struct vx_transfer *t = arg;
	enum vx_fault fault = VX_FAULT_NONE;

	t->heard_ns = vx_now_ns();
	VX_COUNT_ADD(store_bytes, len);
	if (!has_body(t)) {
		t->discarded += len;
		return t->discarded > DISCARD_BYTES ? give_up(t, VX_FAULT_STATUS) : len;
	}
	if (!t->planned)
		fault = plan(t, len);
	if (fault == VX_FAULT_NONE)
		fault = receive(t, data, len);
	return fault == VX_FAULT_NONE ? len : give_up(t, fault);
}

CURL *vx_easy_new(const struct vx_fetch_opts *o)
{
	CURL *h = curl_easy_init();

	if (!h)
		return NULL;
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_USERAGENT, "voxfs");
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 1L);
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

/* False when memory is short; the list then is as it was. */
static bool add_header(struct vx_transfer *t, const char *line)
{
	struct curl_slist *longer = curl_slist_append(t->headers, line);

	if (longer)
		t->headers = longer;
	return longer != NULL;
}

static bool set_headers(struct vx_transfer *t)
{
	const struct vx_fetch *r = t->fetch;
	char line[sizeof r->if_none_match + 32], range[48];
	bool ranged = vx_fetch_is_ranged(r);

	if (ranged)
		vx_range_print(r, range);
	curl_easy_setopt(t->easy, CURLOPT_RANGE, ranged ? range : NULL);
	snprintf(line, sizeof line, "If-None-Match: %.71s", r->if_none_match);
	if (!add_header(t, ranged ? "Accept-Encoding: identity" : "Accept-Encoding: gzip, br, zstd") ||
	    (r->if_none_match[0] && !add_header(t, line)))
		return false;
	return curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers) == CURLE_OK;
}

static void forget_attempt(struct vx_transfer *t)
{
	t->fault = VX_FAULT_NONE;
	memset(&t->answer, 0, sizeof t->answer);
	t->planned = false;
	t->seen = 0;
	t->discarded = 0;
	t->curl_says[0] = 0;
}

static int check_wish(struct vx_transfer *t)
{
	const struct vx_fetch *r = t->fetch;
	uint64_t end;

	if (!r->range.suffix && !vx_add_u64(r->range.off, r->range.len, &end))
		return vx_fail(&t->err, -EBADMSG, "bytes beyond any object's end were asked for: %s", r->key);
	if (strnlen(r->if_none_match, sizeof r->if_none_match) == sizeof r->if_none_match ||
	    strpbrk(r->if_none_match, "\r\n"))
		return vx_fail(&t->err, -EINVAL, "no etag has such bytes");
	return vx_key_check(r->key, sizeof r->key, &t->err);
}

int vx_transfer_begin(struct vx_transfer *t, uint64_t now_ns)
{
	int r = check_wish(t);

	if (r == 0)
		r = t->store->ops->aim(t->store, t->fetch, t->easy, &t->err);
	if (r == 0 && !set_headers(t))
		r = vx_fail(&t->err, -ENOMEM, "out of memory");
	if (r < 0)
		return r;
	curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->curl_says);
	t->tries++;
	t->begun_ns = t->heard_ns = now_ns;
	forget_attempt(t);
	return 0;
}

void vx_transfer_release(struct vx_transfer *t)
{
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(t->headers);
	t->headers = NULL;
}

static bool connected(const struct vx_transfer *t, uint64_t *ret_at_ns)
{
	curl_off_t us = 0;

	curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &us);
	*ret_at_ns = t->begun_ns + (uint64_t)us * 1000;
	return us > 0;
}

bool vx_transfer_stalled(const struct vx_transfer *t, uint64_t now_ns, uint64_t stall_ns)
{
	uint64_t at;

	if (now_ns < t->heard_ns + stall_ns)
		return false;
	return connected(t, &at) && now_ns >= at + stall_ns;
}

/* A server that sends more than it promised leaves the rest in its connection, in front of the next answer: that one
 * deserves another connection, as if this one had been cut. */
static bool reused(const struct vx_transfer *t)
{
	long connects = 1;

	return curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects) == CURLE_OK && connects == 0;
}

static enum vx_fault fault_of(const struct vx_transfer *t, CURLcode code)
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
		return connected(t, &at) ? VX_FAULT_STALL : VX_FAULT_CONNECT_TIME;
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
		return t->answer.status ? VX_FAULT_PROTOCOL : reused(t) ? VX_FAULT_CUT : VX_FAULT_MALFORMED;
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
static enum vx_fault conclude(struct vx_transfer *t)
{
	enum vx_fault fault = t->planned ? VX_FAULT_NONE : plan(t, 0);
	uint64_t len = t->fetch->range.len;

	if (fault != VX_FAULT_NONE)
		return fault;
	if (t->take.whole || !vx_fetch_is_ranged(t->fetch))
		t->take.total = t->seen;
	if (t->take.tail && t->body->len > len) {
		memmove(t->body->data, t->body->data + t->body->len - len, len);
		t->body->len = len;
	}
	if (!t->take.open_end && t->body->len < t->take.want)
		return t->take.whole ? VX_FAULT_SHORT : VX_FAULT_CUT;
	return VX_FAULT_NONE;
}

static bool is_not_modified(const struct vx_transfer *t)
{
	return t->answer.status == 304 && t->fetch->if_none_match[0];
}

/* An answer with an error's status, or one that was cut, or whose body is still to be looked at. */
static enum vx_fault judge(struct vx_transfer *t, CURLcode code)
{
	int status = t->answer.status;
	enum vx_fault fault;

	if (status == 416 && vx_fetch_is_ranged(t->fetch)) {
		fault = vx_range_refused(t->fetch, &t->answer);
		if (fault == VX_FAULT_NONE && !(t->body = vx_buf_get(t->pool, 0)))
			fault = VX_FAULT_MEMORY;
		return fault;
	}
	if (status >= 400 || (code == CURLE_OK && !has_body(t) && !is_not_modified(t)))
		return VX_FAULT_STATUS; /* whether or not its body came whole */
	if (code != CURLE_OK)
		return fault_of(t, code);
	return is_not_modified(t) ? VX_FAULT_NONE : conclude(t);
}

enum vx_fault vx_transfer_end(struct vx_transfer *t, CURLcode code)
{
	enum vx_fault fault = t->fault == VX_FAULT_NONE ? judge(t, code) : t->fault;

	if (fault != VX_FAULT_NONE) {
		vx_buf_put(t->body);
		t->body = NULL;
	}
	return fault;
}

void vx_transfer_tell(const struct vx_transfer *t, struct vx_fetched *ret)
{
	ret->not_modified = is_not_modified(t);
	ret->total = t->take.total;
	memcpy(ret->etag, t->answer.etag, sizeof ret->etag);
	memcpy(ret->content_encoding, t->answer.content_encoding, sizeof ret->content_encoding);
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

void vx_transfer_explain(struct vx_transfer *t, enum vx_fault fault, int code)
{
	char cause[240], tries[32] = "", url[1200];

	if (fault == VX_FAULT_STATUS)
		snprintf(cause, sizeof cause, "%s with HTTP status %d", vx_fault_text(fault), t->answer.status);
	else if (t->curl_says[0] && curl_knows_more(fault))
		snprintf(cause, sizeof cause, "%s (%.90s)", vx_fault_text(fault), t->curl_says);
	else
		snprintf(cause, sizeof cause, "%s", vx_fault_text(fault));
	if (t->tries > 0)
		snprintf(tries, sizeof tries, ", %u %s", t->tries, t->tries == 1 ? "try" : "tries");
	vx_fail(&t->err, code, "%s%s: %s", cause, tries, vx_store_show(t->store, t->fetch->key, url, sizeof url));
}
