/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: the disk cache's insides. diskcache.c reads entries and keeps the queue of what is to be written;
 * diskcache_write.c is the thread; diskcache_usage.c counts bytes together with other processes; diskcache_evict.c
 * makes room.
 *
 * Files of the directory: CACHEDIR.TAG; `usage`, the bytes in use, changed under its flock; `evicting`, whose flock is
 * held by the one process that makes room; `new/`, files being written, each flocked by its writer; 00/ to ff/, the
 * entries. A file gets its name there by a rename when it is complete, and is never written again but for its age.
 */
#ifndef VX_FETCH_DISKCACHE_IMPL_H
#define VX_FETCH_DISKCACHE_IMPL_H

#include "fetch/diskcache.h"
#include "fetch/entry.h"

#include "base/list.h"

#include <sys/stat.h>

#define VX_DC_DIRS 256
#define VX_DC_AGES 400 /* buckets of ages, each an eighth of a power of two wide, in milliseconds */

enum vx_dc_what { VX_DC_PUT, VX_DC_CONFIRM, VX_DC_DROP };

/* Something for the thread to do. */
struct vx_dc_op {
	struct vx_link link;
	enum vx_dc_what what;
	struct vx_entry entry; /* PUT; CONFIRM: seal and time */
	ino_t ino;             /* DROP: this file only; 0: whatever has the name */
	struct vx_buf *body;   /* PUT: a reference, or NULL */
	const uint8_t *payload;
	size_t cost; /* of the queue's room */
	size_t id_len;
	char id[];
};

struct vx_dc_usage {
	uint64_t bytes; /* of entries and files being written; never too few */
	uint64_t added; /* ever */
	bool known;     /* false: nobody has counted, or the file is damaged */
};

/* One round of making room: counts everything, then removes the oldest. A step is one directory. */
struct vx_dc_evict {
	bool active, counting;
	unsigned dir; /* next */
	int lock_fd;
	uint64_t now_ms, wanted, added_before, counted, not_before_ns;
	uint64_t age[VX_DC_AGES];
	unsigned oldest_kept; /* bucket; what is older goes */
	uint64_t partly;      /* bytes of that bucket to remove */
	bool helped;          /* something was removed */
};

struct vx_diskcache {
	/* --- constant --- */
	struct vx_diskcache_opts opts;
	struct vx_pool *pool;
	int dir_fd;
	uint64_t limit;
	uint64_t started_ns; /* wall clock */
	pthread_t thread;
	bool started;
	/* --- any thread --- */
	_Atomic uint64_t bytes;
	_Atomic bool complained;
	_Atomic bool quit;
	_Atomic uint64_t end_by_ns; /* once it quits */
	/* --- under mtx, rank DISKCACHE --- */
	struct vx_mutex mtx;
	pthread_cond_t wake;
	struct vx_link queue;
	uint64_t waiting_bytes; /* also of the one being written */
	/* --- the thread's own --- */
	int usage_fd;
	bool full;        /* the disk is, whatever the limit says */
	char writing[64]; /* the file in `new` that has no bytes reserved yet; "" */
	struct vx_dc_evict evict;
};

static inline uint64_t vx_dc_charge(uint64_t file_size)
{
	return (file_size + 4095) & ~(uint64_t)4095;
}

uint64_t vx_dc_wall_ns(void);
/* Logs the first trouble with the disk; counts every one. */
void vx_dc_trouble(struct vx_diskcache *dc, const char *doing, int code);

/* ---- diskcache.c: any thread that may block on a local disk, but for those that only queue ---- */

struct vx_dc_found {
	struct vx_entry entry;
	struct vx_buf *body; /* owned; NULL when missing */
};
/* True: an undamaged entry of this very identity, with at most `cap` bytes. */
bool vx_dc_get(struct vx_diskcache *dc, const struct vx_entry_id *id, uint64_t cap, struct vx_dc_found *ret);
/* Whether the store is to be asked whether an entry still holds. */
bool vx_dc_is_due(const struct vx_diskcache *dc, const struct vx_entry *e);
/* Queue only, any thread: `payload` lies in `body`, of which a reference is taken, of a slice a copy. Dropped when the
 * queue is full. */
void vx_dc_put(struct vx_diskcache *dc, const struct vx_entry_id *id, const struct vx_entry *e, struct vx_buf *body,
	       const uint8_t *payload);
void vx_dc_confirm(struct vx_diskcache *dc, const struct vx_entry_id *id, uint64_t seal);
void vx_dc_drop(struct vx_diskcache *dc, const struct vx_entry_id *id, ino_t ino);

/* ---- diskcache_write.c ---- */

void *vx_dc_run(void *diskcache);

/* ---- diskcache_usage.c: the thread only ---- */

int vx_dc_usage_open(struct vx_diskcache *dc);
/* Takes the lock that all processes share, and reads; -EAGAIN when another one sits on it. Unlock with what is to be
 * written, or NULL. */
int vx_dc_usage_lock(struct vx_diskcache *dc, struct vx_dc_usage *ret);
int vx_dc_usage_unlock(struct vx_diskcache *dc, const struct vx_dc_usage *u);
/* -ENOSPC: beyond the limit. -ENODATA: somebody must count first. */
int vx_dc_reserve(struct vx_diskcache *dc, uint64_t charge);
void vx_dc_unreserve(struct vx_diskcache *dc, uint64_t charge);
/* Gives a complete file its name, in place of an older one. */
int vx_dc_publish(struct vx_diskcache *dc, const char *from, const char *name, uint64_t charge);
int vx_dc_remove(struct vx_diskcache *dc, const char *name, ino_t ino);

/* ---- diskcache_evict.c: the thread only ---- */

/* For at least `wanted` bytes. False: another process does it, or it is too early to try again. */
bool vx_dc_evict_begin(struct vx_diskcache *dc, uint64_t wanted);
void vx_dc_evict_step(struct vx_diskcache *dc);
void vx_dc_evict_end(struct vx_diskcache *dc);
bool vx_dc_evict_is_due(const struct vx_diskcache *dc);
/* At the end no more is removed; counting, without which nothing can be written, may still take a moment. */
bool vx_dc_evict_stops(const struct vx_diskcache *dc);
/* This process has given a file its name, or taken one away: keeps the count exact while one is under way. */
void vx_dc_evict_saw(struct vx_diskcache *dc, const char *name, uint64_t added, uint64_t removed);

#endif
