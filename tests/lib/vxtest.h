/* SPDX-License-Identifier: Apache-2.0
 * What voxfs's own unit tests share: random numbers whose seed is printed and may be given again, and Check's main.
 *   VX_TEST_SEED=n  every random test starts from n
 *   VX_TEST_OPS=n   operations of each stress test
 */
#ifndef VX_TEST_H
#define VX_TEST_H

#include "base/hash.h"
#include "base/vx.h"

#include <check.h>
#include <stdio.h>

struct vxt_rng {
	uint64_t state;
};

/* Test number `i` of a loop. */
static inline struct vxt_rng vxt_seed(const char *test, int i)
{
	const char *given = getenv("VX_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)i + 1;

	fprintf(stderr, "%s: VX_TEST_SEED=%llu\n", test, (unsigned long long)seed);
	return (struct vxt_rng){vx_mix64(seed)};
}

/* In [0, below). */
static inline uint64_t vxt_rnd(struct vxt_rng *r, uint64_t below)
{
	r->state += 0x9e3779b97f4a7c15u;
	return vx_mix64(r->state) % below;
}

static inline int64_t vxt_between(struct vxt_rng *r, int64_t lo, int64_t hi)
{
	return lo + (int64_t)vxt_rnd(r, (uint64_t)(hi - lo));
}

static inline unsigned vxt_ops(unsigned usual)
{
	const char *given = getenv("VX_TEST_OPS");

	return given ? (unsigned)strtoul(given, NULL, 0) : usual;
}

static inline int vxt_run(Suite *s)
{
	SRunner *r = srunner_create(s);
	int failed;

	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

#endif
