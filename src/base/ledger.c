/* SPDX-License-Identifier: Apache-2.0
 * The ledger's one instance. It is process-wide on purpose: counting must not need a pointer
 * through every call.
 */
#include "base/ledger.h"
#include "base/lock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define KEPT_ERRORS 256

struct vx_ledger vx_ledger;

struct kept_error {
	time_t when;
	int code;
	uint64_t times;
	char what[160];
	char why[sizeof((struct vx_err *)0)->why];
};

static struct {
	struct vx_mutex mtx;
	struct kept_error ring[KEPT_ERRORS]; /* under mtx */
	uint64_t count;                      /* under mtx */
} errors = {.mtx = {.mtx = PTHREAD_MUTEX_INITIALIZER, .rank = VX_RANK_LEDGER}};

void vx_hist_add(struct vx_hist *h, uint64_t ns)
{
	unsigned b = ns ? 63 - (unsigned)__builtin_clzll(ns) : 0;

	if (b >= VX_HIST_BUCKETS)
		b = VX_HIST_BUCKETS - 1;
	atomic_fetch_add_explicit(&h->bucket[b], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum, ns, memory_order_relaxed);
}

uint64_t vx_hist_count(const struct vx_hist *h)
{
	uint64_t n = 0;

	for (unsigned b = 0; b < VX_HIST_BUCKETS; b++)
		n += atomic_load_explicit(&h->bucket[b], memory_order_relaxed);
	return n;
}

uint64_t vx_hist_quantile(const struct vx_hist *h, double q)
{
	uint64_t total = vx_hist_count(h), seen = 0;

	if (!total)
		return 0;
	for (unsigned b = 0; b < VX_HIST_BUCKETS; b++) {
		seen += atomic_load_explicit(&h->bucket[b], memory_order_relaxed);
		if ((double)seen >= q * (double)total)
			return (uint64_t)2 << b;
	}
	return (uint64_t)1 << VX_HIST_BUCKETS;
}

/* A dead server fails thousands of opens with one sentence: the last entry counts its repetitions.
 */
static bool repeat_last(const char *what, const struct vx_err *e)
{
	struct kept_error *last;

	if (!errors.count)
		return false;
	last = &errors.ring[(errors.count - 1) % KEPT_ERRORS];
	if (last->code != e->code || strcmp(last->why, e->why) || strncmp(last->what, what, sizeof last->what - 1))
		return false;
	last->times++;
	return true;
}

void vx_error_note(const char *what, const struct vx_err *e)
{
	{
		VX_LOCK_SCOPE(&errors.mtx);
		struct kept_error *k = &errors.ring[errors.count % KEPT_ERRORS];

		if (repeat_last(what, e))
			return;
		errors.count++;
		k->when = time(NULL);
		k->code = e->code;
		k->times = 1;
		snprintf(k->what, sizeof k->what, "%s", what);
		memcpy(k->why, e->why, sizeof k->why);
	}
	vx_log(VX_LOG_ERROR, "%s: %s: %s", what, vx_errno_name(e->code), e->why);
}

char *vx_error_text(void)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	{
		VX_LOCK_SCOPE(&errors.mtx);
		uint64_t first = errors.count > KEPT_ERRORS ? errors.count - KEPT_ERRORS : 0;

		for (uint64_t i = first; i < errors.count; i++) {
			const struct kept_error *k = &errors.ring[i % KEPT_ERRORS];
			char stamp[32];
			struct tm tm;

			gmtime_r(&k->when, &tm);
			strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &tm);
			fprintf(f, "%s %s %s: %s", stamp, vx_errno_name(k->code), k->what, k->why);
			if (k->times > 1)
				fprintf(f, " (%llu times)", (unsigned long long)k->times);
			fputc('\n', f);
		}
	}
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}
