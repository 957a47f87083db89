/* SPDX-License-Identifier: Apache-2.0
 * compressed_segmentation, writer's order: per channel, block by block with x innermost, first the
 * packed indices, then the table of sorted labels unless an equal one was written before.
 *
 * Speed comes from labels being the same for long stretches: a voxel equal to the one before it
 * costs one comparison, and rows equal to the row before are not looked at voxel by voxel.
 */
#include "voxgen_cseg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BLOCK_VOXELS 65536
#define MAX_SLOTS ((size_t)4 * MAX_BLOCK_VOXELS)
#define OFFSET_LIMIT ((uint64_t)1 << 24)

struct slot { /* of the block's label table */
	uint64_t label;
	uint32_t stamp; /* in use when equal to the coder's */
	uint32_t id;    /* order of appearance */
};

struct table { /* of the channel's tables, by the labels they hold */
	uint64_t hash;
	uint32_t at, n; /* word offset from the channel's start; n is 0 in a free slot */
};

struct vg_coder {
	uint32_t *out;
	size_t len, cap; /* words */
	size_t base;     /* where the channel starts */
	struct slot *slots;
	uint32_t slot_mask, stamp;
	uint64_t *labels;  /* by id, then sorted */
	uint32_t *ids;     /* of each voxel of the block, padding included */
	uint32_t *rank_of; /* sorted position of an id */
	struct table *tables;
	size_t n_tables, tables_mask;
};

static uint64_t mix(uint64_t v)
{
	v ^= v >> 32;
	v *= 0xd6e8feb86659fd93u;
	return v ^ v >> 29;
}

struct vg_coder *vg_coder_new(void)
{
	struct vg_coder *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	k->tables_mask = 1023;
	k->slots = calloc(MAX_SLOTS, sizeof *k->slots);
	k->labels = malloc(MAX_BLOCK_VOXELS * sizeof *k->labels);
	k->ids = malloc(MAX_BLOCK_VOXELS * sizeof *k->ids);
	k->rank_of = malloc(MAX_BLOCK_VOXELS * sizeof *k->rank_of);
	k->tables = calloc(k->tables_mask + 1, sizeof *k->tables);
	if (!k->slots || !k->labels || !k->ids || !k->rank_of || !k->tables)
		vg_coder_free(&k);
	return k;
}

void vg_coder_free(struct vg_coder **coder)
{
	struct vg_coder *k = *coder;

	*coder = NULL;
	if (!k)
		return;
	free(k->out);
	free(k->slots);
	free(k->labels);
	free(k->ids);
	free(k->rank_of);
	free(k->tables);
	free(k);
}

static int reserve(struct vg_coder *k, size_t words)
{
	size_t cap = k->cap ? k->cap : 65536;
	uint32_t *bigger;

	if (k->cap - k->len >= words)
		return 0;
	while (cap - k->len < words)
		cap *= 2;
	bigger = realloc(k->out, cap * sizeof *bigger);
	if (!bigger)
		return -ENOMEM;
	k->out = bigger;
	k->cap = cap;
	return 0;
}

/* ---- one block ----------------------------------------------------------------------------- */

struct window {
	const uint8_t *at; /* the block's first voxel */
	uint64_t row, plane;
	uint32_t n[3];    /* inside the chunk */
	uint32_t size[3]; /* of a full block */
	uint32_t width;
};

static inline uint64_t voxel(const uint8_t *p, uint32_t width)
{
	uint64_t v = 0;

	memcpy(&v, p, width);
	return v;
}

static uint32_t id_of(struct vg_coder *k, uint64_t label, uint32_t *n_labels)
{
	/* few labels: a walk beats hashing */
	if (*n_labels <= 8) {
		for (uint32_t i = 0; i < *n_labels; i++)
			if (k->labels[i] == label)
				return i;
	}
	for (uint64_t h = mix(label);; h++) {
		struct slot *s = &k->slots[h & k->slot_mask];

		if (s->stamp != k->stamp) {
			*s = (struct slot){label, k->stamp, *n_labels};
			k->labels[(*n_labels)++] = label;
			return s->id;
		}
		if (s->label == label)
			return s->id;
	}
}

static inline __attribute__((always_inline)) uint32_t number_rows(struct vg_coder *k, const struct window *w,
								  uint32_t width)
{
	uint32_t n_labels = 0, id = 0;
	uint64_t last = ~voxel(w->at, width);

	for (uint32_t z = 0; z < w->n[2]; z++)
		for (uint32_t y = 0; y < w->n[1]; y++) {
			const uint8_t *p = w->at + z * w->plane + y * w->row;
			uint32_t *ids = k->ids + w->size[0] * (y + w->size[1] * z);

			for (uint32_t x = 0; x < w->n[0]; x++) {
				uint64_t v = voxel(p + x * width, width);

				if (v != last || n_labels == 0) {
					id = id_of(k, v, &n_labels);
					last = v;
				}
				ids[x] = id;
			}
		}
	return n_labels;
}

/* Gives each distinct label a number, in order of appearance; returns how many. */
static uint32_t number_labels(struct vg_coder *k, const struct window *w)
{
	if (++k->stamp == 0) {
		memset(k->slots, 0, MAX_SLOTS * sizeof *k->slots);
		k->stamp = 1;
	}
	return w->width == 8 ? number_rows(k, w, 8) : number_rows(k, w, 4);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t rank_in(const uint64_t *sorted, uint32_t n, uint64_t label)
{
	uint32_t lo = 0;

	while (n > 1) {
		uint32_t half = n / 2;

		if (sorted[lo + half] <= label)
			lo += half;
		n -= half;
	}
	return lo;
}

/* Sorts the labels; rank_of[id] is then the place of the label that had number `id`. */
static int sort_labels(struct vg_coder *k, uint32_t n)
{
	uint64_t few[16], *before = few;

	if (n > 16 && !(before = malloc(n * sizeof *before)))
		return -ENOMEM;
	memcpy(before, k->labels, n * sizeof *before);
	if (n > 1)
		qsort(k->labels, n, sizeof *k->labels, by_value);
	for (uint32_t i = 0; i < n; i++)
		k->rank_of[i] = rank_in(k->labels, n, before[i]);
	if (before != few)
		free(before);
	return 0;
}

static uint32_t bits_for(uint32_t n)
{
	uint32_t bits = n > 1 ? 1 : 0;

	while (bits && bits < 32 && ((uint64_t)1 << bits) < n)
		bits *= 2;
	return bits;
}

static void put_indices(struct vg_coder *k, const struct window *w, uint32_t bits, size_t words)
{
	uint32_t *out = k->out + k->len;

	memset(out, 0, words * sizeof *out);
	for (uint32_t z = 0; z < w->n[2]; z++)
		for (uint32_t y = 0; y < w->n[1]; y++) {
			uint32_t first = w->size[0] * (y + w->size[1] * z);
			const uint32_t *ids = k->ids + first;
			uint64_t p = (uint64_t)first * bits;

			for (uint32_t x = 0; x < w->n[0]; x++, p += bits)
				out[p / 32] |= k->rank_of[ids[x]] << (p % 32);
		}
	k->len += words;
}

/* ---- tables -------------------------------------------------------------------------------- */

static int grow_tables(struct vg_coder *k)
{
	size_t mask = k->tables_mask * 2 + 1;
	struct table *bigger = calloc(mask + 1, sizeof *bigger);

	if (!bigger)
		return -ENOMEM;
	for (size_t i = 0; i <= k->tables_mask; i++)
		if (k->tables[i].n) {
			size_t h = k->tables[i].hash & mask;

			while (bigger[h].n)
				h = (h + 1) & mask;
			bigger[h] = k->tables[i];
		}
	free(k->tables);
	k->tables = bigger;
	k->tables_mask = mask;
	return 0;
}

static bool same_labels(const struct vg_coder *k, const struct table *t, uint32_t n, uint32_t width)
{
	const uint8_t *at = (const uint8_t *)(k->out + k->base + t->at);

	if (t->n != n)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (voxel(at + (size_t)i * width, width) != k->labels[i])
			return false;
	return true;
}

/* Where the table of these labels is; appends it unless an equal one is there. */
static int put_table(struct vg_coder *k, uint32_t n, uint32_t width, size_t *ret)
{
	uint64_t hash = n;
	size_t h;

	for (uint32_t i = 0; i < n; i++)
		hash = mix(hash * 31 + k->labels[i]);
	for (h = hash & k->tables_mask; k->tables[h].n; h = (h + 1) & k->tables_mask)
		if (k->tables[h].hash == hash && same_labels(k, &k->tables[h], n, width)) {
			*ret = k->tables[h].at;
			return 0;
		}
	*ret = k->len - k->base;
	if (*ret >= OFFSET_LIMIT)
		return -EFBIG;
	k->tables[h] = (struct table){hash, (uint32_t)*ret, n};
	for (uint32_t i = 0; i < n; i++) {
		memcpy(k->out + k->len, &k->labels[i], width);
		k->len += width / 4;
	}
	return ++k->n_tables * 2 > k->tables_mask ? grow_tables(k) : 0;
}

/* ---- all ----------------------------------------------------------------------------------- */

static int put_block(struct vg_coder *k, const struct window *w, size_t block)
{
	size_t voxels = (size_t)w->size[0] * w->size[1] * w->size[2], words, values, table = 0;
	uint32_t n = number_labels(k, w), bits = bits_for(n);
	int err = sort_labels(k, n);

	if (err < 0)
		return err;
	words = (bits * voxels + 31) / 32;
	err = reserve(k, words + (size_t)n * 2);
	if (err < 0)
		return err;
	values = k->len - k->base;
	if (bits)
		put_indices(k, w, bits, words);
	err = put_table(k, n, w->width, &table);
	if (err < 0)
		return err;
	if (values >= OFFSET_LIMIT || table >= OFFSET_LIMIT)
		return -EFBIG;
	k->out[k->base + block * 2] = (uint32_t)table | bits << 24;
	k->out[k->base + block * 2 + 1] = (uint32_t)values;
	return 0;
}

static int put_channel(struct vg_coder *k, const uint8_t *voxels, const uint64_t n[3], uint32_t width,
		       const uint32_t block[3])
{
	uint64_t grid[3], lo[3];
	struct window w = {.row = n[0] * width, .plane = n[0] * n[1] * width, .width = width};
	size_t headers, i = 0;
	int err;

	for (int d = 0; d < 3; d++)
		grid[d] = n[d] / block[d] + (n[d] % block[d] != 0);
	headers = grid[0] * grid[1] * grid[2] * 2;
	err = reserve(k, headers);
	if (err < 0)
		return err;
	memset(k->out + k->len, 0, headers * sizeof *k->out);
	k->len += headers;
	for (k->slot_mask = 63; k->slot_mask < 2 * block[0] * block[1] * block[2];)
		k->slot_mask = k->slot_mask * 2 + 1;
	memset(k->tables, 0, (k->tables_mask + 1) * sizeof *k->tables);
	k->n_tables = 0;
	for (lo[2] = 0; lo[2] < n[2]; lo[2] += block[2])
		for (lo[1] = 0; lo[1] < n[1]; lo[1] += block[1])
			for (lo[0] = 0; lo[0] < n[0]; lo[0] += block[0]) {
				w.at = voxels + lo[0] * width + lo[1] * w.row + lo[2] * w.plane;
				for (int d = 0; d < 3; d++) {
					uint64_t left = n[d] - lo[d];

					w.size[d] = block[d];
					w.n[d] = left < block[d] ? (uint32_t)left : block[d];
				}
				err = put_block(k, &w, i++);
				if (err < 0)
					return err;
			}
	return 0;
}

int vg_coder_encode(struct vg_coder *k, const void *voxels, const uint64_t n[3], uint32_t channels, uint32_t width,
		    const uint32_t block[3], const uint8_t **ret, size_t *ret_len)
{
	uint64_t per_channel = n[0] * n[1] * n[2] * width, block_voxels = 1;
	int err;

	for (int d = 0; d < 3; d++) {
		block_voxels *= block[d];
		if (block_voxels == 0 || block_voxels > MAX_BLOCK_VOXELS)
			return -EFBIG;
	}
	k->len = 0;
	err = reserve(k, channels);
	if (err < 0)
		return err;
	k->len = channels;
	for (uint32_t c = 0; c < channels; c++) {
		k->base = k->len;
		if (k->base > UINT32_MAX)
			return -EFBIG;
		k->out[c] = (uint32_t)k->base;
		err = put_channel(k, (const uint8_t *)voxels + c * per_channel, n, width, block);
		if (err < 0)
			return err;
	}
	*ret = (const uint8_t *)k->out;
	*ret_len = k->len * sizeof *k->out;
	return 0;
}
