/* SPDX-License-Identifier: Apache-2.0
 * What must outlive a server: a shared memory that the keeper holds and each server maps. It says which numbers the
 * kernel knows (nodes), which objects are whole boxes, which files are open, what the metadata documents said, and what
 * each worker was doing. A server that dies at any instant leaves it sound: a record becomes valid by one store, after
 * its checksum, and counts are single words. Nothing in it is believed: a new server checks every record, for the one
 * before may have been anybody's.
 *
 * Records are addressed by slot. Finding a free slot is under a lock of the table's own (innermost); a slot's content
 * belongs to whoever took it. Only one server writes at a time.
 */
#ifndef VX_ARENA_TABLE_H
#define VX_ARENA_TABLE_H

#include "base/box.h"
#include "base/err.h"

#include <stdatomic.h>
#include <time.h>

struct vx_table;

/* ---- the keeper's part ---- */
/* Creates the memory; its size is fixed for ever. `note` is handed to the servers. A descriptor. */
int vx_table_create(const char *note, struct vx_err *e);

/* ---- a server's part ---- */
/* Maps it. -EPROTO: made by another version, or damaged beyond use. */
int vx_table_attach(struct vx_table **ret, int fd, struct vx_err *e);
void vx_table_detach(struct vx_table **t);
const char *vx_table_note(const struct vx_table *t);
struct timespec vx_table_started(const struct vx_table *t); /* when it was created */

/* Slots begin with this. `seal` is 0 for a free slot. */
struct vx_slot {
	_Atomic uint64_t seal;
};

enum vx_table_kind { VX_TABLE_NODES, VX_TABLE_BOXES, VX_TABLE_HANDLES, VX_TABLE_KINDS };

/* A name that the kernel knows. */
struct vx_table_node {
	struct vx_slot slot;
	uint64_t ino, parent;
	uint32_t kind, source, mip, pad;
	struct vx_box box;
	_Atomic uint64_t lookups; /* not sealed */
};

/* A box that is whole. */
struct vx_table_box {
	struct vx_slot slot;
	uint64_t object, bytes;
	uint32_t source, mip;
	struct vx_box box;
};

/* An open file of a box: written before OPEN is answered, freed before RELEASE is. */
struct vx_table_handle {
	struct vx_slot slot;
	uint64_t unique; /* of the OPEN: one that the kernel sends again is the same file */
	uint64_t object; /* what it has open */
	uint32_t box;    /* slot */
	uint32_t generation;
};

/* Takes a free slot, *ret is its number; NULL: none is free. Fill in the record, then seal it. */
void *vx_table_take(struct vx_table *t, enum vx_table_kind kind, uint32_t *ret);
void vx_table_seal(struct vx_table *t, enum vx_table_kind kind, uint32_t slot);
/* The record at a slot, free or not; NULL beyond the end. */
void *vx_table_at(struct vx_table *t, enum vx_table_kind kind, uint32_t slot);
void vx_table_give(struct vx_table *t, enum vx_table_kind kind, uint32_t slot);
/* Calls `f` for every slot whose record is sealed and intact, and frees what is neither; `f` returning false frees it
 * too. Once, after attach, before anything is taken. */
void vx_table_recover(struct vx_table *t, enum vx_table_kind kind, bool (*f)(void *ctx, uint32_t slot, void *record),
		      void *ctx);

/* ---- documents: what the metadata said, so that a new server need not ask ---- */
/* Adds one for ever; false when there is no room. `code` 0, or the errno that reading it gave. */
bool vx_table_doc_add(struct vx_table *t, const char *name, int code, const void *data, size_t len);
bool vx_table_doc_find(struct vx_table *t, const char *name, int *code, const void **data, size_t *len);

/* ---- the session: the first request of the kernel, and what came of it ---- */
#define VX_TABLE_INIT_MAX 512
bool vx_table_init_save(struct vx_table *t, const void *request, size_t len);
/* Its length; 0: there was none. */
size_t vx_table_init_load(struct vx_table *t, void *request);
/* Whether boxes are opened with passthrough is decided once for a mount. */
enum vx_decision { VX_UNDECIDED, VX_YES, VX_NO };
void vx_table_decide(struct vx_table *t, enum vx_decision passthrough);
enum vx_decision vx_table_decided(const struct vx_table *t);

/* ---- marks: what each worker is doing, for the one who finds the dead ---- */
#define VX_TABLE_MARKS 256
struct vx_mark_key {
	uint32_t source, mip, grid, slab;
	uint64_t cell[3];
};
/* Worker `worker` works on the chunk from now on; NULL: on none. A few stores. */
void vx_table_mark(struct vx_table *t, unsigned worker, const struct vx_mark_key *k);
/* Async-signal-safe: the thread that marks as `worker` is about to die of a fault. */
void vx_table_blame(struct vx_table *t, unsigned worker);
/* After a server's death: counts it against what its workers were doing (against the one to blame, when there is one)
 * and clears the marks. `f` hears of each chunk and how often that has happened. */
void vx_table_count_death(struct vx_table *t, void (*f)(void *ctx, const struct vx_mark_key *k, unsigned deaths),
			  void *ctx);
/* The same, for a death that says nothing about the work. */
void vx_table_forgive(struct vx_table *t);
/* A program that has come anew may cope with what others died of: nothing is poison any more. */
void vx_table_pardon(struct vx_table *t);
/* Chunks that servers have died of this often are given up. */
#define VX_TABLE_POISON 2
bool vx_table_is_poison(const struct vx_table *t, const struct vx_mark_key *k);

#endif
