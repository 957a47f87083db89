/* SPDX-License-Identifier: Apache-2.0
 * Whether an identity reaches a source is not computed but tried, by a child that has taken it: access depends on
 * modes, ACLs, network filesystems and security modules, and only the kernel knows them all.
 */
#include "fs/privileges.h"
#include "fs/options.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define TRIES 256 /* files looked at in one source: a sample, for it may have millions */
#define DEPTH 2

/* ---- reaching ---- */

static bool try_tree(int at, const char *name, unsigned depth, unsigned *tries);

static bool try_entries(DIR *d, unsigned depth, unsigned *tries)
{
	struct dirent *entry;
	bool ok = true;

	while (ok && *tries && (entry = readdir(d))) {
		const char *name = entry->d_name;

		if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "lost+found"))
			continue;
		ok = try_tree(dirfd(d), name, depth, tries);
	}
	return ok;
}

/* What vanishes meanwhile, or is neither file nor directory, is not held against anybody. */
static bool try_tree(int at, const char *name, unsigned depth, unsigned *tries)
{
	struct stat st;
	bool ok;
	DIR *d;
	int fd;

	if (fstatat(at, name, &st, 0) < 0)
		return errno == ENOENT || errno == ELOOP;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return true;
	(*tries)--;
	fd = openat(at, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return errno == ENOENT;
	d = S_ISDIR(st.st_mode) && depth ? fdopendir(fd) : NULL;
	if (!d) {
		close(fd);
		return true;
	}
	ok = try_entries(d, depth - 1, tries);
	closedir(d);
	return ok;
}

static bool try_need(const struct vx_identity_need *need)
{
	unsigned tries = TRIES;

	if (need->pass)
		return access(need->path, X_OK) == 0;
	if (need->write && access(need->path, R_OK | W_OK | X_OK) < 0)
		return false;
	return try_tree(AT_FDCWD, need->path, DEPTH, &tries);
}

static int cannot_try(struct vx_err *e)
{
	return vx_fail(e, -errno, "cannot try who may read the sources: %s", strerror(errno));
}

static const char *need_verb(const struct vx_identity_need *need)
{
	return need->pass ? "pass" : need->write ? "write" : "read";
}

/* The first need that the identity does not reach, n when it reaches all. */
static int first_unreached(const struct vx_identity *i, const struct vx_identity_need *needs, unsigned n, unsigned *ret,
			   struct vx_err *e)
{
	struct vx_err child_e = {0};
	int p[2], r = 0;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return cannot_try(e);
	pid = fork();
	if (pid == 0) {
		unsigned k = 0;

		if (vx_identity_take(i, &child_e) < 0)
			_exit(1);
		while (k < n && try_need(&needs[k]))
			k++;
		_exit(write(p[1], &k, sizeof k) != sizeof k);
	}
	if (pid < 0)
		r = cannot_try(e);
	close(p[1]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	if (r == 0 && read(p[0], ret, sizeof *ret) != sizeof *ret)
		r = vx_fail(e, -EPERM, "cannot work as user %s: the system does not let us", i->name);
	close(p[0]);
	return r;
}

/* ---- choosing ---- */

static void set_identity(struct vx_identity *i, uid_t uid, gid_t gid)
{
	const struct passwd *p = getpwuid(uid);

	i->change = true;
	i->uid = uid;
	i->gid = gid;
	if (p)
		snprintf(i->name, sizeof i->name, "%s", p->pw_name);
	else
		snprintf(i->name, sizeof i->name, "%u", uid);
}

static int parse_runas(struct vx_identity *ret, const char *runas, struct vx_err *e)
{
	VX_AUTO_FREE char *user = strdup(runas);
	gid_t gid = (gid_t)-1;
	char *group;
	uid_t uid;

	if (!user)
		return vx_no_memory(e);
	group = strchr(user, ':');
	if (group)
		*group++ = 0;
	if (!vx_parse_user(user, &uid, &gid))
		return vx_fail(e, -EINVAL, "option runas=%s: there is no such user", runas);
	if (group && !vx_parse_group(group, &gid))
		return vx_fail(e, -EINVAL, "option runas=%s: there is no such group", runas);
	if (gid == (gid_t)-1)
		return vx_fail(e, -EINVAL, "option runas=%s: a user without an entry needs a group, as in %s:100",
			       runas, runas);
	set_identity(ret, uid, gid);
	snprintf(ret->why, sizeof ret->why, "runas=%s was asked for", runas);
	return 0;
}

static void default_user(struct vx_identity *i)
{
	const struct passwd *p = getpwnam("voxfs");

	if (!p)
		p = getpwnam("nobody");
	if (p)
		set_identity(i, p->pw_uid, p->pw_gid);
	else
		set_identity(i, 65534, 65534);
	snprintf(i->why, sizeof i->why, "who mounts is root");
}

/* With the group of what it owns, as files may be readable to that alone; but never root's, which opens more. */
static void owner_of(struct vx_identity *i, const struct stat *st, const char *path)
{
	const struct passwd *p = st->st_gid ? NULL : getpwuid(st->st_uid);

	set_identity(i, st->st_uid, p ? p->pw_gid : st->st_gid);
	snprintf(i->why, sizeof i->why, "it owns %s", path);
}

/* Needs that even root does not find are left out: whoever opens them will say so. */
static int keep_existing(struct vx_identity_need **ret, const struct vx_identity_need *needs, unsigned *n)
{
	struct vx_identity_need *some = calloc(*n + 1, sizeof *some);
	unsigned kept = 0;
	struct stat st;

	if (!some)
		return -ENOMEM;
	for (unsigned k = 0; k < *n; k++)
		if (stat(needs[k].path, &st) == 0)
			some[kept++] = needs[k];
	*ret = some;
	*n = kept;
	return 0;
}

static bool is_root_or_tried(const struct stat *st, const struct vx_identity_need *needs, unsigned k)
{
	struct stat other;

	for (unsigned i = 0; i < k; i++)
		if (stat(needs[i].path, &other) == 0 && other.st_uid == st->st_uid)
			return true;
	return st->st_uid == 0;
}

static int choose_for(struct vx_identity *i, const struct vx_identity_need *needs, unsigned n, struct vx_err *e)
{
	char refused[64];
	unsigned at, first;
	struct stat st;
	int r;

	default_user(i);
	r = first_unreached(i, needs, n, &first, e);
	if (r < 0 || first == n)
		return r;
	snprintf(refused, sizeof refused, "%s", i->name);
	for (unsigned k = 0; k < n; k++) {
		if (stat(needs[k].path, &st) < 0 || is_root_or_tried(&st, needs, k))
			continue;
		owner_of(i, &st, needs[k].path);
		r = first_unreached(i, needs, n, &at, e);
		if (r < 0 || at == n)
			return r;
	}
	set_identity(i, 0, 0);
	snprintf(i->why, sizeof i->why, "only root can %s %s", need_verb(&needs[first]), needs[first].path);
	r = first_unreached(i, needs, n, &at, e);
	if (r < 0 || at == n)
		return r;
	return vx_fail(e, -EACCES, "%s: neither %s nor any owner of what is needed can %s it: name a user with runas=",
		       needs[first].path, refused, need_verb(&needs[first]));
}

int vx_identity_choose(struct vx_identity *ret, const char *runas, const struct vx_identity_need *needs, unsigned n,
		       struct vx_err *e)
{
	VX_AUTO_FREE struct vx_identity_need *some = NULL;
	unsigned at;
	int r;

	*ret = (struct vx_identity){0};
	if (geteuid() != 0) {
		if (runas)
			return vx_fail(e, -EPERM, "option runas=%s: only root can choose", runas);
		set_identity(ret, geteuid(), getegid());
		ret->change = false;
		snprintf(ret->why, sizeof ret->why, "who mounts is no root, and stays who it is");
		return 0;
	}
	if (keep_existing(&some, needs, &n) < 0)
		return vx_no_memory(e);
	if (!runas)
		return choose_for(ret, some, n, e);
	r = parse_runas(ret, runas, e);
	if (r < 0 || (r = first_unreached(ret, some, n, &at, e)) < 0)
		return r;
	if (at < n)
		return vx_fail(e, -EACCES, "%s: user %s (runas=) cannot %s it", some[at].path, ret->name,
			       need_verb(&some[at]));
	return 0;
}

void vx_identity_keep(struct vx_identity *ret, uid_t uid, gid_t gid)
{
	*ret = (struct vx_identity){0};
	set_identity(ret, uid, gid);
	snprintf(ret->why, sizeof ret->why, "the server before was");
}

/* ---- taking ---- */

/* glibc has no call for it. */
static int set_no_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capset, &head, none) < 0 ? -errno : 0;
}

/* Neither is to be had without CAP_SETPCAP, and without it neither is needed: what follows closes every way back. */
static void close_ways_back(void)
{
	prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
				     SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
				     SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED);
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

static int change_ids(const struct vx_identity *i, struct vx_err *e)
{
	if (setgroups(0, NULL) < 0 || setresgid(i->gid, i->gid, i->gid) < 0 || setresuid(i->uid, i->uid, i->uid) < 0)
		return vx_fail(e, -errno, "cannot become user %s: %s", i->name, strerror(errno));
	return 0;
}

/* A leak checker attaches to its own process, which must be dumpable for it. */
static int close_memory(struct vx_err *e)
{
	struct rlimit none = {0};
#ifdef VX_SANITIZED
	unsigned long dumpable = 1;
#else
	unsigned long dumpable = 0;
#endif

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0) < 0 ||
	    setrlimit(RLIMIT_CORE, &none) < 0)
		return vx_fail(e, -errno, "cannot give up privileges: %s", strerror(errno));
	return 0;
}

static bool something_comes_back(const struct vx_identity *i)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct all[_LINUX_CAPABILITY_U32S_3] = {{.permitted = 1}};

	if (syscall(SYS_capset, &head, all) == 0 || prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0)
		return true;
	if (getuid() != i->uid || geteuid() != i->uid || getgid() != i->gid || getegid() != i->gid)
		return true;
	if (i->change && getgroups(0, NULL) != 0)
		return true;
	return (i->uid && setresuid(0, 0, 0) == 0) || (i->gid && setresgid(0, 0, 0) == 0);
}

int vx_identity_take(const struct vx_identity *i, struct vx_err *e)
{
	int r = 0;

	close_ways_back();
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (i->change)
		r = change_ids(i, e);
	if (r < 0)
		return r;
	r = set_no_capabilities();
	if (r < 0)
		return vx_fail(e, r, "cannot give up capabilities: %s", strerror(-r));
	r = close_memory(e);
	if (r < 0)
		return r;
	return something_comes_back(i) ? vx_fail(e, -EPERM, "privileges that were given up came back") : 0;
}
