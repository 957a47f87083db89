/* SPDX-License-Identifier: Apache-2.0
 * One sparse memfd, sealed against resizing so that no mapping can ever fault. The seal of a record is a hash of its
 * constant bytes and its place; it is stored last when a record is made and cleared first when it goes.
 */
#include "arena/table.h"
#include "base/check.h"
#include "base/hash.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAGIC ((uint64_t)0x31656c6261546656) /* "VfTable1" */
#define LAYOUT 1
#define DOCS_BYTES ((uint64_t)64 << 20)
#define POISON_MAX 64
#define NO_SLOT UINT32_MAX

static const struct {
	uint32_t slots, size, sealed; /* records, bytes of one, and how many of them the seal covers */
} kinds[VX_TABLE_KINDS] = {
    [VX_TABLE_NODES] = {1 << 20, sizeof(struct vx_table_node), offsetof(struct vx_table_node, lookups)},
    [VX_TABLE_BOXES] = {1 << 20, sizeof(struct vx_table_box), sizeof(struct vx_table_box)},
    [VX_TABLE_HANDLES] = {1 << 20, sizeof(struct vx_table_handle), sizeof(struct vx_table_handle)},
};

struct mark {
	_Atomic uint32_t active;
	struct vx_mark_key key;
};

struct poison {
	_Atomic uint32_t deaths;
	struct vx_mark_key key;
};

struct head {
	uint64_t magic, layout, size;
	struct timespec started;
	char note[200];
	_Atomic uint32_t reached[VX_TABLE_KINDS]; /* slots ever taken */
	/* the session */
	_Atomic uint32_t init_len;
	_Atomic uint32_t passthrough;
	uint8_t init[VX_TABLE_INIT_MAX];
	/* marks */
	_Atomic uint32_t blamed; /* worker + 1 */
	struct mark marks[VX_TABLE_MARKS];
	struct poison poison[POISON_MAX];
	/* documents: records behind each other */
	_Atomic uint64_t docs_len;
};

struct doc {
	uint64_t size; /* of the whole record */
	uint32_t name_len;
	int32_t code;
	uint64_t data_len;
	uint64_t seal;
};

struct vx_table {
	uint8_t *map;
	struct head *head;
	uint8_t *docs;
	uint8_t *slots[VX_TABLE_KINDS];
	pthread_mutex_t mtx; /* innermost: guards the free slots */
	uint32_t *free[VX_TABLE_KINDS];
	uint32_t nfree[VX_TABLE_KINDS], cap[VX_TABLE_KINDS];
	bool poisoned; /* there is any */
	char note[200];
};

static uint64_t offset_docs(void)
{
	return vx_round_up(sizeof(struct head), 4096);
}

static uint64_t offset_of(enum vx_table_kind kind)
{
	uint64_t at = offset_docs() + DOCS_BYTES;

	for (int k = 0; k < (int)kind; k++)
		at += vx_round_up((uint64_t)kinds[k].slots * kinds[k].size, 4096);
	return at;
}

static uint64_t total_size(void)
{
	return offset_of(VX_TABLE_KINDS);
}

int vx_table_create(const char *note, struct vx_err *e)
{
	int fd = memfd_create("voxfs-table", MFD_CLOEXEC | MFD_ALLOW_SEALING), r = 0;
	struct head h = {.magic = MAGIC, .layout = LAYOUT, .size = total_size()};

	if (fd < 0)
		return vx_fail(e, -errno, "cannot make the table: %s", strerror(errno));
	snprintf(h.note, sizeof h.note, "%s", note);
	clock_gettime(CLOCK_REALTIME, &h.started);
	if (ftruncate(fd, (off_t)h.size) < 0 || pwrite(fd, &h, offsetof(struct head, reached), 0) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		r = vx_fail(e, -errno, "cannot make the table: %s", strerror(errno));
	if (r < 0)
		close(fd);
	return r < 0 ? r : fd;
}

int vx_table_attach(struct vx_table **ret, int fd, struct vx_err *e)
{
	struct vx_table *t = calloc(1, sizeof *t);
	struct stat st;

	if (!t)
		return vx_no_memory(e);
	t->map = MAP_FAILED;
	pthread_mutex_init(&t->mtx, NULL);
	if (fstat(fd, &st) == 0 && (uint64_t)st.st_size == total_size())
		t->map = mmap(NULL, total_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (t->map == MAP_FAILED) {
		vx_table_detach(&t);
		return vx_fail(e, -EPROTO, "the table of the mount is of another version");
	}
	t->head = (struct head *)t->map;
	t->docs = t->map + offset_docs();
	for (int k = 0; k < VX_TABLE_KINDS; k++)
		t->slots[k] = t->map + offset_of(k);
	if (t->head->magic != MAGIC || t->head->layout != LAYOUT || t->head->size != total_size()) {
		vx_table_detach(&t);
		return vx_fail(e, -EPROTO, "the table of the mount is of another version");
	}
	memcpy(t->note, t->head->note, sizeof t->note - 1);
	for (int i = 0; i < POISON_MAX; i++)
		t->poisoned |= t->head->poison[i].deaths >= VX_TABLE_POISON;
	*ret = t;
	return 0;
}

void vx_table_detach(struct vx_table **pt)
{
	struct vx_table *t = vx_steal(*pt);

	if (!t)
		return;
	if (t->map != MAP_FAILED)
		munmap(t->map, total_size());
	for (int k = 0; k < VX_TABLE_KINDS; k++)
		free(t->free[k]);
	pthread_mutex_destroy(&t->mtx);
	free(t);
}

const char *vx_table_note(const struct vx_table *t)
{
	return t->note;
}

struct timespec vx_table_started(const struct vx_table *t)
{
	return t->head->started;
}

/* ---- slots ---- */

void *vx_table_at(struct vx_table *t, enum vx_table_kind kind, uint32_t slot)
{
	return slot < kinds[kind].slots ? t->slots[kind] + (size_t)slot * kinds[kind].size : NULL;
}

static uint64_t hash_bytes(uint64_t h, const uint8_t *p, size_t len)
{
	uint64_t word;

	for (; len >= sizeof word; p += sizeof word, len -= sizeof word) {
		memcpy(&word, p, sizeof word);
		h = vx_hash_add(h, word);
	}
	word = 0;
	memcpy(&word, p, len);
	h = vx_hash_add(h, word ^ (uint64_t)len << 56);
	return h ? h : 1; /* 0 means free */
}

static uint64_t seal_of(enum vx_table_kind kind, uint32_t slot, const void *record)
{
	return hash_bytes((uint64_t)kind << 32 | slot, (const uint8_t *)record + sizeof(struct vx_slot),
			  kinds[kind].sealed - sizeof(struct vx_slot));
}

static bool push_free_locked(struct vx_table *t, enum vx_table_kind kind, uint32_t slot)
{
	if (t->nfree[kind] == t->cap[kind]) {
		uint32_t cap = t->cap[kind] * 2 + 1024;
		uint32_t *bigger = realloc(t->free[kind], cap * sizeof *bigger);

		if (!bigger)
			return false; /* the slot is lost until the next server */
		t->free[kind] = bigger;
		t->cap[kind] = cap;
	}
	t->free[kind][t->nfree[kind]++] = slot;
	return true;
}

void *vx_table_take(struct vx_table *t, enum vx_table_kind kind, uint32_t *ret)
{
	uint32_t slot = NO_SLOT;

	pthread_mutex_lock(&t->mtx);
	if (t->nfree[kind])
		slot = t->free[kind][--t->nfree[kind]];
	else if (t->head->reached[kind] < kinds[kind].slots)
		slot = t->head->reached[kind]++;
	pthread_mutex_unlock(&t->mtx);
	*ret = slot;
	return vx_table_at(t, kind, slot);
}

void vx_table_seal(struct vx_table *t, enum vx_table_kind kind, uint32_t slot)
{
	struct vx_slot *s = vx_table_at(t, kind, slot);

	atomic_store_explicit(&s->seal, seal_of(kind, slot, s), memory_order_release);
}

void vx_table_give(struct vx_table *t, enum vx_table_kind kind, uint32_t slot)
{
	struct vx_slot *s = vx_table_at(t, kind, slot);

	if (!s)
		return;
	atomic_store_explicit(&s->seal, 0, memory_order_release);
	pthread_mutex_lock(&t->mtx);
	push_free_locked(t, kind, slot);
	pthread_mutex_unlock(&t->mtx);
}

void vx_table_recover(struct vx_table *t, enum vx_table_kind kind, bool (*f)(void *ctx, uint32_t slot, void *record),
		      void *ctx)
{
	uint32_t reached = t->head->reached[kind];

	if (reached > kinds[kind].slots)
		t->head->reached[kind] = reached = kinds[kind].slots;
	for (uint32_t i = reached; i-- > 0;) {
		struct vx_slot *s = vx_table_at(t, kind, i);
		uint64_t seal = atomic_load_explicit(&s->seal, memory_order_acquire);

		if (seal && seal == seal_of(kind, i, s) && f(ctx, i, s))
			continue;
		vx_table_give(t, kind, i);
	}
}

/* ---- documents ---- */

static uint64_t doc_seal(const struct doc *d, const uint8_t *body)
{
	return hash_bytes(d->size ^ (uint64_t)d->name_len << 32 ^ (uint32_t)d->code, body, d->name_len + d->data_len);
}

/* Is there a record at `at` that says nothing impossible? Its head is copied: a server that is to be replaced still
 * writes here, and what was checked must be what is used. Its seal is looked at only where it is wanted: of thousands
 * that are passed by, that would take seconds. */
static bool doc_at(const struct vx_table *t, uint64_t at, uint64_t end, struct doc *d)
{
	uint64_t room = end - at;

	if (room < sizeof *d)
		return false;
	memcpy(d, t->docs + at, sizeof *d);
	return d->size <= room && d->size % 8 == 0 && d->size >= sizeof *d && d->name_len <= d->size - sizeof *d &&
	       d->data_len <= d->size - sizeof *d - d->name_len;
}

bool vx_table_doc_add(struct vx_table *t, const char *name, int code, const void *data, size_t len)
{
	uint64_t at = t->head->docs_len, name_len = strlen(name);
	struct doc d = {.size = vx_round_up(sizeof d + name_len + len, 8),
			.name_len = (uint32_t)name_len,
			.code = code,
			.data_len = len};
	uint8_t *to;

	if (at > DOCS_BYTES || at % 8 || len > DOCS_BYTES || name_len > DOCS_BYTES || d.size > DOCS_BYTES - at)
		return false;
	to = t->docs + at;
	memcpy(to + sizeof d, name, name_len);
	if (len)
		memcpy(to + sizeof d + name_len, data, len);
	d.seal = doc_seal(&d, to + sizeof d);
	memcpy(to, &d, sizeof d);
	atomic_store_explicit(&t->head->docs_len, at + d.size, memory_order_release);
	return true;
}

bool vx_table_doc_find(struct vx_table *t, const char *name, int *code, const void **data, size_t *len)
{
	uint64_t end = vx_min_u64(atomic_load_explicit(&t->head->docs_len, memory_order_acquire), DOCS_BYTES);
	size_t name_len = strlen(name);
	struct doc d;

	for (uint64_t at = 0; doc_at(t, at, end, &d); at += d.size) {
		const uint8_t *body = t->docs + at + sizeof d;

		if (d.name_len != name_len || memcmp(body, name, name_len) || d.seal != doc_seal(&d, body))
			continue;
		*code = d.code;
		*data = body + name_len;
		*len = d.data_len;
		return true;
	}
	return false;
}

/* ---- the session ---- */

bool vx_table_init_save(struct vx_table *t, const void *request, size_t len)
{
	if (len > VX_TABLE_INIT_MAX)
		return false;
	memcpy(t->head->init, request, len);
	atomic_store_explicit(&t->head->init_len, (uint32_t)len, memory_order_release);
	return true;
}

size_t vx_table_init_load(struct vx_table *t, void *request)
{
	size_t len = atomic_load_explicit(&t->head->init_len, memory_order_acquire);

	if (len > VX_TABLE_INIT_MAX)
		return 0;
	memcpy(request, t->head->init, len);
	return len;
}

void vx_table_decide(struct vx_table *t, enum vx_decision passthrough)
{
	t->head->passthrough = passthrough;
}

enum vx_decision vx_table_decided(const struct vx_table *t)
{
	uint32_t d = t->head->passthrough;

	return d == VX_YES || d == VX_NO ? (enum vx_decision)d : VX_UNDECIDED;
}

/* ---- marks ---- */

void vx_table_mark(struct vx_table *t, unsigned worker, const struct vx_mark_key *k)
{
	struct mark *m = &t->head->marks[worker % VX_TABLE_MARKS];

	atomic_store_explicit(&m->active, 0, memory_order_release);
	if (!k)
		return;
	atomic_signal_fence(memory_order_seq_cst); /* no word of the new key before that */
	m->key = *k;
	atomic_store_explicit(&m->active, 1, memory_order_release);
}

void vx_table_blame(struct vx_table *t, unsigned worker)
{
	atomic_store_explicit(&t->head->blamed, worker % VX_TABLE_MARKS + 1, memory_order_release);
}

static bool same_key(const struct vx_mark_key *a, const struct vx_mark_key *b)
{
	return a->source == b->source && a->mip == b->mip && a->grid == b->grid && a->slab == b->slab &&
	       a->cell[0] == b->cell[0] && a->cell[1] == b->cell[1] && a->cell[2] == b->cell[2];
}

/* Where deaths of this chunk are counted: its own place, a free one, or that of the least deadly. */
static struct poison *poison_place(struct vx_table *t, const struct vx_mark_key *k)
{
	struct poison *best = &t->head->poison[0];

	for (int i = 0; i < POISON_MAX; i++) {
		struct poison *p = &t->head->poison[i];

		if (p->deaths && same_key(&p->key, k))
			return p;
		if (p->deaths < best->deaths)
			best = p;
	}
	atomic_store_explicit(&best->deaths, 0, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
	best->key = *k;
	return best;
}

void vx_table_count_death(struct vx_table *t, void (*f)(void *ctx, const struct vx_mark_key *k, unsigned deaths),
			  void *ctx)
{
	uint32_t blamed = t->head->blamed;

	for (uint32_t i = 0; i < VX_TABLE_MARKS; i++) {
		struct mark *m = &t->head->marks[i];
		struct poison *p;

		if (!m->active || (blamed && blamed != i + 1))
			continue;
		p = poison_place(t, &m->key);
		p->deaths++;
		t->poisoned |= p->deaths >= VX_TABLE_POISON;
		f(ctx, &p->key, p->deaths);
	}
	vx_table_forgive(t);
}

void vx_table_forgive(struct vx_table *t)
{
	for (int i = 0; i < VX_TABLE_MARKS; i++)
		t->head->marks[i].active = 0;
	t->head->blamed = 0;
}

void vx_table_pardon(struct vx_table *t)
{
	for (int i = 0; i < POISON_MAX; i++)
		t->head->poison[i].deaths = 0;
	t->poisoned = false;
}

bool vx_table_is_poison(const struct vx_table *t, const struct vx_mark_key *k)
{
	if (!t->poisoned)
		return false;
	for (int i = 0; i < POISON_MAX; i++)
		if (t->head->poison[i].deaths >= VX_TABLE_POISON && same_key(&t->head->poison[i].key, k))
			return true;
	return false;
}
