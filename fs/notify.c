/* SPDX-License-Identifier: Apache-2.0
 * The queue is the node table itself: box names beyond VX_NODES_KEEP are due, oldest first. Most are answered by a
 * FORGET; one that is open or mapped is merely unhashed and forgotten when its last user goes.
 */
#include "fs/notify.h"
#include "fs/view.h"

#include <linux/close_range.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

struct vx_notifier {
	struct vx_fs *fs;
	sem_t due;
	_Atomic bool stop;
	pthread_t thread;
};

static void ask_back(struct vx_notifier *n, uint64_t parent, const struct vx_view *v)
{
	char path[VX_VIEW_PATH_MAX];
	const char *name;

	vx_view_path(v, path);
	name = strrchr(path, '/') + 1;
	fuse_lowlevel_notify_inval_entry(vx_session_fuse(n->fs->session), parent, name, strlen(name));
}

/* A descriptor is open as long as any thread has it: the keeper hears of the death of all others by its links, even
 * when this one cannot be killed. */
static void keep_device_alone(int fd)
{
	if (close_range((unsigned)fd + 1, ~0U, CLOSE_RANGE_UNSHARE) == 0 && fd > 0)
		close_range(0, (unsigned)fd - 1, 0);
}

static void *notify_main(void *arg)
{
	struct vx_notifier *n = arg;
	struct vx_view v;
	uint64_t parent;

	pthread_setname_np(pthread_self(), "vx-notify");
	keep_device_alone(fuse_session_fd(vx_session_fuse(n->fs->session)));
	while (!n->stop) {
		while (sem_wait(&n->due) < 0)
			continue;
		while (!n->stop && vx_nodes_due(n->fs->nodes, &parent, &v))
			ask_back(n, parent, &v);
	}
	return NULL;
}

int vx_notifier_start(struct vx_notifier **ret, struct vx_fs *fs, struct vx_err *e)
{
	struct vx_notifier *n = calloc(1, sizeof *n);
	int r;

	if (!n)
		return vx_no_memory(e);
	n->fs = fs;
	sem_init(&n->due, 0, 0);
	r = pthread_create(&n->thread, NULL, notify_main, n);
	if (r) {
		free(n);
		return vx_fail(e, -r, "cannot start a thread: %s", strerror(r));
	}
	*ret = n;
	return 0;
}

void vx_notifier_poke(struct vx_notifier *n)
{
	int value;

	if (vx_nodes_too_many(n->fs->nodes) && sem_getvalue(&n->due, &value) == 0 && value <= 0)
		sem_post(&n->due);
}

void vx_notifier_quiet(struct vx_notifier *n)
{
	if (!n || n->stop)
		return;
	n->stop = true;
	sem_post(&n->due);
	pthread_join(n->thread, NULL);
}

void vx_notifier_free(struct vx_notifier **pn)
{
	struct vx_notifier *n = vx_steal(*pn);

	if (!n)
		return;
	vx_notifier_quiet(n);
	sem_destroy(&n->due);
	free(n);
}
