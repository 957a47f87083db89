/* SPDX-License-Identifier: Apache-2.0
 * One thread at idle or the lowest priority, which moreover stands still while anybody reads. It wakes when what is
 * ready runs low, and once a second to see whether the machine has run short of memory: then everything ready is given
 * back, and nothing is made until there is plenty again.
 */
#include "fs/warm.h"
#include "base/clock.h"

#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define AMPLE_SHARE 8    /* leave an eighth of the machine's memory free */
#define REGIONS_ALWAYS 4 /* ready for chunk buffers whatever warm= says */
#define QUIET_NS (5 * VX_MS)
#define NAP_US 1000

struct vx_warmer {
	struct vx_cache *cache;
	struct vx_engine *engine;
	struct vx_arena *arena;
	struct vx_pool *pool;
	uint64_t target;
	_Atomic bool stop;
	sem_t low;
	pthread_t thread;
};

/* Of the machine, for the one server in a process. */
static FILE *meminfo;
static bool is_virtual;

static bool on_virtual_machine(void)
{
	char line[8192];
	bool found = false;
	FILE *f = fopen("/proc/cpuinfo", "re");

	while (f && !found && fgets(line, sizeof line, f))
		found = !strncmp(line, "flags", 5) && strstr(line, " hypervisor");
	if (f)
		fclose(f);
	return found;
}

void vx_warmer_look(void)
{
	meminfo = fopen("/proc/meminfo", "re");
	is_virtual = on_virtual_machine();
}

static bool memory_is_ample(void)
{
	unsigned long long total = 0, available = 0;
	char line[256];

	if (!meminfo)
		return false;
	rewind(meminfo);
	while (fgets(line, sizeof line, meminfo)) {
		sscanf(line, "MemTotal: %llu", &total);
		sscanf(line, "MemAvailable: %llu", &available);
	}
	return available > total / AMPLE_SHARE;
}

/* Waits until nobody has wanted anything for a while. */
static bool go_on(void *ctx)
{
	struct vx_warmer *w = ctx;

	while (!w->stop && vx_engine_idle_ns(w->engine) < QUIET_NS)
		usleep(NAP_US);
	return !w->stop;
}

/* One step; false when there is nothing to do now. */
static bool prepare_one(struct vx_warmer *w)
{
	struct vx_ready_room room = vx_cache_ready_room(w->cache);

	if (!w->target)
		return vx_pool_prepare(w->pool, REGIONS_ALWAYS, go_on, w);
	if (!memory_is_ample()) {
		vx_arena_shrink_ready(w->arena, 0);
		vx_pool_trim_ready(w->pool, REGIONS_ALWAYS);
		return false;
	}
	return vx_pool_prepare(w->pool, room.regions, go_on, w) ||
	       vx_arena_prepare(w->arena, vx_min_u64(w->target, room.objects), go_on, w);
}

static void wait_until_low(struct vx_warmer *w)
{
	uint64_t until = vx_now_ns() + VX_SEC;
	struct timespec t = {.tv_sec = (time_t)(until / VX_SEC), .tv_nsec = (long)(until % VX_SEC)};

	if (w->target)
		sem_clockwait(&w->low, CLOCK_MONOTONIC, &t);
	else
		sem_wait(&w->low);
}

/* RLIMIT_NICE counts from 20, that is nice 0, downwards. */
#define NICE_OF_OTHERS 20
#define NICE_LOWEST 19

void vx_warmer_permit(void)
{
	struct rlimit l = {NICE_OF_OTHERS, NICE_OF_OTHERS}, now;

	if (getrlimit(RLIMIT_NICE, &now) == 0 && now.rlim_cur < l.rlim_cur)
		setrlimit(RLIMIT_NICE, &l); /* only the privileged may */
}

/* At idle priority only where that can be undone: on busy processors such a thread needs half a minute even to end. */
static void be_modest(void)
{
	struct sched_param p = {0};
	struct rlimit l;

	if (getrlimit(RLIMIT_NICE, &l) == 0 && l.rlim_cur >= NICE_OF_OTHERS)
		pthread_setschedparam(pthread_self(), SCHED_IDLE, &p);
	else
		setpriority(PRIO_PROCESS, (id_t)gettid(), NICE_LOWEST);
}

static void *warm_main(void *arg)
{
	struct vx_warmer *w = arg;

	pthread_setname_np(pthread_self(), "vx-warm");
	if (w->target) /* a few regions are no burden to anybody */
		be_modest();
	while (!w->stop) {
		while (!w->stop && prepare_one(w))
			vx_cache_fit_ready(w->cache); /* what was reserved meanwhile comes first */
		if (!w->stop)
			wait_until_low(w);
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

static void set_callbacks(struct vx_warmer *w, void (*f)(void *ctx))
{
	vx_pool_on_low(w->pool, f, w);
	vx_arena_on_low(w->arena, f, w);
}

static void warmer_free(struct vx_warmer *w)
{
	sem_destroy(&w->low);
	free(w);
}

int vx_warmer_start(struct vx_warmer **ret, struct vx_cache *c, struct vx_engine *g, struct vx_pool *pool,
		    uint64_t bytes, struct vx_err *e)
{
	struct vx_warmer *w = calloc(1, sizeof *w);
	int r;

	if (!w)
		return vx_fail(e, -ENOMEM, "no memory");
	if (bytes == UINT64_MAX)
		bytes = is_virtual ? vx_cache_limit(c) : vx_cache_limit(c) / 4;
	w->target = vx_min_u64(bytes, vx_cache_limit(c));
	w->cache = c;
	w->engine = g;
	w->arena = vx_cache_arena(c);
	w->pool = pool;
	sem_init(&w->low, 0, 0);
	set_callbacks(w, on_low);
	r = pthread_create(&w->thread, NULL, warm_main, w);
	if (r) {
		set_callbacks(w, NULL);
		warmer_free(w);
		return vx_fail(e, -r, "cannot start a thread: %s", strerror(r));
	}
	*ret = w;
	return 0;
}

void vx_warmer_stop(struct vx_warmer **pw)
{
	struct vx_warmer *w = vx_steal(*pw);
	struct sched_param p;
	int policy;

	if (!w)
		return;
	w->stop = true;
	sem_post(&w->low);
	if (pthread_getschedparam(pthread_self(), &policy, &p) == 0)
		pthread_setschedparam(w->thread, policy, &p); /* as urgent as who waits for it */
	pthread_join(w->thread, NULL);
	set_callbacks(w, NULL);
	warmer_free(w);
}
