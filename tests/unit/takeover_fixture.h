/* SPDX-License-Identifier: Apache-2.0
 * A table and an arena that servers share one after the other, and what must hold after each takeover.
 */
#ifndef VX_TAKEOVER_FIXTURE_H
#define VX_TAKEOVER_FIXTURE_H

#include "../lib/vxrig.h"
#include "base/ledger.h"
#include "sched/cache_impl.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LIMIT ((uint64_t)1 << 20)
#define OPENERS 3
#define HELD 8

static struct vxr_volume vols[] = {
    {.content = {.kind = VG_INDEX},
     .dtype = {"uint8", 1, false},
     .channels = 1,
     .offset = {-32, 16, -8},
     .size = {96, 80, 64},
     .ngrids = 1,
     .chunk = {{16, 16, 16}}},
    {.content = {.kind = VG_LABELS, .seed = 2},
     .dtype = {"uint32", 4, false},
     .channels = 1,
     .size = {80, 60, 40},
     .ngrids = 1,
     .chunk = {{24, 24, 20}},
     .cseg = true},
};

static int table_fd, rw, ro;
static struct vx_table *table;
static struct vxr r;

static inline void begin(void)
{
	char note[200];
	struct vx_err e;

	vx_arena_mount(LIMIT * 8, &rw, &ro, note);
	table_fd = vx_table_create(note, &e);
	ck_assert_int_ge(table_fd, 0);
	ck_assert_int_eq(vx_table_attach(&table, table_fd, &e), 0);
}

static inline void end(void)
{
	vx_table_detach(&table);
	close(table_fd);
	if (rw >= 0)
		close(rw);
	if (ro >= 0)
		close(ro);
}

/* The rest of what a test needs; false: there is no tmpfs to be had here, and nothing can be taken over. */
static inline bool can_be(void)
{
	return vxr_has_tmpfs(rw >= 0);
}

static inline void start_rig(void)
{
	struct vxr_opts o = {.limit = LIMIT, .table = table, .arena = rw};

	vxr_start_with(&r, &o, vols, VX_ARRAY_LEN(vols));
}

/* ---- what must hold after a takeover ---- */

static inline bool is_an_object(uint64_t id)
{
	for (unsigned i = 0; i < VX_BOX_BUCKETS; i++)
		for (struct vx_link *l = r.cache->boxes[i].next; l != &r.cache->boxes[i]; l = l->next)
			if (vx_list_entry(l, struct vx_cbox, in_table)->object.id == id)
				return true;
	return false;
}

/* What is written down of boxes; tests have far fewer at once. */
static inline unsigned records(void)
{
	unsigned n = 0;

	for (uint32_t slot = 0; slot < 8192; slot++)
		n += ((struct vx_slot *)vx_table_at(table, VX_TABLE_BOXES, slot))->seal != 0;
	return n;
}

/* Every file of the arena is a box's, and every box has one; the number of them. */
static inline unsigned check_arena(void)
{
	int fd = openat(rw, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(fd);
	struct vx_cache_stats s;
	struct dirent *d;
	unsigned n = 0;

	while ((d = readdir(dir))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		ck_assert_msg(is_an_object(strtoull(d->d_name, NULL, 10)), "%s is left in the arena", d->d_name);
		n++;
	}
	closedir(dir);
	vx_cache_stats(r.cache, &s);
	ck_assert_uint_eq(s.objects, n);
	ck_assert_uint_eq(records(), n);
	vxr_check_books(&r);
	return n;
}

struct resident {
	unsigned vol, n;
	struct vx_box box[4096];
};

static inline void note_box(void *ctx, const struct vx_box *box, uint64_t bytes)
{
	struct resident *x = ctx;

	ck_assert_uint_lt(x->n, VX_ARRAY_LEN(x->box));
	ck_assert_uint_eq(bytes, vxr_bytes(r.vol[x->vol], box));
	x->box[x->n++] = *box;
}

/* Each resident box has the bytes it should have, and opening it costs no fetch. */
static inline unsigned check_residents(void)
{
	static struct resident x;
	unsigned n = 0;

	for (x.vol = 0; x.vol < r.nvols; x.vol++, n += x.n) {
		x.n = 0;
		vx_cache_each_whole(r.cache, r.src[x.vol], 0, note_box, &x);
		for (unsigned i = 0; i < x.n; i++) {
			struct vxr_open o;

			ck_assert_int_eq(vxr_open_start(&r, &o, x.vol, &x.box[i], 1), 0); /* at once */
			vxr_open_check(&r, &o);
			vxr_open_close(&r, &o);
		}
	}
	return n;
}

static inline void next_server(void)
{
	struct vx_err e;

	vx_table_detach(&table); /* what the one before knew of free slots went with it */
	ck_assert_int_eq(vx_table_attach(&table, table_fd, &e), 0);
	start_rig();
	vxr_recover(&r);
}

static inline void make_volumes(void)
{
	vxr_volumes_make(vols, VX_ARRAY_LEN(vols));
}

static inline void remove_volumes(void)
{
	vxr_volumes_free(vols, VX_ARRAY_LEN(vols));
}

#endif
