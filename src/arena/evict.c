/* SPDX-License-Identifier: Apache-2.0
 * S3-FIFO. A ghost is good for as long as main-queue-many bytes have been evicted since: the table needs no queue of
 * its own, a slot is simply overwritten.
 */
#include "arena/evict.h"

#include <string.h>

#define MAX_USES 3
#define SMALL_SHARE 10 /* the small queue holds 1 / SMALL_SHARE of the bytes */

void vx_evict_init(struct vx_evict *q)
{
	memset(q, 0, sizeof *q);
	vx_list_init(&q->small);
	vx_list_init(&q->main);
}

static void enqueue(struct vx_evict *q, struct vx_evict_item *i)
{
	vx_list_push_back(i->main ? &q->main : &q->small, &i->link);
	*(i->main ? &q->main_bytes : &q->small_bytes) += i->bytes;
	i->queued = true;
}

static void dequeue(struct vx_evict *q, struct vx_evict_item *i)
{
	vx_list_remove(&i->link);
	*(i->main ? &q->main_bytes : &q->small_bytes) -= i->bytes;
	i->queued = false;
}

static bool take_ghost(struct vx_evict *q, uint64_t hash)
{
	uint64_t slot = hash % VX_GHOSTS;
	bool known = q->ghost[slot].hash == hash && q->ghost[slot].when &&
		     q->clock - q->ghost[slot].when <= q->main_bytes + q->small_bytes;

	if (known)
		q->ghost[slot].when = 0;
	return known;
}

static void leave_ghost(struct vx_evict *q, const struct vx_evict_item *i)
{
	uint64_t slot = i->hash % VX_GHOSTS;

	q->clock += i->bytes;
	q->ghost[slot].hash = i->hash;
	q->ghost[slot].when = q->clock;
}

void vx_evict_add(struct vx_evict *q, struct vx_evict_item *i, bool pinned)
{
	vx_list_init(&i->link);
	i->uses = 0;
	i->main = take_ghost(q, i->hash);
	i->queued = false;
	if (!pinned)
		enqueue(q, i);
}

void vx_evict_touch(struct vx_evict_item *i)
{
	if (i->uses < MAX_USES)
		i->uses++;
}

void vx_evict_pin(struct vx_evict *q, struct vx_evict_item *i)
{
	if (i->queued)
		dequeue(q, i);
}

void vx_evict_unpin(struct vx_evict *q, struct vx_evict_item *i)
{
	if (!i->queued)
		enqueue(q, i);
}

void vx_evict_remove(struct vx_evict *q, struct vx_evict_item *i)
{
	vx_evict_pin(q, i);
}

static struct vx_evict_item *oldest(struct vx_link *queue)
{
	return vx_list_entry(queue->next, struct vx_evict_item, link);
}

static struct vx_evict_item *next_of_small(struct vx_evict *q)
{
	while (!vx_list_empty(&q->small)) {
		struct vx_evict_item *i = oldest(&q->small);

		dequeue(q, i);
		if (!i->uses) {
			leave_ghost(q, i);
			return i;
		}
		i->uses = 0;
		i->main = true;
		enqueue(q, i);
	}
	return NULL;
}

static struct vx_evict_item *next_of_main(struct vx_evict *q)
{
	while (!vx_list_empty(&q->main)) {
		struct vx_evict_item *i = oldest(&q->main);

		dequeue(q, i);
		if (!i->uses)
			return i;
		i->uses--;
		enqueue(q, i);
	}
	return NULL;
}

struct vx_evict_item *vx_evict_next(struct vx_evict *q)
{
	struct vx_evict_item *i = NULL;

	if (q->small_bytes * SMALL_SHARE >= q->small_bytes + q->main_bytes)
		i = next_of_small(q);
	if (!i)
		i = next_of_main(q);
	return i ? i : next_of_small(q);
}
