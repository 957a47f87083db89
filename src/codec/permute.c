/* SPDX-License-Identifier: Apache-2.0
 * Permuting copies. Axes of length 1 are dropped and axes that adjoin on both sides merged; what is left is one of
 *
 *   rows       the voxels along the first axis adjoin on both sides: at most the bytes are to be swapped
 *   tiles      they adjoin in the destination only: tiles of it are gathered in a stage that fits the first cache,
 *              swapped there and written out in rows, so that a line of either side is touched in one go
 *   elements   one by one: a single voxel along x of a larger box
 */
#include "codec/permute.h"
#include "codec/stream.h"
#include "codec/transpose.h"

#include <string.h>

#define AXES 4
#define STAGE_BYTES ((uint64_t)16 << 10)
#define LINE 64
#define FEW 8 /* an axis shorter than this makes no good tile */

struct axis {
	uint64_t n, to, from; /* length; bytes from one to the next */
};

struct cut {
	uint8_t *to;
	const uint8_t *from;
	struct axis a[AXES]; /* x or what took its place first; those not there have length 1 */
	uint32_t width;
	bool swap, stream;
};

static bool adjoin(const struct axis *a, const struct axis *next)
{
	return next->to == a->to * a->n && next->from == a->from * a->n;
}

static void simplify(struct axis a[AXES])
{
	unsigned n = 0;

	for (unsigned i = 0; i < AXES; i++) {
		if (a[i].n == 1)
			continue;
		if (n && adjoin(&a[n - 1], &a[i]))
			a[n - 1].n *= a[i].n;
		else
			a[n++] = a[i];
	}
	for (; n < AXES; n++)
		a[n] = (struct axis){.n = 1};
}

static void swap_axes(struct axis *a, struct axis *b)
{
	struct axis t = *a;

	*a = *b;
	*b = t;
}

/* By steps in the source, the smallest first; those of length 1 last. */
static void sort_by_source(struct axis *a, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		for (unsigned j = i; j > 0 && a[j].n > 1 && (a[j - 1].n == 1 || a[j - 1].from > a[j].from); j--)
			swap_axes(&a[j - 1], &a[j]);
}

static void land(const struct cut *c, uint8_t *to, const uint8_t *from, uint64_t bytes)
{
	if (c->stream)
		stream_row(to, from, bytes);
	else
		memcpy(to, from, bytes);
}

/* ---- rows ---- */

static void row(const struct cut *c, uint8_t *to, const uint8_t *from, uint64_t n)
{
	uint8_t stage[4096];
	uint64_t most = sizeof stage / c->width;

	if (!c->swap) {
		land(c, to, from, n * c->width);
		return;
	}
	if (!c->stream) {
		swap_copy(to, from, n, c->width);
		return;
	}
	for (; n > 0; to += most * c->width, from += most * c->width, n -= most) {
		most = vx_min_u64(n, most);
		swap_copy(stage, from, most, c->width);
		stream_row(to, stage, most * c->width);
	}
}

static void rows(const struct cut *c)
{
	const struct axis *a = c->a;

	for (uint64_t i = 0; i < a[3].n; i++)
		for (uint64_t j = 0; j < a[2].n; j++)
			for (uint64_t k = 0; k < a[1].n; k++)
				row(c, c->to + i * a[3].to + j * a[2].to + k * a[1].to,
				    c->from + i * a[3].from + j * a[2].from + k * a[1].from, a[0].n);
}

/* ---- tiles ---- */

/* a[0] lies along the rows of a tile and a[1] across them. */
static void tile(const struct cut *c, uint8_t *to, const uint8_t *from, uint64_t along, uint64_t across)
{
	uint8_t stage[STAGE_BYTES] __attribute__((aligned(LINE)));
	uint64_t bytes = along * c->width;

	gather(stage, from,
	       &(struct gathering){.along = along,
				   .across = across,
				   .step_along = c->a[0].from,
				   .step_across = c->a[1].from,
				   .width = c->width});
	if (c->swap)
		swap_copy(stage, stage, along * across, c->width);
	for (uint64_t i = 0; i < across; i++)
		land(c, to + i * c->a[1].to, stage + i * bytes, bytes);
}

/* The axis that runs fastest in the source lies across the tile, so that tiles are whole lines there too; unless it is
 * too short for that, and another would follow before x does. */
static void choose_across(struct cut *c)
{
	struct axis *a = c->a;

	sort_by_source(a + 1, AXES - 1);
	if (a[1].n < FEW && a[2].n > 1 && a[2].from < a[0].from)
		swap_axes(&a[1], &a[2]);
}

static void tiles(struct cut *c)
{
	const struct axis *a = c->a;
	uint64_t across, along, per_line = LINE / c->width;

	choose_across(c);
	across = vx_min_u64(a[1].n, vx_max_u64(per_line, 16));
	along = STAGE_BYTES / (across * c->width) / per_line * per_line;
	for (uint64_t o = 0; o < a[3].n; o++)
		for (uint64_t i = 0; i < a[1].n; i += across)
			for (uint64_t x = 0; x < a[0].n; x += along)
				for (uint64_t k = 0; k < a[2].n; k++)
					tile(c, c->to + o * a[3].to + i * a[1].to + x * a[0].to + k * a[2].to,
					     c->from + o * a[3].from + i * a[1].from + x * a[0].from + k * a[2].from,
					     vx_min_u64(along, a[0].n - x), vx_min_u64(across, a[1].n - i));
}

/* ---- elements ---- */

static void elements(const struct cut *c)
{
	const struct axis *a = c->a;

	for (uint64_t i = 0; i < a[3].n; i++)
		for (uint64_t j = 0; j < a[2].n; j++)
			for (uint64_t k = 0; k < a[1].n; k++)
				for (uint64_t x = 0; x < a[0].n; x++) {
					uint8_t *to = c->to + i * a[3].to + j * a[2].to + k * a[1].to + x * a[0].to;
					const uint8_t *from =
					    c->from + i * a[3].from + j * a[2].from + k * a[1].from + x * a[0].from;

					if (c->swap)
						swap_copy(to, from, 1, c->width);
					else
						memcpy(to, from, c->width);
				}
}

/* ---- all ---- */

void permute_copy(const struct vx_place *to, const struct strided *from, const uint64_t n[3], uint32_t channels,
		  uint32_t width, bool swap)
{
	struct cut c = {.to = to->at,
			.from = from->at,
			.a = {{n[0], width, from->x},
			      {n[1], to->row, from->row},
			      {n[2], to->plane, from->plane},
			      {channels, to->chan, from->chan}},
			.width = width,
			.swap = swap && width > 1,
			.stream = stream_worthwhile(to, n[2])};

	if (from->x == width && !c.swap) {
		struct vx_place f = {(uint8_t *)(uintptr_t)from->at, from->row, from->plane, from->chan};

		stream_or_copy(to, &f, n, channels, width); /* f is only read from */
		return;
	}
	simplify(c.a);
	if (c.a[0].to != width)
		elements(&c);
	else if (c.a[0].from == width)
		rows(&c);
	else
		tiles(&c);
	if (c.stream)
		stream_fence();
}

static uint8_t any_bits(const uint8_t *p, uint64_t n, uint64_t step)
{
	uint8_t any = 0;

	if (step == 1)
		for (uint64_t i = 0; i < n; i++)
			any |= p[i];
	else
		for (uint64_t i = 0; i < n; i++)
			any |= p[i * step];
	return any;
}

bool permute_is_bool(const struct strided *from, const uint64_t n[3], uint32_t channels)
{
	/* What must adjoin is the source alone: as if the destination were laid out like it. */
	struct axis a[AXES] = {{n[0], from->x, from->x},
			       {n[1], from->row, from->row},
			       {n[2], from->plane, from->plane},
			       {channels, from->chan, from->chan}};
	uint8_t any = 0;

	sort_by_source(a, AXES);
	simplify(a);
	for (uint64_t i = 0; i < a[3].n; i++)
		for (uint64_t j = 0; j < a[2].n; j++)
			for (uint64_t k = 0; k < a[1].n; k++)
				any |= any_bits(from->at + i * a[3].from + j * a[2].from + k * a[1].from, a[0].n,
						a[0].from);
	return any <= 1;
}
