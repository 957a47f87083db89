/* SPDX-License-Identifier: Apache-2.0
 * For targets whose input is a story: each byte says what happens next, and at its end nothing more does.
 */
#ifndef VX_FUZZ_STORY_H
#define VX_FUZZ_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static inline void must(bool true_)
{
	if (!true_)
		abort();
}

struct input {
	const uint8_t *p;
	size_t left;
};

static inline uint8_t take(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

#endif
