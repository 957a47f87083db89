/* SPDX-License-Identifier: Apache-2.0
 * Identity and sandbox, in children that enter them: what is forbidden fails, what a server does works. Root sees all
 * of it, an ordinary user its part; a layer that the kernel lacks is told by the report and not asked for.
 */
#include "fs/sandbox.h"
#include "tests/lib/vxtest.h"
#include "tests/unit/sandbox_needs.h"

#include <jansson.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/securebits.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- a child that enters ---- */

struct outcome {
	int r;
	struct vx_err e;
	struct vx_sandbox_report report;
	struct vx_identity identity;
	bool caps_gone, bounds_gone, groups_gone, locked, dumpable;
#define X(what) int what;
	NEEDS(X)
#undef X
};

/* The lines of /proc/self/status, which says it all: Cap*: are zero, and so are groups. */
static void read_status(struct outcome *o)
{
	char line[4096];
	FILE *f = fopen("/proc/self/status", "re");
	unsigned zero = 0;

	while (f && fgets(line, sizeof line, f)) {
		zero += !strncmp(line, "Cap", 3) && strncmp(line, "CapBnd", 6) &&
			strtoull(strchr(line, ':') + 1, NULL, 16) == 0;
		if (!strncmp(line, "CapBnd:", 7))
			o->bounds_gone = strtoull(line + 7, NULL, 16) == 0;
		if (!strncmp(line, "Groups:", 7))
			o->groups_gone = strspn(line + 7, " \t\n") == strlen(line + 7);
	}
	if (f)
		fclose(f);
	o->caps_gone = zero == 4;
	o->locked = prctl(PR_GET_SECUREBITS) & SECBIT_NOROOT_LOCKED;
	o->dumpable = prctl(PR_GET_DUMPABLE) == 1;
}

static void enter(const struct world *w, struct outcome *o)
{
	struct vx_identity_need need = {.path = w->source};
	struct vx_sandbox_tree reads[] = {{w->source, -1}, {"/nonexistent/tree", -1}};
	struct vx_sandbox_tree writes[] = {{w->cache, -1}, {NULL, w->arena}};
	struct vx_sandbox s = {
	    .read = reads, .nread = 2, .write = writes, .nwrite = w->arena < 0 ? 1 : 2, .probe = true};

	if (geteuid() == 0) /* something to give up */
		setgroups(2, (const gid_t[]){4, 100});
	o->r = w->identity ? 0 : become_ordinary();
	if (o->r == 0 && !w->identity)
		o->r = vx_identity_choose(&o->identity, NULL, &need, 1, &o->e);
	else
		o->identity = *w->identity;
	if (o->r == 0)
		o->r = vx_identity_take(&o->identity, &o->e);
	if (o->r < 0)
		return;
	read_status(o);
	if (w->prepare)
		w->prepare();
	o->r = vx_sandbox_enter(&s, &o->report);
	if (o->r < 0)
		return;
#define X(what) o->what = do_##what(w);
	NEEDS(X)
#undef X
}

static void in_child(const struct world *w, struct outcome *ret)
{
	struct outcome *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid;

	ck_assert_ptr_ne(shared, MAP_FAILED);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		enter(w, shared);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %x", status);
	*ret = *shared;
	munmap(shared, sizeof *shared);
	ck_assert_msg(ret->r == 0, "%s", ret->e.why);
}

/* ---- what is expected ---- */

static void needs_work(const struct outcome *o)
{
#define X(what) ck_assert_msg(o->what == 0, #what ": %s", vx_errno_name(o->what));
	NEEDS(X)
#undef X
}

static int probe_of(const struct vx_sandbox_report *r, const char *what)
{
	for (unsigned i = 0; i < r->nprobes; i++)
		if (!strcmp(r->probe[i].what, what))
			return r->probe[i].code;
	ck_abort_msg("%s was not tried", what);
	return 0;
}

static void forbidden(const struct vx_sandbox_report *r, const char *const *what, int code)
{
	for (; *what; what++)
		ck_assert_msg(probe_of(r, *what) == code, "%s gives %s, should give %s", *what,
			      vx_errno_name(probe_of(r, *what)), vx_errno_name(code));
}

static void check_report(const struct vx_sandbox_report *r, const struct vx_identity *i)
{
	static const char *const by_seccomp[] = {
	    "execve", "fork",     "socket_unix", "socket_packet", "socket_vsock", "socket_raw", "listen",
	    "ptrace", "mount",    "bpf",         "io_uring",      "unshare",      "kill_init",  "kill_parent",
	    "setuid", "map_code", NULL};
	static const char *const by_landlock[] = {
	    "open_shadow", "list_root_home", "read_memory_of_init", "list_everything", "create_outside", "write_source",
	    NULL};
	static const char *const by_landlock_4[] = {"bind", NULL};

	ck_assert(r->uid == i->uid && r->gid == i->gid);
	ck_assert(r->user.on == (i->uid != 0) && r->capabilities.on && r->no_new_privs.on);
	ck_assert(r->seccomp.on || r->seccomp.why[0]);
	ck_assert(r->landlock.on || r->landlock.why[0]);
	ck_assert(r->landlock.on == (r->landlock_abi > 0));
	if (r->seccomp.on)
		forbidden(r, by_seccomp, -EPERM);
	if (r->landlock.on)
		forbidden(r, by_landlock, -EACCES);
	if (r->landlock_abi >= 4)
		forbidden(r, by_landlock_4, -EACCES);
}

static int listen_somewhere(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof *ret;

	*ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	ck_assert_int_eq(bind(fd, (struct sockaddr *)ret, sizeof *ret), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)ret, &len), 0);
	return fd;
}

/* As the arena makes it; -1 for who may not. */
static int detached_tmpfs(void)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), fd = -1;

	if (fs < 0)
		return -1;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", "16M", 0) == 0 &&
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	close(fs);
	return fd;
}

/* Enters as who is given and checks everything. */
static void live_in(struct world w, struct outcome *o)
{
	int fd = listen_somewhere(&w.listener);

	w.source = source;
	w.cache = cache;
	w.arena = detached_tmpfs();
	in_child(&w, o);
	ck_assert(o->caps_gone);
	ck_assert(!o->identity.change || o->groups_gone);
	/* Root that has lost the right to give these up, in some container, could not use them either. */
	if (geteuid() == 0 && w.identity && prctl(PR_CAPBSET_READ, CAP_SETPCAP) == 1)
		ck_assert(o->bounds_gone && o->locked);
#ifndef VX_SANITIZED
	ck_assert(!o->dumpable);
#endif
	check_report(&o->report, &o->identity);
	needs_work(o);
	close(fd);
	if (w.arena >= 0)
		close(w.arena);
}

static void live_as(const struct vx_identity *i, struct outcome *o)
{
	live_in((struct world){.identity = i}, o);
}

START_TEST(as_another_user)
{
	static const uid_t whom[] = {NOBODY, ALICE};
	struct vx_identity i = {.uid = whom[_i], .gid = whom[_i], .change = true};
	struct outcome o;

	if (geteuid() != 0)
		return;
	own(cache, whom[_i], 0700);
	own(source, whom[_i], 0700);
	live_as(&i, &o);
}
END_TEST

/* Root's own source: uid 0 opens root's files as their owner, and can do nothing else that root can. */
START_TEST(as_root_without_capabilities)
{
	struct vx_identity i = {.uid = 0, .gid = 0, .change = true};
	struct outcome o;

	if (geteuid() != 0)
		return;
	own(source, 0, 0700);
	live_as(&i, &o);
	ck_assert_ptr_nonnull(strstr(o.report.user.why, "root"));
}
END_TEST

/* Whoever starts the test; root becomes nobody for it. */
START_TEST(as_an_ordinary_user)
{
	struct outcome o;

	if (geteuid() == 0)
		own(cache, NOBODY, 0700);
	live_as(NULL, &o);
	ck_assert(!o.identity.change && o.identity.uid == (geteuid() ? geteuid() : NOBODY));
}
END_TEST

static void hide(int nr, int code)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);

	if (!f || seccomp_rule_add(f, SCMP_ACT_ERRNO((uint32_t)code), nr, 0) < 0 || seccomp_load(f) < 0)
		_exit(3);
	seccomp_release(f);
}

static void hide_landlock(void)
{
	hide(444, ENOSYS);
}

static void hide_filters(void)
{
	hide(SCMP_SYS(seccomp), EINVAL);
}

/* Kernels without a layer: it is told, the others are in force, the server goes on. */
START_TEST(without_a_layer)
{
	struct vx_layer *off;
	struct outcome o;

	if (geteuid() == 0)
		own(cache, NOBODY, 0700);
	live_in((struct world){.prepare = _i ? hide_filters : hide_landlock}, &o);
	off = _i ? &o.report.seccomp : &o.report.landlock;
	ck_assert(!off->on && off->why[0]);
	ck_assert(o.report.capabilities.on && o.report.no_new_privs.on && o.report.user.on);
}
END_TEST

START_TEST(told_as_json)
{
	struct vx_sandbox_report r = {.uid = 7, .gid = 8, .landlock_abi = 3, .nprobes = 2};
	json_t *o, *probe;

	r.user.on = r.capabilities.on = r.landlock.on = true;
	strcpy(r.seccomp.why, "no reason");
	r.probe[0].what = "execve";
	r.probe[0].code = -EPERM;
	r.probe[1].what = "fork";
	o = vx_sandbox_json(&r);
	ck_assert_int_eq(json_integer_value(json_object_get(o, "uid")), 7);
	ck_assert_int_eq(json_integer_value(json_object_get(o, "gid")), 8);
	ck_assert(json_is_true(json_object_get(json_object_get(o, "user"), "on")));
	ck_assert(json_is_false(json_object_get(json_object_get(o, "seccomp"), "on")));
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(o, "seccomp"), "reason")), "no reason");
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(o, "landlock"), "abi")), 3);
	probe = json_object_get(o, "probe");
	ck_assert_str_eq(json_string_value(json_object_get(probe, "execve")), "EPERM");
	ck_assert_str_eq(json_string_value(json_object_get(probe, "fork")), "done");
	json_decref(o);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sandbox");
	TCase *t = tcase_create("sandbox");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, as_another_user, 0, 2);
	tcase_add_test(t, as_root_without_capabilities);
	tcase_add_test(t, as_an_ordinary_user);
	tcase_add_loop_test(t, without_a_layer, 0, 2);
	tcase_add_test(t, told_as_json);
	return vxt_run(s);
}
