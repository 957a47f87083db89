/* SPDX-License-Identifier: Apache-2.0
 * Kept among the documents of the table as it was read, and parsed anew by each server.
 */
#include "fs/list.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LIST_MAX_BYTES ((off_t)16 << 20)

struct text {
	char *bytes;
	size_t len;
	bool is_list;
};

static int read_all(int fd, struct text *t)
{
	size_t cap = t->len;

	t->len = 0;
	t->bytes = malloc(cap + 1);
	if (!t->bytes)
		return -ENOMEM;
	while (t->len < cap) {
		ssize_t n = read(fd, t->bytes + t->len, cap - t->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		t->len += (size_t)n;
	}
	return 0;
}

static int read_file(const char *path, struct text *t, struct vx_err *e)
{
	VX_AUTO_CLOSE int fd = -1;
	struct stat st;
	int r;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	t->is_list = true;
	if (st.st_size > LIST_MAX_BYTES)
		return vx_fail(e, -EINVAL, "%s is too large to be a list of volumes", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return vx_fail(e, -errno, "cannot open %s: %s", path, strerror(errno));
	t->len = (size_t)st.st_size;
	r = read_all(fd, t);
	return r < 0 ? vx_fail(e, r, "cannot read %s: %s", path, strerror(-r)) : 0;
}

/* False: it is not remembered. */
static bool recall(struct vx_table *table, const char *name, struct text *t)
{
	const void *data;
	size_t len;
	int code;

	if (!table || !vx_table_doc_find(table, name, &code, &data, &len) || len > (size_t)LIST_MAX_BYTES)
		return false;
	t->is_list = code == 0;
	t->bytes = malloc(len + 1);
	if (!t->bytes)
		return false;
	memcpy(t->bytes, data, len);
	t->len = len;
	return true;
}

static int load(const char *source, struct vx_table *table, struct text *t, struct vx_err *e)
{
	VX_AUTO_FREE char *name = NULL;
	int r;

	if (asprintf(&name, "list %s", source) < 0) {
		name = NULL;
		return vx_fail(e, -ENOMEM, "no memory");
	}
	if (recall(table, name, t))
		return 0;
	r = read_file(source, t, e);
	if (r == 0 && table && !vx_table_doc_add(table, name, t->is_list ? 0 : -ENODATA, t->bytes, t->len))
		r = vx_fail(e, -ENOSPC, "there is no room to remember %s", source);
	return r;
}

int vx_list_load(const char *source, struct vx_table *table, json_t **ret, struct vx_err *e)
{
	struct text t = {0};
	json_error_t je;
	int r = load(source, table, &t, e);

	*ret = NULL;
	if (r == 0 && t.is_list) {
		*ret = json_loadb(t.bytes, t.len, 0, &je);
		if (!*ret)
			r = vx_fail(e, -EINVAL, "%s: line %d: %s", source, je.line, je.text);
	}
	free(t.bytes);
	return r;
}
