/* SPDX-License-Identifier: Apache-2.0
 * The arena: memory objects that clients map. Each is a file of exact size in a detached huge-page tmpfs that has no
 * path, so that the kernel counts its users and a dead process leaks nothing. Where a tmpfs cannot be mounted (no
 * privilege) each object is a memfd. Any thread; an object's own calls are serialised by its owner.
 *
 * Life of an object: create (space is reserved whole, or -ENOSPC) - map and fill - unmap - share read-only - probe
 * (does any client still have it open or mapped?) - destroy. An object that a client has had is never filled again.
 */
#ifndef VX_ARENA_ARENA_H
#define VX_ARENA_ARENA_H

#include "base/err.h"

struct vx_arena;

struct vx_object {
	uint64_t id;   /* its name in the arena; 0: no object */
	uint64_t size; /* exact bytes */
	int fd;        /* memfd arena only, else -1: a named object needs no descriptor to stay alive */
	int share_id;  /* > 0: registered with the kernel; -1: perhaps, by a process before this one */
};

/* The tmpfs itself, which may be made by one process and used by another: *ret_rw is its root, *ret_ro that of a
 * read-only clone (-1 where there is no privilege to make one, and so none to register). `note` says in a sentence what
 * the kernel would not take, or "". */
int vx_arena_mount(uint64_t limit, int *ret_rw, int *ret_ro, char note[200]);

/* On a tmpfs mounted before (the descriptor is then the arena's), or with rw -1 on memfds. */
int vx_arena_on(struct vx_arena **ret, int rw, const char *note, struct vx_err *e);
/* Mounts one of its own, or uses memfds. */
int vx_arena_new(struct vx_arena **ret, uint64_t limit, struct vx_err *e);
void vx_arena_free(struct vx_arena **a);

/* True when objects live in a tmpfs of our own, which alone can back passthrough. */
bool vx_arena_is_tmpfs(const struct vx_arena *a);
/* Why it is not, or what the kernel would not take: one sentence, or "". */
const char *vx_arena_note(const struct vx_arena *a);

/* How objects are handed to the kernel: each is registered when it is made (those made ahead, ahead), so that no opener
 * waits for it. Set once, before the first object that a client will open. Called with no lock
 * held, or the cache's. */
struct vx_sharer {
	void *ctx;
	int (*share)(void *ctx, const struct vx_object *o, struct vx_err *e); /* an id > 0, or negative errno */
	void (*unshare)(void *ctx, const struct vx_object *o);
};
void vx_arena_set_sharer(struct vx_arena *a, const struct vx_sharer *s); /* NULL: nothing is registered any more */
bool vx_arena_shares(const struct vx_arena *a);
/* Registers the object if it is not, where objects are registered at all. */
int vx_object_share(struct vx_arena *a, struct vx_object *o, struct vx_err *e);
void vx_object_unshare(struct vx_arena *a, struct vx_object *o);

/* ---- after another process had the tmpfs ---- */
/* True when the object is there, whole, with exactly this size. Objects made later get other numbers. */
bool vx_object_adopt(struct vx_arena *a, uint64_t id, uint64_t size, struct vx_object *ret);
/* Removes every object of which `known` says no, and its registration. */
void vx_arena_sweep(struct vx_arena *a, bool (*known)(void *ctx, uint64_t id), void *ctx);

/* Reserves every byte before it returns: -ENOSPC leaves nothing behind. With `ret_map` the object comes mapped
 * writable, and may be one that was made ahead; it reads as zeros or not, but is exactly of this size. */
int vx_object_create(struct vx_arena *a, uint64_t size, struct vx_object *ret, void **ret_map, struct vx_err *e);
void vx_object_destroy(struct vx_arena *a, struct vx_object *o);

/* ---- objects made ahead of need ---- */
/* Makes one more, touching its memory, if they stay within `room` bytes in all; false when none was wanted or to be
 * had. Asks `go_on` often: it may take its time before it says yes, and no ends the work. One thread. */
bool vx_arena_prepare(struct vx_arena *a, uint64_t room, bool (*go_on)(void *ctx), void *ctx);
uint64_t vx_arena_ready_bytes(struct vx_arena *a);
/* `f` is called, from any thread, when few of a kind are left: time to prepare. */
void vx_arena_on_low(struct vx_arena *a, void (*f)(void *ctx), void *ctx);
/* Gives back ready objects until no more than `most` bytes of them are left. */
void vx_arena_shrink_ready(struct vx_arena *a, uint64_t most);

/* Memory that the object occupies, which its budget must cover. */
uint64_t vx_object_charge(uint64_t size);

int vx_object_map(struct vx_arena *a, const struct vx_object *o, bool writable, void **ret, struct vx_err *e);
void vx_object_unmap(const struct vx_object *o, void *map);

/* True when nobody but this process has the object open or mapped. Call only when no OPEN of it is unanswered or
 * unreleased, it is not registered and we do not map it ourselves: it proves that the object may be freed. */
bool vx_object_unused(struct vx_arena *a, const struct vx_object *o);

#endif
