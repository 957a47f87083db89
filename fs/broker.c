/* SPDX-License-Identifier: Apache-2.0
 * One question at a time: the keeper answers in the order of asking, and has one thread.
 */
#include "fs/broker.h"
#include "fs/link.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

struct vx_broker {
	int questions, news;
	pthread_mutex_t mtx; /* innermost: one question at a time */
};

bool vx_inherited_find(struct vx_inherited *ret)
{
	const char *text = getenv(VX_SERVER_ENV);
	long long uid, gid;
	int out, n = 0;

	ret->directory = getenv(VX_DIRECTORY_ENV);
	if (!text || !ret->directory ||
	    sscanf(text, "%d,%d,%d,%d,%d,%d,%lld,%lld%n", &ret->questions, &ret->news, &ret->table, &ret->arena,
		   &ret->list, &out, &uid, &gid, &n) != 8 ||
	    text[n])
		return false;
	ret->out = (enum vx_out)out;
	ret->uid = uid;
	ret->gid = gid;
	unsetenv(VX_SERVER_ENV);
	unsetenv(VX_DIRECTORY_ENV);
	fcntl(ret->questions, F_SETFD, FD_CLOEXEC);
	fcntl(ret->news, F_SETFD, FD_CLOEXEC);
	fcntl(ret->table, F_SETFD, FD_CLOEXEC);
	if (ret->arena >= 0)
		fcntl(ret->arena, F_SETFD, FD_CLOEXEC);
	if (ret->list >= 0)
		fcntl(ret->list, F_SETFD, FD_CLOEXEC);
	return true;
}

int vx_broker_new(struct vx_broker **ret, const struct vx_inherited *h)
{
	struct vx_broker *b = calloc(1, sizeof *b);

	if (!b)
		return -ENOMEM;
	b->questions = h->questions;
	b->news = h->news;
	pthread_mutex_init(&b->mtx, NULL);
	*ret = b;
	return 0;
}

void vx_broker_free(struct vx_broker **pb)
{
	struct vx_broker *b = vx_steal(*pb);

	if (!b)
		return;
	close(b->questions);
	close(b->news);
	pthread_mutex_destroy(&b->mtx);
	free(b);
}

static int ask(struct vx_broker *b, enum vx_question question, uint64_t object)
{
	struct vx_ask q = {.question = question, .object = object};
	struct vx_answer a = {0};
	int r;

	pthread_mutex_lock(&b->mtx);
	r = vx_link_send(b->questions, &q, sizeof q, -1);
	if (r == 0)
		r = vx_link_recv(b->questions, &a, sizeof a, NULL);
	pthread_mutex_unlock(&b->mtx);
	return r < 0 ? r : (int)a.value;
}

int vx_broker_register(struct vx_broker *b, uint64_t object)
{
	int id = ask(b, VX_ASK_REGISTER, object);

	return id ? id : -EPROTO;
}

void vx_broker_unregister(struct vx_broker *b, uint64_t object)
{
	ask(b, VX_ASK_UNREGISTER, object);
}

uint64_t vx_broker_count(struct vx_broker *b)
{
	int n = ask(b, VX_ASK_COUNT, 0);

	return n < 0 ? 0 : (uint64_t)n;
}

int vx_broker_tell(struct vx_broker *b, enum vx_news news)
{
	struct vx_tell t = {.news = news};

	return vx_link_send(b->news, &t, sizeof t, -1);
}

void vx_broker_hush(struct vx_broker *b)
{
	shutdown(b->news, SHUT_RDWR);
}

int vx_broker_hear(struct vx_broker *b, struct vx_tell *ret, int *ret_fd)
{
	return vx_link_recv(b->news, ret, sizeof *ret, ret_fd);
}
