/* SPDX-License-Identifier: Apache-2.0
 * voxtraces: hit ratios of our eviction (src/arena/evict.h, S3-FIFO) beside LRU, FIFO and SIEVE, on synthetic traces of
 * items of 64 KiB to 8 MiB. A miss loads the item and evicts until it fits. Everything is deterministic.
 */
#include "arena/evict.h"
#include "base/hash.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MIB ((uint64_t)1 << 20)
#define CACHE (2048 * MIB)

/* ---- policies ---- */

struct item {
	struct vx_evict_item ours;
	struct vx_link link; /* the others' queue: oldest first */
	uint64_t bytes;
	bool resident, visited;
};

struct cache {
	struct vx_evict evict;
	struct vx_link queue, *hand;
	uint64_t used;
};

struct policy {
	const char *name;
	void (*hit)(struct cache *c, struct item *i);
	void (*add)(struct cache *c, struct item *i);
	struct item *(*next)(struct cache *c); /* the victim, taken off */
};

static void ours_hit(struct cache *c, struct item *i)
{
	(void)c;
	vx_evict_touch(&i->ours);
}

static void ours_add(struct cache *c, struct item *i)
{
	vx_evict_add(&c->evict, &i->ours, false);
}

static struct item *ours_next(struct cache *c)
{
	return vx_container_of(vx_evict_next(&c->evict), struct item, ours);
}

static void lru_hit(struct cache *c, struct item *i)
{
	vx_list_remove(&i->link);
	vx_list_push_back(&c->queue, &i->link);
}

static void queue_add(struct cache *c, struct item *i)
{
	i->visited = false;
	vx_list_push_back(&c->queue, &i->link);
}

static struct item *queue_next(struct cache *c)
{
	struct item *i = vx_list_entry(c->queue.next, struct item, link);

	vx_list_remove(&i->link);
	return i;
}

static void fifo_hit(struct cache *c, struct item *i)
{
	(void)c, (void)i;
}

static void sieve_hit(struct cache *c, struct item *i)
{
	(void)c;
	i->visited = true;
}

/* The hand walks from the oldest to the newest and stays where it found a victim. */
static struct item *sieve_next(struct cache *c)
{
	for (;;) {
		struct item *i;

		if (!c->hand || c->hand == &c->queue)
			c->hand = c->queue.next;
		i = vx_list_entry(c->hand, struct item, link);
		c->hand = c->hand->next;
		if (!i->visited) {
			vx_list_remove(&i->link);
			return i;
		}
		i->visited = false;
	}
}

static const struct policy policies[] = {
    {"S3-FIFO", ours_hit, ours_add, ours_next},
    {"LRU", lru_hit, queue_add, queue_next},
    {"FIFO", fifo_hit, queue_add, queue_next},
    {"SIEVE", sieve_hit, queue_add, sieve_next},
};

/* ---- traces: the n-th request, or UINT32_MAX at the end ---- */

static double uniform(uint64_t n, uint64_t salt)
{
	return (double)(vx_hash_add(vx_hash_add(salt, n), 77) >> 11) / 9007199254740992.0;
}

/* Approximate inverse of the distribution with exponent s < 1: rank 0 is the most wanted. */
static uint32_t zipf(double u, uint32_t items, double s)
{
	return (uint32_t)((double)items * pow(u, 1 / (1 - s)));
}

static uint32_t trace_zipf(uint64_t n)
{
	return n < 200000 ? zipf(uniform(n, 1), 10000, 0.8) : UINT32_MAX;
}

/* Every 40,000 requests a sweep of 5,000 items that nobody asks for again. */
static uint32_t trace_zipf_sweep(uint64_t n)
{
	uint64_t at = n % 45000;

	if (n >= 225000)
		return UINT32_MAX;
	return at < 40000 ? zipf(uniform(n, 1), 10000, 0.8) : (uint32_t)(10000 + n / 45000 * 5000 + at - 40000);
}

/* 1,400 items of 1.68 MiB on average are 1.15 times the cache. */
static uint32_t trace_loop(uint64_t n)
{
	return n < 100000 ? (uint32_t)(n % 1400) : UINT32_MAX;
}

/* Slabs across layers of chunks: each of a layer's 500 chunks is wanted by 16 slabs in a row, then never again, save
 * that every fourth slab is looked at twice. */
static uint32_t trace_slabs(uint64_t n)
{
	uint64_t slab = n / 500, once = slab / 5 * 4 + (slab % 5 > 3 ? 3 : slab % 5);

	return n < 300000 ? (uint32_t)(once / 16 * 500 + n % 500) : UINT32_MAX;
}

/* Two sets, each three quarters of the cache, take turns of 10,000 requests. */
static uint32_t trace_two_sets(uint64_t n)
{
	uint32_t set = (uint32_t)(n / 10000 % 2);

	return n < 200000 ? set * 900 + (uint32_t)(uniform(n, 2) * 900) : UINT32_MAX;
}

static const struct trace {
	const char *name;
	uint32_t (*at)(uint64_t n);
} traces[] = {
    {"zipf 0.8", trace_zipf},
    {"zipf 0.8 and sweeps", trace_zipf_sweep},
    {"loop of 1.15 x the cache", trace_loop},
    {"slabs, re-read", trace_slabs},
    {"two sets in turns", trace_two_sets},
};

/* ---- running ---- */

#define ITEMS 40000

static void make_items(struct item *items)
{
	memset(items, 0, ITEMS * sizeof *items);
	for (uint32_t k = 0; k < ITEMS; k++) {
		struct item *i = &items[k];

		i->bytes = (uint64_t)(65536 * pow(128, uniform(k, 3)));
		i->ours.bytes = i->bytes;
		i->ours.hash = vx_mix64(k + 1);
		vx_list_init(&i->link);
	}
}

static double hit_ratio(const struct policy *p, const struct trace *t, struct item *items, struct cache *c,
			double *ret_bytes)
{
	uint64_t hits = 0, hit_bytes = 0, bytes = 0, n;
	uint32_t k;

	make_items(items);
	memset(c, 0, sizeof *c);
	vx_evict_init(&c->evict);
	vx_list_init(&c->queue);
	for (n = 0; (k = t->at(n)) != UINT32_MAX; n++) {
		struct item *i = &items[k];

		bytes += i->bytes;
		if (i->resident) {
			hits++;
			hit_bytes += i->bytes;
			p->hit(c, i);
			continue;
		}
		while (c->used + i->bytes > CACHE) {
			struct item *victim = p->next(c);

			victim->resident = false;
			c->used -= victim->bytes;
		}
		c->used += i->bytes;
		i->resident = true;
		p->add(c, i);
	}
	*ret_bytes = (double)hit_bytes / (double)bytes;
	return (double)hits / (double)n;
}

int main(void)
{
	struct item *items = calloc(ITEMS, sizeof *items);
	struct cache *c = calloc(1, sizeof *c);

	if (!items || !c)
		return 1;
	printf("hits (bytes hit), %% of requests; cache of 2 GiB, items of 64 KiB to 8 MiB\n%-26s", "trace");
	for (size_t p = 0; p < VX_ARRAY_LEN(policies); p++)
		printf(" %14s", policies[p].name);
	for (size_t t = 0; t < VX_ARRAY_LEN(traces); t++) {
		printf("\n%-26s", traces[t].name);
		for (size_t p = 0; p < VX_ARRAY_LEN(policies); p++) {
			double bytes, hits = hit_ratio(&policies[p], &traces[t], items, c, &bytes);

			printf("   %5.1f (%4.1f)", 100 * hits, 100 * bytes);
		}
	}
	printf("\n");
	free(items);
	free(c);
	return 0;
}
