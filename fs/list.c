/* SPDX-License-Identifier: Apache-2.0
 * A sealed memfd: descriptors of it may be handed to anybody.
 */
#include "fs/list.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define LIST_MAX_BYTES ((off_t)16 << 20)
#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static int copy(int from, int to, size_t left)
{
	while (left) {
		ssize_t n = sendfile(to, from, NULL, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0; /* it has become shorter: what it holds is judged later */
		left -= (size_t)n;
	}
	return 0;
}

int vx_list_hold(const char *source, int *ret, struct vx_err *e)
{
	VX_AUTO_CLOSE int file = -1;
	VX_AUTO_CLOSE int held = -1;
	struct stat st;
	int r;

	*ret = VX_NO_LIST;
	if (stat(source, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	if (st.st_size > LIST_MAX_BYTES)
		return vx_fail(e, -EINVAL, "%s is too large to be a list of volumes", source);
	file = open(source, O_RDONLY | O_CLOEXEC);
	held = memfd_create("voxfs-list", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	r = file < 0 || held < 0 ? -errno : copy(file, held, (size_t)st.st_size);
	if (r == 0 && fcntl(held, F_ADD_SEALS, SEALS) < 0)
		r = -errno;
	if (r < 0)
		return vx_fail(e, r, "cannot read %s: %s", source, strerror(-r));
	*ret = held;
	held = -1;
	return 0;
}

int vx_list_load(int held, const char *source, json_t **ret, struct vx_err *e)
{
	json_error_t je;
	struct stat st;
	void *text;

	*ret = NULL;
	if (held == VX_NO_LIST)
		return 0;
	if (fstat(held, &st) < 0)
		return vx_fail(e, -errno, "cannot read %s: %s", source, strerror(errno));
	text = st.st_size ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, held, 0) : NULL;
	if (text == MAP_FAILED)
		return vx_fail(e, -errno, "cannot read %s: %s", source, strerror(errno));
	*ret = json_loadb(text ? text : "", (size_t)st.st_size, 0, &je);
	if (text)
		munmap(text, (size_t)st.st_size);
	return *ret ? 0 : vx_fail(e, -EINVAL, "%s: line %d: %s", source, je.line, je.text);
}
