/* SPDX-License-Identifier: Apache-2.0
 * One HTTP attempt: options, header and body callbacks, verdict. Bodies go straight into a pooled
 * buffer: of Content-Length bytes when the store says it, else of the expected size, doubled as
 * needed, and never more than the request allows. Only the headers of the last response count, those
 * of redirects and interim responses are forgotten. Runs on the loop's thread; holds no lock.
 */
#include "fetch/transfer.h"
#include "fetch/store.h"

#include "base/clock.h"
#include "base/ledger.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* What curl takes from a socket in one step. Measured over loopback with objects of 256 KiB: less means
 * more steps, more means buffers that fall out of the processor's cache when many transfers run. */
#define RECEIVE_BYTES 131072L
#define FIRST_BODY_BYTES ((uint64_t)65536)
/* An error's body is read to keep the connection, unless it is longer than a new connection costs. */
#define DISCARD_BYTES 65536

static bool starts_with(const char *line, size_t len, const char *name, const char **ret_value, size_t *ret_len)
{
	size_t n = strlen(name);

	if (len < n || strncasecmp(line, name, n) != 0)
		return false;
	for (line += n, len -= n; len > 0 && (*line == ' ' || *line == '\t'); line++)
		len--;
	while (len > 0 && strchr(" \t\r\n", line[len - 1]))
		len--;
	*ret_value = line;
	*ret_len = len;
	return true;
}

/* A list of codings, or a name cut to the field's size, is one that no decoder knows. */
static void add_encoding(struct vx_transfer *t, const char *value, size_t len)
{
	char *to = t->content_encoding;
	size_t n = strlen(to), size = sizeof t->content_encoding;

	if (len == 8 && strncasecmp(value, "identity", len) == 0)
		return;
	if (n > 0 && n + 1 < size)
		to[n++] = ',';
	for (size_t i = 0; i < len && n + 1 < size; i++)
		to[n++] = value[i] >= 'A' && value[i] <= 'Z' ? (char)(value[i] | 0x20) : value[i];
	to[n] = 0;
	if (strcmp(to, "x-gzip") == 0)
		strcpy(to, "gzip");
}

static int parse_status(const char *line, size_t len)
{
	const char *space = memchr(line, ' ', len);
	int status = 0;

	for (const char *c = space ? space + 1 : line + len; c < line + len && *c >= '0' && *c <= '9'; c++)
		status = status < 1000 ? status * 10 + (*c - '0') : status;
	return status;
}

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
	struct vx_transfer *t = arg;
	const char *value;
	size_t value_len;

	t->heard_ns = vx_now_ns();
	if (len > 5 && memcmp(line, "HTTP/", 5) == 0) {
		t->status = parse_status(line, len);
		t->content_encoding[0] = 0;
		t->retry_after_ms = 0;
		t->headers_over = false;
	} else if (t->headers_over) {
		return len; /* a trailer */
	} else if (len <= 2) {
		t->headers_over = true;
	} else if (starts_with(line, len, "Content-Encoding:", &value, &value_len)) {
		add_encoding(t, value, value_len);
	} else if (starts_with(line, len, "Retry-After:", &value, &value_len)) {
		t->retry_after_ms = vx_retry_after_ms(value, value_len);
	}
	return len;
}

/* Ends the attempt from within a callback. */
static size_t give_up(struct vx_transfer *t, enum vx_fault fault)
{
	t->fault = fault;
	return 0;
}

static enum vx_fault first_buffer(struct vx_transfer *t, size_t len)
{
	uint64_t cap = t->fetch->cap, size = t->fetch->expect ? t->fetch->expect : FIRST_BODY_BYTES;
	curl_off_t said = -1;

	if (curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &said) == CURLE_OK && said >= 0) {
		if ((uint64_t)said > cap)
			return VX_FAULT_TOO_BIG;
		size = (uint64_t)said;
	}
	t->body = vx_buf_get(t->pool, (size_t)vx_min_u64(vx_max_u64(size, len), cap));
	return t->body ? VX_FAULT_NONE : VX_FAULT_MEMORY;
}

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
	struct vx_transfer *t = arg;
	enum vx_fault fault;

	t->heard_ns = vx_now_ns();
	VX_COUNT_ADD(store_bytes, len);
	if (t->status != 200) {
		t->discarded += len;
		return t->discarded > DISCARD_BYTES ? give_up(t, VX_FAULT_STATUS) : len;
	}
	if (!t->body) {
		fault = first_buffer(t, len);
		if (fault != VX_FAULT_NONE)
			return give_up(t, fault);
	}
	if (len > t->fetch->cap - t->body->len)
		return give_up(t, VX_FAULT_TOO_BIG);
	if (len > t->body->cap - t->body->len) {
		uint64_t size = vx_max_u64(2 * t->body->cap, t->body->len + len);

		if (vx_buf_grow(&t->body, (size_t)vx_min_u64(size, t->fetch->cap)) < 0)
			return give_up(t, VX_FAULT_MEMORY);
	}
	memcpy(t->body->data + t->body->len, data, len);
	t->body->len += len;
	return len;
}

CURL *vx_easy_new(const struct vx_fetch_opts *o, struct curl_slist *headers)
{
	CURL *h = curl_easy_init();

	if (!h)
		return NULL;
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_USERAGENT, "voxfs");
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
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

int vx_transfer_begin(struct vx_transfer *t, uint64_t now_ns)
{
	int r = vx_key_check(t->fetch->key, sizeof t->fetch->key, &t->err);

	if (r == 0)
		r = t->store->ops->aim(t->store, t->fetch, t->easy, &t->err);
	if (r < 0)
		return r;
	curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->curl_says);
	t->tries++;
	t->begun_ns = t->heard_ns = now_ns;
	t->fault = VX_FAULT_NONE;
	t->headers_over = false;
	t->status = 0;
	t->retry_after_ms = 0;
	t->discarded = 0;
	t->content_encoding[0] = 0;
	t->curl_says[0] = 0;
	return 0;
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
		return t->status ? VX_FAULT_PROTOCOL : reused(t) ? VX_FAULT_CUT : VX_FAULT_MALFORMED;
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

enum vx_fault vx_transfer_end(struct vx_transfer *t, CURLcode code)
{
	enum vx_fault fault = t->fault;

	if (fault == VX_FAULT_NONE) {
		if (t->status >= 400 || (code == CURLE_OK && t->status != 200))
			fault = VX_FAULT_STATUS; /* whether or not its body came whole */
		else if (code != CURLE_OK)
			fault = fault_of(t, code);
		else if (!t->body && !(t->body = vx_buf_get(t->pool, 0)))
			fault = VX_FAULT_MEMORY;
	}
	if (fault != VX_FAULT_NONE) {
		vx_buf_put(t->body);
		t->body = NULL;
	}
	return fault;
}

static bool curl_knows_more(enum vx_fault fault)
{
	return fault != VX_FAULT_STATUS && fault != VX_FAULT_STALL && fault != VX_FAULT_TOO_BIG &&
	       fault != VX_FAULT_REDIRECTS && fault != VX_FAULT_MEMORY && fault != VX_FAULT_CANCELLED;
}

void vx_transfer_explain(struct vx_transfer *t, enum vx_fault fault, int code)
{
	char cause[160], tries[32] = "", url[1200];

	if (fault == VX_FAULT_STATUS)
		snprintf(cause, sizeof cause, "%s with HTTP status %d", vx_fault_text(fault), t->status);
	else if (t->curl_says[0] && curl_knows_more(fault))
		snprintf(cause, sizeof cause, "%s (%.90s)", vx_fault_text(fault), t->curl_says);
	else
		snprintf(cause, sizeof cause, "%s", vx_fault_text(fault));
	if (t->tries > 0)
		snprintf(tries, sizeof tries, ", %u %s", t->tries, t->tries == 1 ? "try" : "tries");
	vx_fail(&t->err, code, "%s%s: %s", cause, tries, vx_store_show(t->store, t->fetch->key, url, sizeof url));
}
