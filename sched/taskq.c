/* SPDX-License-Identifier: Apache-2.0
 * A level is a ring of clients, a client a list of tasks. Clients are few (processes that read at this moment), so they
 * are found by walking the ring.
 */
#include "sched/taskq.h"
#include "base/hash.h"

#define WINDOW 16       /* tasks of a client among which locality may choose */
#define PASSES_MAX 64   /* how often the oldest may be passed over in favour of a near one */
#define NEIGHBOURHOOD 6 /* low Morton bits ignored by the hash: cubes of 4 x 4 x 4 chunks go to one worker */

struct vx_tq_client {
	struct vx_link in_turn;
	struct vx_link tasks;
	uint32_t id;
	unsigned passes; /* since the oldest task was taken last */
	struct vx_tq_client *next_spare;
};

void vx_tq_init(struct vx_tq *q)
{
	*q = (struct vx_tq){0};
	for (int p = 0; p < VX_PRIO_COUNT; p++)
		vx_list_init(&q->turn[p]);
}

void vx_tq_done(struct vx_tq *q)
{
	while (q->spare) {
		struct vx_tq_client *c = q->spare;

		q->spare = c->next_spare;
		free(c);
	}
}

static struct vx_tq_client *client_get(struct vx_tq *q, enum vx_prio prio, uint32_t id)
{
	struct vx_link *l, *tmp;
	struct vx_tq_client *c;

	vx_list_each_safe(l, tmp, &q->turn[prio])
	{
		c = vx_list_entry(l, struct vx_tq_client, in_turn);
		if (c->id == id)
			return c;
	}
	c = q->spare;
	if (c)
		q->spare = c->next_spare;
	else
		c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->id = id;
	c->passes = 0;
	vx_list_init(&c->tasks);
	vx_list_push_back(&q->turn[prio], &c->in_turn);
	return c;
}

static int push(struct vx_tq *q, struct vx_tq_item *i, uint32_t client, bool first)
{
	struct vx_tq_client *c = client_get(q, i->prio, client);

	if (!c)
		return -ENOMEM;
	i->client = c;
	if (first)
		vx_list_push_front(&c->tasks, &i->link);
	else
		vx_list_push_back(&c->tasks, &i->link);
	q->count[i->prio]++;
	return 0;
}

int vx_tq_push(struct vx_tq *q, struct vx_tq_item *i, uint32_t client)
{
	return push(q, i, client, false);
}

int vx_tq_push_first(struct vx_tq *q, struct vx_tq_item *i, uint32_t client)
{
	return push(q, i, client, true);
}

void vx_tq_remove(struct vx_tq *q, struct vx_tq_item *i)
{
	struct vx_tq_client *c = vx_steal(i->client);

	vx_list_remove(&i->link);
	q->count[i->prio]--;
	if (!vx_list_empty(&c->tasks))
		return;
	vx_list_remove(&c->in_turn);
	c->next_spare = q->spare;
	q->spare = c;
}

bool vx_history_touches(const struct vx_history *h, uint32_t space, const struct vx_box *box)
{
	for (unsigned k = 0; k < h->count; k++) {
		const struct vx_box *s = &h->seen[k].box;

		if (h->seen[k].space == space && box->lo[0] <= s->hi[0] && s->lo[0] <= box->hi[0] &&
		    box->lo[1] <= s->hi[1] && s->lo[1] <= box->hi[1] && box->lo[2] <= s->hi[2] &&
		    s->lo[2] <= box->hi[2])
			return true;
	}
	return false;
}

void vx_history_add(struct vx_history *h, uint32_t space, const struct vx_box *box)
{
	h->seen[h->next].space = space;
	h->seen[h->next].box = *box;
	h->next = (h->next + 1) % VX_HISTORY;
	if (h->count < VX_HISTORY)
		h->count++;
}

static bool is_dealt_to(const struct vx_history *h, const struct vx_tq_item *i)
{
	return vx_hash_add(i->space, i->morton >> NEIGHBOURHOOD) % h->workers == h->worker;
}

static struct vx_tq_item *choose(struct vx_tq_client *c, const struct vx_history *h, bool *favourite)
{
	struct vx_tq_item *first = vx_list_entry(c->tasks.next, struct vx_tq_item, link), *dealt = NULL;
	struct vx_link *l;
	unsigned seen = 0;

	*favourite = false;
	if (!h || c->passes >= PASSES_MAX)
		return first;
	for (l = c->tasks.next; l != &c->tasks && seen < WINDOW; l = l->next, seen++) {
		struct vx_tq_item *i = vx_list_entry(l, struct vx_tq_item, link);

		if (vx_history_touches(h, i->space, &i->box)) {
			*favourite = true;
			return i;
		}
		if (!dealt && is_dealt_to(h, i))
			dealt = i;
	}
	*favourite = dealt != NULL;
	return dealt ? dealt : first;
}

struct vx_tq_item *vx_tq_pop(struct vx_tq *q, enum vx_prio lowest, const struct vx_history *h, bool *favourite)
{
	for (int p = 0; p <= (int)lowest; p++) {
		struct vx_tq_client *c;
		struct vx_tq_item *i;

		if (vx_list_empty(&q->turn[p]))
			continue;
		c = vx_list_entry(q->turn[p].next, struct vx_tq_client, in_turn);
		i = choose(c, h, favourite);
		c->passes = c->tasks.next == &i->link ? 0 : c->passes + 1;
		vx_list_remove(&c->in_turn);
		vx_list_push_back(&q->turn[p], &c->in_turn);
		vx_tq_remove(q, i);
		return i;
	}
	return NULL;
}
