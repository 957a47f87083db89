/* SPDX-License-Identifier: Apache-2.0
 * Intrusive doubly linked ring. The head is a link too; an empty head points at itself. The caller
 * locks.
 */
#ifndef VX_BASE_LIST_H
#define VX_BASE_LIST_H

#include "base/vx.h"

struct vx_link {
	struct vx_link *prev, *next;
};

static inline void vx_list_init(struct vx_link *l)
{
	l->prev = l->next = l;
}

static inline bool vx_list_empty(const struct vx_link *l)
{
	return l->next == l;
}

static inline void vx_list_insert(struct vx_link *before, struct vx_link *l)
{
	l->prev = before->prev;
	l->next = before;
	before->prev->next = l;
	before->prev = l;
}

static inline void vx_list_push_back(struct vx_link *head, struct vx_link *l)
{
	vx_list_insert(head, l);
}

static inline void vx_list_push_front(struct vx_link *head, struct vx_link *l)
{
	vx_list_insert(head->next, l);
}

/* Leaves `l` a ring of its own, so that removing twice is harmless. */
static inline void vx_list_remove(struct vx_link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	vx_list_init(l);
}

/* Moves every element of `from` to the end of `to`. */
static inline void vx_list_splice(struct vx_link *to, struct vx_link *from)
{
	if (vx_list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	vx_list_init(from);
}

#define vx_list_entry(l, type, member) vx_container_of(l, type, member)

#define vx_list_each_safe(pos, tmp, head) \
	for ((pos) = (head)->next, (tmp) = (pos)->next; (pos) != (head); (pos) = (tmp), (tmp) = (pos)->next)

#endif
