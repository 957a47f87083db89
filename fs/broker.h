/* SPDX-License-Identifier: Apache-2.0
 * The server's end of its link with the keeper. Questions may be asked by any thread that holds no lock (innermost
 * otherwise); they take some microseconds. News is for one thread.
 */
#ifndef VX_FS_BROKER_H
#define VX_FS_BROKER_H

#include "arena/arena.h"
#include "fs/proto.h"

struct vx_broker;

/* What the keeper handed down. */
struct vx_inherited {
	int questions, news, table, arena, list;
	enum vx_out out;
	int64_t uid, gid;      /* -1: to be chosen */
	const char *directory; /* where relative names begin */
};
/* False: this process is no server (the variable is not there). Takes the variables out of the environment, which
 * keeps the text of `directory`. */
bool vx_inherited_find(struct vx_inherited *ret);

int vx_broker_new(struct vx_broker **ret, const struct vx_inherited *h);
void vx_broker_free(struct vx_broker **b);

/* An id > 0 or negative errno. */
int vx_broker_register(struct vx_broker *b, uint64_t object);
void vx_broker_unregister(struct vx_broker *b, uint64_t object);

/* How many objects the keeper has registered. */
uint64_t vx_broker_count(struct vx_broker *b);

/* -EPIPE: the keeper is gone. */
int vx_broker_tell(struct vx_broker *b, enum vx_news news);
/* Makes whoever waits for news hear that the keeper is gone. */
void vx_broker_hush(struct vx_broker *b);
/* Waits for news; *ret_fd is the descriptor that came with it, or -1. -EPIPE: the keeper is gone. */
int vx_broker_hear(struct vx_broker *b, struct vx_tell *ret, int *ret_fd);

#endif
