/* SPDX-License-Identifier: Apache-2.0
 * Any head of an answer, after a line "off len cap suffix length". Of an answer that is taken, the kept bytes lie in
 * the object and within the cap.
 */
#include "fetch/range.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_answer(const struct vx_answer *a)
{
	must(strnlen(a->content_encoding, sizeof a->content_encoding) < sizeof a->content_encoding);
	must(strnlen(a->etag, sizeof a->etag) < sizeof a->etag);
	must(strspn(a->region, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(a->region));
	must(strlen(a->region) < sizeof a->region);
	must(a->retry_after_ms <= 1000000000000);
	if (a->ranged && a->first != VX_SIZE_UNKNOWN)
		must(a->first <= a->last && a->last < a->total);
}

static void check_take(const struct vx_fetch *r, const struct vx_answer *a, uint64_t length)
{
	struct vx_take t;

	if ((a->status != 200 && a->status != 206) || vx_range_take(r, a, length, &t) != VX_FAULT_NONE)
		return;
	if (!vx_fetch_is_ranged(r)) {
		must(t.want <= r->cap && t.skip == 0);
		return;
	}
	must(t.tail || t.want <= r->cap);
	must(!t.total || t.want <= t.total);
	if (a->status == 206 || t.whole)
		must(t.tail || t.want == r->range.len ||
		     (r->range.suffix && t.want < r->range.len && t.want == t.total));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned long long off = 0, len = 0, cap = 0, length = VX_SIZE_UNKNOWN;
	struct vx_answer a = {0};
	struct vx_fetch r = {.cap = 0};
	unsigned suffix = 0;
	char first[128], word[VX_ERROR_CODE_MAX], *page;
	uint64_t end;
	size_t n;

	n = size < sizeof first - 1 ? size : sizeof first - 1;
	memcpy(first, data, n);
	first[n] = 0;
	sscanf(first, "%llu %llu %llu %u %llu", &off, &len, &cap, &suffix, &length);
	for (size_t at = 0; at < size;) {
		const uint8_t *nl = memchr(data + at, '\n', size - at);
		size_t line = nl ? (size_t)(nl - data) + 1 - at : size - at;

		vx_answer_line(&a, (const char *)data + at, line, 1700000000);
		at += line;
	}
	check_answer(&a);
	r.cap = cap;
	r.range.off = off;
	r.range.len = len;
	r.range.suffix = suffix & 1;
	if (r.range.suffix || !__builtin_add_overflow(off, len, &end))
		check_take(&r, &a, length);
	page = malloc(size + 1);
	memcpy(page, data, size);
	page[size] = 0;
	if (vx_error_code(page, word))
		must(strlen(word) < sizeof word);
	free(page);
	return 0;
}
