/* SPDX-License-Identifier: Apache-2.0
 * A thread at idle priority maps anonymous memory slice by slice, touches it and lets go of all of it at the end: what
 * counts is that the machine's pages have been touched once, not who had them. It never holds more than what the cache
 * has not used yet, and leaves an eighth of the machine's memory free.
 */
#include "fs/warm.h"
#include "base/log.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define SLICE ((uint64_t)64 << 20)
#define PAGE 4096

struct vx_warmer {
	struct vx_cache *cache;
	uint64_t target;
	_Atomic bool stop;
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
	return !w->stop && held < w->target && held + SLICE + s.bytes <= s.limit && memory_is_ample();
}

static void *warm_main(void *arg)
{
	struct vx_warmer *w = arg;
	struct sched_param p = {0};
	void **slices = calloc(w->target / SLICE + 1, sizeof *slices);
	uint64_t n = 0;

	pthread_setschedparam(pthread_self(), SCHED_IDLE, &p);
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
	return NULL;
}

int vx_warmer_start(struct vx_warmer **ret, struct vx_cache *c, uint64_t bytes, struct vx_err *e)
{
	struct vx_warmer *w;
	int r;

	if (bytes == UINT64_MAX)
		bytes = on_virtual_machine() ? vx_cache_limit(c) : 0;
	bytes = vx_min_u64(bytes, vx_cache_limit(c));
	if (bytes < SLICE)
		return 0;
	w = calloc(1, sizeof *w);
	if (!w)
		return vx_fail(e, -ENOMEM, "no memory");
	w->cache = c;
	w->target = bytes;
	r = pthread_create(&w->thread, NULL, warm_main, w);
	if (r) {
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
	pthread_join(w->thread, NULL);
	free(w);
}
