/* SPDX-License-Identifier: Apache-2.0
 * Kept chunks: the unpacked bytes of chunks of which a box used only a part, so that any other part can be cut without
 * fetching again. Also remembers chunks that the store does not have.
 */
#include "base/hash.h"
#include "base/ledger.h"
#include "sched/cache_impl.h"

uint64_t vx_cell_key_hash(const struct vx_cell_key *k)
{
	uint64_t h = (uint64_t)k->space << 32 | k->grid;

	for (int d = 0; d < 3; d++)
		h = vx_hash_add(h, k->cell.at[d]);
	return k->cell.slab ? vx_hash_add(h, k->cell.slab) : h;
}

bool vx_cell_key_equal(const struct vx_cell_key *a, const struct vx_cell_key *b)
{
	return a->space == b->space && a->grid == b->grid && a->cell.at[0] == b->cell.at[0] &&
	       a->cell.at[1] == b->cell.at[1] && a->cell.at[2] == b->cell.at[2] && a->cell.slab == b->cell.slab;
}

static struct vx_kept *find_locked(struct vx_cache *c, const struct vx_cell_key *key, uint64_t hash)
{
	struct vx_link *head = &c->kept[hash % VX_KEPT_BUCKETS], *l;

	for (l = head->next; l != head; l = l->next) {
		struct vx_kept *k = vx_list_entry(l, struct vx_kept, in_table);

		if (vx_cell_key_equal(&k->key, key))
			return k;
	}
	return NULL;
}

static bool get_locked(struct vx_cache *c, const struct vx_cell_key *key, struct vx_buf **ret)
{
	struct vx_kept *k = find_locked(c, key, vx_cell_key_hash(key));

	if (!k)
		return false;
	vx_evict_touch(&k->item);
	*ret = k->payload ? vx_buf_ref(k->payload) : NULL;
	return true;
}

bool vx_cache_kept(struct vx_cache *c, const struct vx_cell_key *key, struct vx_buf **ret)
{
	VX_LOCK_SCOPE(&c->mtx);
	return get_locked(c, key, ret);
}

unsigned vx_cache_kept_run(struct vx_cache *c, const struct vx_cell_key *const *key, unsigned n, struct vx_buf **ret)
{
	VX_LOCK_SCOPE(&c->mtx);
	unsigned found = 0;

	while (found < n && get_locked(c, key[found], &ret[found]))
		found++;
	return found;
}

void vx_cache_keep(struct vx_cache *c, const struct vx_cell_key *key, struct vx_buf *payload)
{
	VX_AUTO_BUF struct vx_buf *own = payload ? vx_buf_compact(payload) : NULL;
	struct vx_kept *k = calloc(1, sizeof *k);
	uint64_t bytes = sizeof *k + (own ? own->cap : 0);

	if (!k || (payload && !own) || vx_cache_reserve(c, bytes) < 0) {
		free(k);
		return;
	}
	vx_cache_fit_ready(c);
	k->key = *key;
	k->payload = vx_steal(own);
	k->item.kind = VX_ITEM_KEPT;
	k->item.bytes = bytes;
	k->item.hash = vx_cell_key_hash(key);
	{
		VX_LOCK_SCOPE(&c->mtx);
		if (!find_locked(c, key, k->item.hash)) {
			vx_list_push_back(&c->kept[k->item.hash % VX_KEPT_BUCKETS], &k->in_table);
			vx_evict_add(&c->evict, &k->item, false);
			c->stats.kept++;
			c->stats.kept_bytes += bytes;
			return;
		}
		c->used -= bytes;
	}
	vx_buf_put(k->payload);
	free(k);
}

/* Off every list and out of the budget; its payload is left to the caller. */
static struct vx_buf *forget_locked(struct vx_cache *c, struct vx_kept *k)
{
	struct vx_buf *payload = k->payload;

	vx_assert_held(&c->mtx);
	vx_list_remove(&k->in_table);
	c->used -= k->item.bytes;
	c->stats.kept--;
	c->stats.kept_bytes -= k->item.bytes;
	free(k);
	return payload;
}

struct vx_buf *vx_kept_evict_locked(struct vx_cache *c, struct vx_kept *k)
{
	VX_COUNT(cache_evictions);
	VX_COUNT_ADD(cache_evicted_bytes, k->item.bytes);
	return forget_locked(c, k);
}

void vx_cache_unkeep(struct vx_cache *c, const struct vx_cell_key *key)
{
	struct vx_buf *payload = NULL;

	{
		VX_LOCK_SCOPE(&c->mtx);
		struct vx_kept *k = find_locked(c, key, vx_cell_key_hash(key));

		if (k) {
			vx_evict_remove(&c->evict, &k->item);
			payload = forget_locked(c, k);
		}
	}
	vx_buf_put(payload);
}

void vx_kept_free_all(struct vx_cache *c)
{
	for (unsigned i = 0; i < VX_KEPT_BUCKETS; i++)
		while (!vx_list_empty(&c->kept[i])) {
			struct vx_kept *k = vx_list_entry(c->kept[i].next, struct vx_kept, in_table);

			vx_list_remove(&k->in_table);
			vx_buf_put(k->payload);
			free(k);
		}
}
