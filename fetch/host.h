/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: what is known of a host: how many requests it bears at once, how soon it answers, whether it
 * answers at all. One for each origin, made when a store is opened and kept until the fetcher goes; apart from its
 * name it belongs to the loop's thread. The three judgements are pure, with the time as an argument.
 */
#ifndef VX_FETCH_HOST_H
#define VX_FETCH_HOST_H

#include "base/list.h"

#define VX_LATENCIES 64

/* The circuit: closed, open (nothing is sent), or one probe is under way. */
struct vx_breaker {
	unsigned fails; /* in a row, none of them reached the host */
	uint64_t first_fail_ns, open_until_ns, backoff_ns;
	bool open, probing;
};

/* True when a request may be sent; *ret_probe when it is the one that finds out. Who got that must report, or call
 * vx_breaker_forget. */
bool vx_breaker_admits(struct vx_breaker *b, uint64_t now_ns, bool *ret_probe);
void vx_breaker_good(struct vx_breaker *b);
/* A request begun at `begun_ns` did not reach the host. It opens after several in a row over at least `grace_ns`:
 * a restart of a server must not spoil the retries of what is under way. */
void vx_breaker_bad(struct vx_breaker *b, uint64_t begun_ns, uint64_t now_ns, uint64_t grace_ns);
void vx_breaker_forget(struct vx_breaker *b); /* the probe was cancelled */

/* Times to the first byte, and the means to send second requests. */
struct vx_latency {
	uint32_t us[VX_LATENCIES];
	unsigned count;  /* in all */
	unsigned thrift; /* thousandths of second requests saved up */
	uint64_t straggle_ns;
};

void vx_latency_init(struct vx_latency *l);
void vx_latency_add(struct vx_latency *l, uint64_t ns);
/* True when a request that has waited for `ns` deserves a second one; takes it from the means. */
bool vx_latency_spend(struct vx_latency *l, uint64_t ns);

/* Requests at once: halved when the host asks for mercy, grows again while it answers. */
struct vx_share {
	unsigned most, now, good;
	uint64_t halved_ns;
};
void vx_share_good(struct vx_share *s);
void vx_share_busy(struct vx_share *s, unsigned running, uint64_t now_ns);

struct vx_host {
	struct vx_host *next; /* constant, as the next */
	char *origin;

	struct vx_link ready;   /* in the loop's list while something waits */
	struct vx_link waiting; /* transfers, in order of arrival */
	unsigned running;       /* attempts */
	struct vx_breaker breaker;
	struct vx_latency latency;
	struct vx_share share;
};

struct vx_host *vx_host_new(const char *origin, unsigned connections); /* NULL when memory is short */
void vx_host_free(struct vx_host *h);

#endif
