/* SPDX-License-Identifier: Apache-2.0
 * Which failures pass by themselves, and how long to wait for that: the first wait doubled at each
 * try, of which a random part between half and whole is waited, so that many requests that failed
 * together do not come back together. Nobody comes back sooner than a store has asked for; who cannot wait for so
 * long does not come back. Pure, any thread.
 */
#include "fetch/retry.h"

static const struct {
	bool again;
	int code;
	const char *text;
} faults[] = {[VX_FAULT_NONE] = {false, 0, ""},
#define X(name, again, code, text) [VX_FAULT_##name] = {again, -code, text},
	      VX_FAULTS(X)
#undef X
};

static bool status_passes(int status)
{
	switch (status) {
	case 408: /* Request Timeout */
	case 429: /* Too Many Requests */
		return true;
	case 501: /* Not Implemented */
	case 505: /* HTTP Version Not Supported */
		return false;
	default:
		return status >= 500 && status <= 599;
	}
}

static int status_code(int status)
{
	switch (status) {
	case 404: /* Not Found */
	case 410: /* Gone */
		return -ENODATA;
	case 401: /* Unauthorized */
	case 403: /* Forbidden */
	case 407: /* Proxy Authentication Required */
		return -EACCES;
	default:
		return -EIO;
	}
}

/* The longest wait behind try `tries`. */
static uint64_t whole_wait_ms(const struct vx_retry_policy *p, unsigned tries)
{
	uint64_t whole = vx_min_u64(p->first_ms, p->max_ms);

	for (unsigned i = 1; i < tries && whole < p->max_ms; i++)
		whole = whole > p->max_ms / 2 ? p->max_ms : whole * 2;
	return whole;
}

uint64_t vx_retry_grace_ms(const struct vx_retry_policy *p)
{
	uint64_t sum = 0;

	for (unsigned i = 1; i < p->tries; i++)
		sum += whole_wait_ms(p, i);
	return sum;
}

static uint64_t wait_ms(const struct vx_retry_policy *p, const struct vx_failure *f, uint64_t random)
{
	uint64_t whole = whole_wait_ms(p, f->tries), half;

	half = whole / 2;
	whole = whole - half + random % (half + 1);
	return vx_max_u64(whole, f->retry_after_ms);
}

struct vx_verdict vx_retry_decide(const struct vx_retry_policy *p, const struct vx_failure *f, uint64_t random)
{
	bool status = f->fault == VX_FAULT_STATUS;
	bool passes = status ? status_passes(f->status) : faults[f->fault].again;

	if (passes && f->tries < p->tries && f->retry_after_ms <= p->after_max_ms)
		return (struct vx_verdict){.again = true, .wait_ms = wait_ms(p, f, random)};
	return (struct vx_verdict){.again = false};
}

int vx_retry_code(const struct vx_failure *f)
{
	return f->fault == VX_FAULT_STATUS ? status_code(f->status) : faults[f->fault].code;
}

const char *vx_fault_text(enum vx_fault fault)
{
	return faults[fault].text;
}
