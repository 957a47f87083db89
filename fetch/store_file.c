/* SPDX-License-Identifier: Apache-2.0
 * Stores on a mounted filesystem: file:///dir. An object is read in the caller's thread into one
 * pooled buffer of the file's size: openat, fstat, pread, close and nothing else. Names that lead
 * nowhere else than to regular files are refused, and opening them never blocks.
 *
 * The directory is opened at the first read and kept. When it was removed meanwhile, it is looked
 * for anew, because "the store is gone" must not pass for "the store does not have this chunk".
 *
 * Fields: all constant but `dir_fd` and `hint`, which are atomic. No lock; any thread.
 */
#include "fetch/range.h"
#include "fetch/store.h"
#include "fetch/url.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
	const char *suffix, *encoding;
} variants[] = {{"", ""}, {".gz", "gzip"}, {".br", "br"}, {".zstd", "zstd"}};

struct file_store {
	struct vx_store base;
	struct vx_pool *pool; /* borrowed from the fetcher */
	char *dir;
	_Atomic int dir_fd;    /* -1 until the first read; then the same number until closed */
	_Atomic unsigned hint; /* the variant that was found last, tried first */
};

static struct file_store *file_store(struct vx_store *s)
{
	return vx_container_of(s, struct file_store, base);
}

static void file_close(struct vx_store *s)
{
	struct file_store *fs = file_store(s);

	if (fs->dir_fd >= 0)
		close(fs->dir_fd);
	free(fs->base.shown);
	free(fs->dir);
	free(fs);
}

static int file_open(struct vx_store **ret, struct vx_fetcher *f, const char *url, struct vx_err *e)
{
	struct file_store *fs = calloc(1, sizeof *fs);
	int r;

	if (!fs)
		return vx_no_memory(e);
	fs->pool = vx_fetcher_pool(f);
	fs->dir_fd = -1;
	r = vx_url_file_path(&fs->dir, url, e);
	if (r == 0) {
		fs->base.shown_len = strlen(url);
		while (fs->base.shown_len > strlen("file:///") && url[fs->base.shown_len - 1] == '/')
			fs->base.shown_len--;
		fs->base.shown = strndup(url, fs->base.shown_len);
		if (!fs->base.shown)
			r = vx_no_memory(e);
	}
	if (r < 0) {
		file_close(&fs->base);
		return r;
	}
	*ret = &fs->base;
	return 0;
}

static int open_dir(struct file_store *fs, struct vx_err *e)
{
	int fd = open(fs->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENOTDIR)
		return vx_fail(e, -EHOSTUNREACH, "there is no directory %s", fs->dir);
	return vx_fail(e, errno == EACCES || errno == EPERM ? -EACCES : -EIO, "the directory %s cannot be opened: %s",
		       fs->dir, strerrordesc_np(errno));
}

static int dir_fd(struct file_store *fs, struct vx_err *e)
{
	int fd = atomic_load_explicit(&fs->dir_fd, memory_order_relaxed); /* a number, it leads to no memory */
	int none = -1;

	if (VX_LIKELY(fd >= 0))
		return fd;
	fd = open_dir(fs, e);
	if (fd < 0 || atomic_compare_exchange_strong(&fs->dir_fd, &none, fd))
		return fd;
	close(fd);
	return none; /* the number that another thread was quicker to store */
}

/* After a name was not found: 1 when the directory itself had been removed and a new one stands in its
 * place. The descriptor keeps its number, so that readers under way are not disturbed. */
static int refresh_dir(struct file_store *fs, int fd, struct vx_err *e)
{
	struct stat st;
	int anew;

	if (fstat(fd, &st) == 0 && st.st_nlink > 0)
		return 0;
	anew = open_dir(fs, e);
	if (anew < 0)
		return anew;
	if (dup3(anew, fd, O_CLOEXEC) < 0) {
		close(anew);
		return vx_fail(e, -EIO, "the directory %s cannot be opened: %s", fs->dir, strerrordesc_np(errno));
	}
	close(anew);
	return 1;
}

static int open_once(int dir, const char *path)
{
	int fd;

	do
		fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	while (fd < 0 && errno == EINTR);
	return fd;
}

static int open_variant(int dir, const char *key, unsigned v)
{
	char path[sizeof((struct vx_fetch *)0)->key + 8];

	if (v == 0)
		return open_once(dir, key);
	snprintf(path, sizeof path, "%s%s", key, variants[v].suffix);
	return open_once(dir, path);
}

/* Returns a descriptor and the variant found, or -1 with errno. */
static int open_object(struct file_store *fs, int dir, const struct vx_fetch *r, unsigned *ret_variant)
{
	bool suffixes = r->suffixes && !vx_fetch_is_ranged(r);
	unsigned first = suffixes ? atomic_load_explicit(&fs->hint, memory_order_relaxed) : 0; /* a mere hint */
	int fd = open_variant(dir, r->key, first);

	*ret_variant = first;
	for (unsigned v = 0; suffixes && v < VX_ARRAY_LEN(variants); v++) {
		if (fd >= 0 || (errno != ENOENT && errno != ENOTDIR))
			break;
		if (v == first)
			continue;
		fd = open_variant(dir, r->key, v);
		*ret_variant = v;
	}
	if (fd >= 0 && suffixes && *ret_variant != first)
		atomic_store_explicit(&fs->hint, *ret_variant, memory_order_relaxed); /* as above */
	return fd;
}

static int fill(int fd, uint8_t *to, uint64_t off, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, to + done, size - done, (off_t)(off + done));

		if (n == 0)
			return -ESTALE;
		if (n > 0)
			done += (size_t)n;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static int read_object(struct file_store *fs, int fd, const struct vx_fetch *r, bool plain, struct vx_fetched *got)
{
	VX_AUTO_BUF struct vx_buf *b = NULL;
	char url[256];
	uint64_t off, len;
	struct stat st;
	int n;

	if (fstat(fd, &st) < 0)
		return vx_fail(&got->err, -EIO, "%s: %s", strerrordesc_np(errno),
			       vx_store_show(&fs->base, r->key, url, sizeof url));
	if (!S_ISREG(st.st_mode))
		return vx_fail(&got->err, -EIO, "not a regular file: %s",
			       vx_store_show(&fs->base, r->key, url, sizeof url));
	if (!vx_range_within(r, (uint64_t)st.st_size, &off, &len))
		return vx_fail(&got->err, -EBADMSG, "%s: %s", vx_fault_text(VX_FAULT_SHORT),
			       vx_store_show(&fs->base, r->key, url, sizeof url));
	if (len > r->cap)
		return vx_fail(&got->err, -EBADMSG, "%llu bytes, more than the %llu that it may have: %s",
			       (unsigned long long)len, (unsigned long long)r->cap,
			       vx_store_show(&fs->base, r->key, url, sizeof url));
	got->in_place = r->into && plain && len == r->into_len;
	b = got->in_place ? NULL : vx_buf_get(fs->pool, (size_t)len);
	if (!b && !got->in_place)
		return vx_fail(&got->err, -ENOMEM, "no memory for %llu bytes of %s", (unsigned long long)len,
			       vx_store_show(&fs->base, r->key, url, sizeof url));
	n = fill(fd, b ? b->data : r->into, off, (size_t)len);
	if (n < 0)
		return vx_fail(&got->err, n == -EACCES || n == -EPERM ? -EACCES : -EIO, "%s: %s",
			       n == -ESTALE ? "the file was cut short while it was read" : strerrordesc_np(-n),
			       vx_store_show(&fs->base, r->key, url, sizeof url));
	if (b)
		b->len = (size_t)len;
	got->body = vx_steal(b);
	got->total = (uint64_t)st.st_size;
	return 0;
}

static int open_failed(struct file_store *fs, const struct vx_fetch *r, struct vx_err *e)
{
	int err = errno;
	char url[256];

	vx_store_show(&fs->base, r->key, url, sizeof url);
	if (err == ENOENT || err == ENOTDIR)
		return vx_fail(e, -ENODATA, "no such file: %s", url);
	return vx_fail(e, err == EACCES || err == EPERM ? -EACCES : -EIO, "%s: %s", strerrordesc_np(err), url);
}

static void file_read(struct vx_store *s, const struct vx_fetch *r, struct vx_fetched *got)
{
	struct file_store *fs = file_store(s);
	VX_AUTO_CLOSE int fd = -1;
	unsigned variant;
	int dir = dir_fd(fs, &got->err);

	if (dir < 0)
		return;
	fd = open_object(fs, dir, r, &variant);
	if (fd < 0 && errno == ENOENT) {
		int anew = refresh_dir(fs, dir, &got->err);

		if (anew < 0)
			return;
		errno = ENOENT;
		if (anew > 0)
			fd = open_object(fs, dir, r, &variant);
	}
	if (fd < 0) {
		open_failed(fs, r, &got->err);
		return;
	}
	if (read_object(fs, fd, r, variant == 0, got) == 0)
		strcpy(got->content_encoding, variants[variant].encoding);
}

const struct vx_store_ops vx_store_file_ops = {
    .scheme = "file",
    .open = file_open,
    .close = file_close,
    .read = file_read,
};
