/* SPDX-License-Identifier: Apache-2.0
 * Two hash tables over one set of records: by number and by meaning. The count of a node follows the kernel's: raised
 * under the lock before the reply that grants it, so a FORGET that overtakes the reply finds it right.
 */
#include "fs/node.h"
#include "arena/table.h"
#include "base/hash.h"

#include <string.h>

#define BUCKETS 8192
#define ROOT_INO 1
#define INO_MAX ((uint64_t)1 << 56) /* numbers of a sound table */

struct node {
	struct vx_link by_ino, by_view;
	struct vx_link in_age; /* box nodes not asked back yet, oldest first */
	uint64_t ino, parent, lookups;
	struct vx_view view;
	char *error;
	uint32_t slot; /* in the table */
	struct vx_table_node *record;
};

struct vx_nodes {
	struct vx_mutex mtx;
	struct vx_link by_ino[BUCKETS], by_view[BUCKETS];
	struct vx_link age;
	_Atomic uint64_t aged; /* length of `age`; changed under mtx */
	uint64_t next_ino, count;
	struct vx_table *table;
};

static struct vx_link *ino_bucket(struct vx_nodes *t, uint64_t ino)
{
	return &t->by_ino[vx_mix64(ino) % BUCKETS];
}

static struct vx_link *view_bucket(struct vx_nodes *t, const struct vx_view *v)
{
	uint64_t h = vx_hash_add(vx_box_hash(&v->box), (uint64_t)v->kind << 40 ^ (uint64_t)v->mip << 32);

	return &t->by_view[vx_hash_add(h, v->src ? v->src->id + 1 : 0) % BUCKETS];
}

static bool same_view(const struct vx_view *a, const struct vx_view *b)
{
	return a->kind == b->kind && a->src == b->src && a->mip == b->mip && vx_box_equal(&a->box, &b->box);
}

static struct node *find_locked(struct vx_nodes *t, uint64_t ino)
{
	struct vx_link *head = ino_bucket(t, ino), *l;

	for (l = head->next; l != head; l = l->next) {
		struct node *n = vx_list_entry(l, struct node, by_ino);

		if (n->ino == ino)
			return n;
	}
	return NULL;
}

static struct node *find_view_locked(struct vx_nodes *t, const struct vx_view *v)
{
	struct vx_link *head = view_bucket(t, v), *l;

	for (l = head->next; l != head; l = l->next) {
		struct node *n = vx_list_entry(l, struct node, by_view);

		if (same_view(&n->view, v))
			return n;
	}
	return NULL;
}

static bool is_box(const struct vx_view *v)
{
	return v->kind == VX_NODE_EAGER || v->kind == VX_NODE_LAZY;
}

/* False: there is no slot. The kernel must not hear of such a node, for the next server would give its number to
 * another. */
static bool write_down(struct vx_nodes *t, struct node *n)
{
	struct vx_table_node *r = t->table ? vx_table_take(t->table, VX_TABLE_NODES, &n->slot) : NULL;

	if (!r)
		return !t->table;
	r->ino = n->ino;
	r->parent = n->parent;
	r->kind = n->view.kind;
	r->source = n->view.src ? n->view.src->id : UINT32_MAX;
	r->mip = n->view.mip;
	r->pad = 0;
	r->box = n->view.box;
	r->lookups = 0;
	vx_table_seal(t->table, VX_TABLE_NODES, n->slot);
	n->record = r;
	return true;
}

static void count(struct node *n, uint64_t lookups)
{
	n->lookups = lookups;
	if (n->record)
		n->record->lookups = lookups;
}

static struct node *add_locked(struct vx_nodes *t, const struct vx_view *v, uint64_t parent, uint64_t ino)
{
	struct node *n = calloc(1, sizeof *n);

	if (!n)
		return NULL;
	n->ino = ino;
	n->parent = parent;
	n->view = *v;
	vx_list_push_back(ino_bucket(t, n->ino), &n->by_ino);
	vx_list_push_back(view_bucket(t, v), &n->by_view);
	vx_list_init(&n->in_age);
	if (is_box(v)) {
		vx_list_push_back(&t->age, &n->in_age);
		t->aged++;
	}
	t->count++;
	return n;
}

static void remove_locked(struct vx_nodes *t, struct node *n)
{
	if (!vx_list_empty(&n->in_age))
		t->aged--;
	vx_list_remove(&n->in_age);
	vx_list_remove(&n->by_ino);
	vx_list_remove(&n->by_view);
	if (n->record)
		vx_table_give(t->table, VX_TABLE_NODES, n->slot);
	t->count--;
	free(n->error);
	free(n);
}

int vx_nodes_new(struct vx_nodes **ret, struct vx_table *table)
{
	struct vx_nodes *t = calloc(1, sizeof *t);
	struct vx_view root = {.kind = VX_NODE_ROOT};

	if (!t)
		return -ENOMEM;
	vx_mutex_init(&t->mtx, VX_RANK_FS_NODES);
	for (unsigned i = 0; i < BUCKETS; i++) {
		vx_list_init(&t->by_ino[i]);
		vx_list_init(&t->by_view[i]);
	}
	vx_list_init(&t->age);
	t->next_ino = ROOT_INO + 1;
	if (!add_locked(t, &root, ROOT_INO, ROOT_INO)) {
		vx_nodes_free(&t);
		return -ENOMEM;
	}
	find_locked(t, ROOT_INO)->lookups = 1; /* the root is never looked up and never forgotten */
	t->table = table;                      /* the root is known to every server */
	*ret = t;
	return 0;
}

void vx_nodes_free(struct vx_nodes **pt)
{
	struct vx_nodes *t = vx_steal(*pt);

	if (!t)
		return;
	for (unsigned i = 0; i < BUCKETS; i++)
		while (!vx_list_empty(&t->by_ino[i]))
			remove_locked(t, vx_list_entry(t->by_ino[i].next, struct node, by_ino));
	vx_mutex_done(&t->mtx);
	free(t);
}

uint64_t vx_nodes_lookup(struct vx_nodes *t, const struct vx_view *v, uint64_t parent)
{
	VX_LOCK_SCOPE(&t->mtx);
	struct node *n = find_view_locked(t, v);

	if (!n) {
		n = add_locked(t, v, parent, t->next_ino);
		if (!n)
			return 0;
		if (!write_down(t, n)) {
			remove_locked(t, n);
			return 0;
		}
		t->next_ino++;
	}
	count(n, n->lookups + 1);
	return n->ino;
}

void vx_nodes_forget(struct vx_nodes *t, uint64_t ino, uint64_t many)
{
	VX_LOCK_SCOPE(&t->mtx);
	struct node *n = find_locked(t, ino);

	if (!n || ino == ROOT_INO)
		return;
	count(n, n->lookups - vx_min_u64(many, n->lookups));
	if (!n->lookups)
		remove_locked(t, n);
}

struct recovery {
	struct vx_nodes *t;
	bool (*is_sound)(void *ctx, struct vx_view *v, uint32_t source);
	void *ctx;
};

static bool take_over(void *ctx, uint32_t slot, void *record)
{
	const struct recovery *k = ctx;
	struct vx_table_node *r = record;
	struct vx_view v = {.kind = (enum vx_node_kind)r->kind, .mip = r->mip, .box = r->box};
	VX_LOCK_SCOPE(&k->t->mtx);
	struct node *n;

	if (r->ino <= ROOT_INO || r->ino > INO_MAX)
		return false;
	/* The kernel may know the number also of what is refused: nothing else may be given it. */
	if (r->ino >= k->t->next_ino)
		k->t->next_ino = r->ino + 1;
	if (r->kind > VX_NODE_ERRORS || find_locked(k->t, r->ino) || !k->is_sound(k->ctx, &v, r->source) ||
	    find_view_locked(k->t, &v))
		return false;
	n = add_locked(k->t, &v, r->parent, r->ino);
	if (!n)
		return false;
	n->slot = slot;
	n->record = r;
	n->lookups = r->lookups;
	return true;
}

void vx_nodes_recover(struct vx_nodes *t, bool (*is_sound)(void *ctx, struct vx_view *v, uint32_t source), void *ctx)
{
	struct recovery k = {.t = t, .is_sound = is_sound, .ctx = ctx};

	vx_table_recover(t->table, VX_TABLE_NODES, take_over, &k);
}

bool vx_nodes_get(struct vx_nodes *t, uint64_t ino, struct vx_view *ret)
{
	VX_LOCK_SCOPE(&t->mtx);
	struct node *n = find_locked(t, ino);

	if (n)
		*ret = n->view;
	return n != NULL;
}

uint64_t vx_nodes_find(struct vx_nodes *t, const struct vx_view *v)
{
	VX_LOCK_SCOPE(&t->mtx);
	struct node *n = find_view_locked(t, v);

	return n ? n->ino : 0;
}

void vx_nodes_set_error(struct vx_nodes *t, uint64_t ino, const char *why)
{
	char *copy = why[0] ? strdup(why) : NULL;
	char *old = copy;

	{
		VX_LOCK_SCOPE(&t->mtx);
		struct node *n = find_locked(t, ino);

		if (n) {
			old = n->error;
			n->error = copy;
		}
	}
	free(old);
}

char *vx_nodes_error(struct vx_nodes *t, uint64_t ino)
{
	VX_LOCK_SCOPE(&t->mtx);
	struct node *n = find_locked(t, ino);

	return n && n->error ? strdup(n->error) : NULL;
}

bool vx_nodes_too_many(const struct vx_nodes *t)
{
	return t->aged > VX_NODES_KEEP;
}

bool vx_nodes_due(struct vx_nodes *t, uint64_t *ret_parent, struct vx_view *ret)
{
	VX_LOCK_SCOPE(&t->mtx);
	struct node *n;

	if (t->aged <= VX_NODES_KEEP)
		return false;
	n = vx_list_entry(t->age.next, struct node, in_age);
	vx_list_remove(&n->in_age);
	t->aged--;
	*ret_parent = n->parent;
	*ret = n->view;
	return true;
}

uint64_t vx_nodes_count(struct vx_nodes *t)
{
	VX_LOCK_SCOPE(&t->mtx);
	return t->count;
}
