/* SPDX-License-Identifier: Apache-2.0
 * The first touch maps anonymous memory slice by slice and lets go of all of it at the end: what counts is that the
 * machine's pages have been touched once, not who had them. It never holds more than what the cache has not used yet,
 * and leaves an eighth of the machine's memory free.
 */
#include "fs/warm.h"
#include "base/log.h"

#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define SLICE ((uint64_t)64 << 20)
#define PAGE 4096

struct vx_warmer {
	struct vx_cache *cache;
	struct vx_pool *pool;
	uint64_t target;
	_Atomic bool stop;
	sem_t low;
	pthread_t thread;
};

static bool on_virtual_machine(void)
{
	char line[4096];
	bool found = false;
	FILE *f = fopen("/proc/cpuinfo", "re");

	while (f && !found && fgets(line, sizeof line, f))
		found = !strncmp(line, "flags", 5) && strstr(line, " hypervisor");
	if (f)
		fclose(f);
	return found;
}

static bool memory_is_ample(void)
{
	unsigned long long total = 0, available = 0;
	char line[256];
	FILE *f = fopen("/proc/meminfo", "re");

	if (!f)
		return false;
	while (fgets(line, sizeof line, f)) {
		sscanf(line, "MemTotal: %llu", &total);
		sscanf(line, "MemAvailable: %llu", &available);
	}
	fclose(f);
	return available > total / 8 + (SLICE >> 10);
}

static bool may_go_on(struct vx_warmer *w, uint64_t held)
{
	struct vx_cache_stats s;

	vx_cache_stats(w->cache, &s);
	return !w->stop && held + SLICE + s.bytes <= s.limit && held + SLICE <= w->target && memory_is_ample();
}

static void warm_once(struct vx_warmer *w)
{
	void **slices = calloc(w->target / SLICE + 1, sizeof *slices);
	uint64_t n = 0;

	while (slices && may_go_on(w, n * SLICE)) {
		void *m = mmap(NULL, SLICE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (m == MAP_FAILED)
			break;
		madvise(m, SLICE, MADV_HUGEPAGE);
		for (uint64_t at = 0; at < SLICE && !w->stop; at += PAGE)
			((volatile char *)m)[at] = 0;
		slices[n++] = m;
	}
	for (uint64_t i = 0; i < n; i++)
		munmap(slices[i], SLICE);
	free(slices);
	vx_log(VX_LOG_DEBUG, "warmed %llu MiB of memory", (unsigned long long)(n * SLICE >> 20));
}

static void *warm_main(void *arg)
{
	struct vx_warmer *w = arg;
	struct sched_param p = {0};

	pthread_setschedparam(pthread_self(), SCHED_IDLE, &p);
	warm_once(w);
	/* From here on it shares locks with workers: at idle priority it could hold one for milliseconds. */
	pthread_setschedparam(pthread_self(), SCHED_OTHER, &p);
	while (!w->stop) {
		while (vx_pool_prepare(w->pool) && !w->stop)
			continue;
		while (sem_wait(&w->low) < 0)
			continue;
	}
	return NULL;
}

static void on_low(void *ctx)
{
	struct vx_warmer *w = ctx;
	int value;

	if (sem_getvalue(&w->low, &value) == 0 && value <= 0)
		sem_post(&w->low);
}

int vx_warmer_start(struct vx_warmer **ret, struct vx_cache *c, struct vx_pool *pool, uint64_t bytes, struct vx_err *e)
{
	struct vx_warmer *w = calloc(1, sizeof *w);
	int r;

	if (!w)
		return vx_fail(e, -ENOMEM, "no memory");
	if (bytes == UINT64_MAX)
		bytes = on_virtual_machine() ? vx_cache_limit(c) : 0;
	w->target = vx_min_u64(bytes, vx_cache_limit(c));
	w->cache = c;
	w->pool = pool;
	sem_init(&w->low, 0, 0);
	vx_pool_on_low(pool, on_low, w);
	r = pthread_create(&w->thread, NULL, warm_main, w);
	if (r) {
		vx_pool_on_low(pool, NULL, NULL);
		free(w);
		return vx_fail(e, -r, "cannot start a thread: %s", strerror(r));
	}
	pthread_setname_np(w->thread, "vx-warm");
	*ret = w;
	return 0;
}

void vx_warmer_stop(struct vx_warmer **pw)
{
	struct vx_warmer *w = vx_steal(*pw);

	if (!w)
		return;
	w->stop = true;
	sem_post(&w->low);
	pthread_join(w->thread, NULL);
	vx_pool_on_low(w->pool, NULL, NULL);
	sem_destroy(&w->low);
	free(w);
}
