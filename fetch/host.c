/* SPDX-License-Identifier: Apache-2.0
 * Judgements about hosts. A host that cannot be reached costs every request its timeouts and retries; so after some
 * failures in a row nothing is sent for a while but a probe now and then. A request that lags far behind what is usual
 * for its host gets a second one beside it, few enough (three of a hundred) not to burden a host that is slow for all.
 */
#include "fetch/host.h"

#include "base/clock.h"

#include <string.h>

#define FAILS_TO_OPEN 8
#define BACKOFF_FIRST (VX_SEC / 2)
#define BACKOFF_MOST (30 * VX_SEC)

#define LATENCIES_TO_JUDGE 20
#define STRAGGLE_TIMES 4
#define STRAGGLE_LEAST (50 * VX_MS)
#define THRIFT_EACH 30 /* of a thousand */
#define THRIFT_MOST 3000

bool vx_breaker_admits(struct vx_breaker *b, uint64_t now_ns, bool *ret_probe)
{
	*ret_probe = b->open && !b->probing && now_ns >= b->open_until_ns;
	b->probing |= *ret_probe;
	return !b->open || *ret_probe;
}

void vx_breaker_good(struct vx_breaker *b)
{
	memset(b, 0, sizeof *b);
}

void vx_breaker_forget(struct vx_breaker *b)
{
	b->probing = false;
}

void vx_breaker_bad(struct vx_breaker *b, uint64_t begun_ns, uint64_t now_ns, uint64_t grace_ns)
{
	if (b->open) {
		/* Others that had begun before say nothing new. */
		if (!b->probing)
			return;
		b->probing = false;
		b->backoff_ns = vx_min_u64(2 * b->backoff_ns, BACKOFF_MOST);
		b->open_until_ns = now_ns + b->backoff_ns;
		return;
	}
	if (b->fails++ == 0 || begun_ns < b->first_fail_ns)
		b->first_fail_ns = begun_ns;
	if (b->fails < FAILS_TO_OPEN || now_ns - b->first_fail_ns < grace_ns)
		return;
	b->open = true;
	b->backoff_ns = BACKOFF_FIRST;
	b->open_until_ns = now_ns + b->backoff_ns;
}

void vx_latency_init(struct vx_latency *l)
{
	memset(l, 0, sizeof *l);
	l->thrift = 1000;
	l->straggle_ns = UINT64_MAX;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

void vx_latency_add(struct vx_latency *l, uint64_t ns)
{
	uint32_t sorted[VX_LATENCIES];
	unsigned n;

	l->us[l->count++ % VX_LATENCIES] = (uint32_t)vx_min_u64(ns / 1000, UINT32_MAX);
	l->thrift = (unsigned)vx_min_u64(l->thrift + THRIFT_EACH, THRIFT_MOST);
	if (l->count < LATENCIES_TO_JUDGE || l->count % 8 != 0)
		return;
	n = (unsigned)vx_min_u64(l->count, VX_LATENCIES);
	memcpy(sorted, l->us, n * sizeof *sorted);
	qsort(sorted, n, sizeof *sorted, by_size);
	l->straggle_ns = vx_max_u64((uint64_t)sorted[n * 95 / 100] * 1000 * STRAGGLE_TIMES, STRAGGLE_LEAST);
}

bool vx_latency_spend(struct vx_latency *l, uint64_t ns)
{
	if (ns < l->straggle_ns || l->thrift < 1000)
		return false;
	l->thrift -= 1000;
	return true;
}

void vx_share_good(struct vx_share *s)
{
	if (s->now >= s->most || ++s->good < s->now)
		return;
	s->good = 0;
	s->now++;
}

void vx_share_busy(struct vx_share *s, unsigned running, uint64_t now_ns)
{
	s->good = 0;
	/* What was sent together is refused together: that is one sign, not many. */
	if (s->halved_ns && now_ns - s->halved_ns < VX_SEC)
		return;
	s->halved_ns = now_ns;
	s->now = (unsigned)vx_max_u64(vx_min_u64(s->now, running) / 2, 1);
}

struct vx_host *vx_host_new(const char *origin, unsigned connections)
{
	struct vx_host *h = calloc(1, sizeof *h);

	if (!h || !(h->origin = strdup(origin))) {
		free(h);
		return NULL;
	}
	vx_list_init(&h->ready);
	vx_list_init(&h->waiting);
	vx_latency_init(&h->latency);
	h->share.most = h->share.now = connections;
	return h;
}

void vx_host_free(struct vx_host *h)
{
	free(h->origin);
	free(h);
}
