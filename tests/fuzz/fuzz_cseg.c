/* SPDX-License-Identifier: Apache-2.0
 * compressed_segmentation: the first 16 bytes choose the chunk's form and the part, the rest is the
 * chunk. The decoder may refuse, but must not write outside its destination; all levels of loops
 * must agree; and a part must equal the crop of the whole.
 */
#include "codec/cseg.h"

#include <stdint.h>
#include <string.h>

#define HEAD 16
#define MARGIN 64
#define CANARY 0xa5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void choose(const uint8_t *h, struct vx_chunk_form *f, struct vx_box *part)
{
	static const uint32_t sides[8] = {8, 8, 16, 4, 1, 3, 64, UINT32_MAX};

	*f = (struct vx_chunk_form){.width = h[0] & 1 ? 8 : 4};
	f->channels = 1 + (h[0] >> 1 & 1);
	f->pick.first = f->channels - 1; /* the last alone, or all */
	f->pick.some = h[0] >> 2 & 1;
	f->pick.first *= f->pick.some;
	for (int d = 0; d < 3; d++) {
		f->n[d] = 1 + h[1 + d] % (d ? 20 : 40);
		f->block[d] = h[4 + d] == 0xff ? 0 : sides[h[4 + d] % 8];
		part->lo[d] = h[7 + d] % (int64_t)f->n[d];
		part->hi[d] = part->lo[d] + 1 + h[10 + d] % ((int64_t)f->n[d] - part->lo[d]);
	}
}

/* A packed destination with a margin all around, 64-byte aligned. */
static int decode(const struct cseg_kernels *k, const struct vx_chunk_form *f, const uint8_t *data, size_t len,
		  const struct vx_box *part, bool large, uint8_t **ret)
{
	uint64_t n[3], bytes;
	struct vx_err e = {0};
	struct vx_place to;
	uint8_t *mem;
	int err;

	for (int d = 0; d < 3; d++)
		n[d] = vx_box_extent(part, d);
	bytes = n[0] * n[1] * n[2] * vx_chunk_form_picked(f) * f->width;
	mem = aligned_alloc(64, (bytes + 2 * MARGIN + 63) / 64 * 64);
	memset(mem, CANARY, bytes + 2 * MARGIN);
	to = vx_place_packed(mem + MARGIN, n, f->width); /* f->n[0] of 8, 16.. makes its rows whole lines */
	if (large && f->channels == 1)
		to.chan = 64 << 20;
	err = cseg_decode(k, f, data, len, part, &to, &e);
	if (err != 0 && (err != -EBADMSG || e.code != err || !e.why[0]))
		abort();
	for (size_t i = 0; i < MARGIN; i++)
		if (mem[i] != CANARY || mem[MARGIN + bytes + i] != CANARY)
			abort();
	*ret = mem;
	return err;
}

static void compare(const struct vx_chunk_form *f, const uint8_t *whole, const uint8_t *crop, const struct vx_box *part)
{
	for (uint32_t c = f->pick.first; c < f->pick.first + vx_chunk_form_picked(f); c++)
		for (int64_t z = part->lo[2]; z < part->hi[2]; z++)
			for (int64_t y = part->lo[1]; y < part->hi[1]; y++) {
				size_t row = vx_box_extent(part, 0) * f->width;
				uint64_t at = ((c * f->n[2] + (uint64_t)z) * f->n[1] + (uint64_t)y) * f->n[0];

				if (memcmp(whole + (at + (uint64_t)part->lo[0]) * f->width, crop, row))
					abort();
				crop += row;
			}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vx_chunk_form f, f_all;
	struct vx_box part, all = {.lo = {0}};
	uint8_t *whole = NULL, *crop, *chunk;
	int whole_err, err, first = 0;

	if (size < HEAD)
		return 0;
	choose(data, &f, &part);
	for (int d = 0; d < 3; d++)
		all.hi[d] = (int64_t)f.n[d];
	chunk = malloc(size - HEAD + 1);
	memcpy(chunk, data + HEAD, size - HEAD);
	f_all = f;
	f_all.pick.first = f_all.pick.some = 0;
	whole_err = decode(cseg_kernels(CSEG_PORTABLE), &f_all, chunk, size - HEAD, &all, false, &whole);
	for (int level = 0; level < CSEG_LEVELS; level++) {
		if (!cseg_kernels((enum cseg_level)level))
			continue;
		err = decode(cseg_kernels((enum cseg_level)level), &f, chunk, size - HEAD, &part, data[13] & 1, &crop);
		if (level == 0)
			first = err;
		if (err != first || (whole_err == 0 && err != 0))
			abort();
		if (whole_err == 0)
			compare(&f, whole + MARGIN, crop + MARGIN, &part);
		free(crop);
	}
	free(whole);
	free(chunk);
	return 0;
}
