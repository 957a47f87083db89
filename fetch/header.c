/* SPDX-License-Identifier: Apache-2.0
 * Header lines of HTTP answers. Whatever is not understood counts as not said; who needs it then refuses the answer.
 */
#include "fetch/header.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#define MAX_SECONDS 1000000000 /* of a Retry-After */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void trim(const char **text, size_t *len)
{
	while (*len > 0 && is_blank(**text)) {
		(*text)++;
		(*len)--;
	}
	while (*len > 0 && is_blank((*text)[*len - 1]))
		(*len)--;
}

/* Digits only, at least one; false when the number does not fit. Moves past them. */
static bool take_number(const char **at, const char *end, uint64_t *ret)
{
	const char *begin = *at;
	uint64_t n = 0;

	for (; *at < end && **at >= '0' && **at <= '9'; (*at)++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(**at - '0'), &n))
			return false;
	*ret = n;
	return *at > begin;
}

static bool take_char(const char **at, const char *end, char c)
{
	if (*at >= end || **at != c)
		return false;
	(*at)++;
	return true;
}

bool vx_content_range(const char *value, size_t len, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_total)
{
	const char *at, *end;

	trim(&value, &len);
	if (len < 6 || strncasecmp(value, "bytes", 5) != 0 || !is_blank(value[5]))
		return false;
	for (at = value + 5, end = value + len; at < end && is_blank(*at);)
		at++;
	*ret_first = *ret_last = *ret_total = VX_SIZE_UNKNOWN;
	if (!take_char(&at, end, '*') &&
	    (!take_number(&at, end, ret_first) || !take_char(&at, end, '-') || !take_number(&at, end, ret_last)))
		return false;
	if (!take_char(&at, end, '/') || (!take_char(&at, end, '*') && !take_number(&at, end, ret_total)) || at != end)
		return false;
	if (*ret_first == VX_SIZE_UNKNOWN)
		return *ret_total != VX_SIZE_UNKNOWN;
	return *ret_first <= *ret_last && *ret_last < *ret_total;
}

static uint64_t ms_until(const char *date, size_t len, time_t now)
{
	char text[64];
	time_t then;

	if (len >= sizeof text)
		return 0;
	memcpy(text, date, len);
	text[len] = 0;
	then = curl_getdate(text, NULL);
	if (then == -1 || then <= now)
		return 0;
	return vx_min_u64((uint64_t)then - (uint64_t)now, MAX_SECONDS) * 1000;
}

uint64_t vx_retry_after_ms(const char *value, size_t len, time_t now)
{
	const char *at, *end;
	uint64_t seconds;
	bool fits;

	trim(&value, &len);
	at = value;
	end = value + len;
	fits = take_number(&at, end, &seconds);
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	if (at == value)
		return ms_until(value, len, now);
	if (at != end)
		return len > 12 ? ms_until(value, len, now)
				: 0; /* "2026-11-21 ..." is a date that begins with a digit */
	return (fits ? vx_min_u64(seconds, MAX_SECONDS) : MAX_SECONDS) * 1000;
}

/* A list of codings, or a name cut to the field's size, is one that no decoder knows. */
static void add_encoding(struct vx_answer *a, const char *value, size_t len)
{
	char *to = a->content_encoding;
	size_t n = strlen(to), size = sizeof a->content_encoding;

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

static void set_etag(struct vx_answer *a, const char *value, size_t len)
{
	a->etag[0] = 0;
	if (len >= sizeof a->etag)
		return;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
			return;
	memcpy(a->etag, value, len);
	a->etag[len] = 0;
}

/* It becomes a part of a host's name. */
static void set_region(struct vx_answer *a, const char *value, size_t len)
{
	a->region[0] = 0;
	if (len >= sizeof a->region)
		return;
	for (size_t i = 0; i < len; i++)
		if (!((value[i] >= 'a' && value[i] <= 'z') || (value[i] >= '0' && value[i] <= '9') || value[i] == '-'))
			return;
	memcpy(a->region, value, len);
	a->region[len] = 0;
}

static int parse_status(const char *line, size_t len)
{
	const char *space = memchr(line, ' ', len);
	int status = 0;

	for (const char *c = space ? space + 1 : line + len; c < line + len && *c >= '0' && *c <= '9'; c++)
		status = status < 1000 ? status * 10 + (*c - '0') : status;
	return status;
}

/* True when the line is the header `name`; the value is trimmed. */
static bool is_header(const char *line, size_t len, const char *name, const char **ret_value, size_t *ret_len)
{
	size_t n = strlen(name);

	if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return false;
	*ret_value = line + n + 1;
	*ret_len = len - n - 1;
	trim(ret_value, ret_len);
	return true;
}

void vx_answer_line(struct vx_answer *a, const char *line, size_t len, time_t now)
{
	const char *value;
	size_t n;

	if (len > 5 && memcmp(line, "HTTP/", 5) == 0) {
		memset(a, 0, sizeof *a);
		a->status = parse_status(line, len);
		a->first = a->last = a->total = VX_SIZE_UNKNOWN;
	} else if (a->complete) {
		return; /* a trailer */
	} else if (len <= 2) {
		a->complete = true;
	} else if (is_header(line, len, "Content-Encoding", &value, &n)) {
		add_encoding(a, value, n);
	} else if (is_header(line, len, "Content-Range", &value, &n)) {
		a->ranged = vx_content_range(value, n, &a->first, &a->last, &a->total);
	} else if (is_header(line, len, "ETag", &value, &n)) {
		set_etag(a, value, n);
	} else if (is_header(line, len, "x-amz-bucket-region", &value, &n)) {
		set_region(a, value, n);
	} else if (is_header(line, len, "Retry-After", &value, &n)) {
		a->retry_after_ms = vx_retry_after_ms(value, n, now);
	}
}

bool vx_error_code(const char *page, char word[VX_ERROR_CODE_MAX])
{
	const char *at = strstr(page, "<Error>"), *end;
	size_t len;

	if (!at)
		return false;
	for (at += strlen("<Error>"); is_blank(*at);)
		at++;
	if (strncmp(at, "<Code>", 6) != 0)
		return false;
	end = at += 6;
	while ((*end >= 'a' && *end <= 'z') || (*end >= 'A' && *end <= 'Z'))
		end++;
	len = (size_t)(end - at);
	if (*end != '<' || len == 0 || len >= VX_ERROR_CODE_MAX)
		return false;
	memcpy(word, at, len);
	word[len] = 0;
	return true;
}
