/* SPDX-License-Identifier: Apache-2.0
 * The system calls of a server that serves: found by tracing it under all mount tests, and what libraries do on other
 * machines (resolvers, TLS, allocators). Everything else fails with EPERM; what glibc tries because it is new, and does
 * without where it is missing, with ENOSYS.
 */
#include "base/check.h"
#include "fs/sandbox_layers.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

#define SOCK_TYPE_MASK 0xf
/* Newer than the libseccomp we are built with may be; the same numbers everywhere since 424. */
#define FIRST_NEW 451
#define LAST_NEW 490

static const char *const allowed[] = {
    /* bytes */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "lseek",
    "_llseek", "close", "close_range", "dup", "dup2", "dup3", "pipe", "pipe2", "splice", "copy_file_range", "sendfile",
    /* waiting */
    "poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait",
    "epoll_pwait2", "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime", "signalfd4", "nanosleep",
    "clock_nanosleep", "pause",
    /* files: which ones, Landlock says */
    "open", "openat", "stat", "lstat", "fstat", "newfstatat", "fstatat64", "statx", "statfs", "fstatfs", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "getdents", "getdents64", "fallocate", "truncate",
    "ftruncate", "unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "linkat",
    "fsync", "fdatasync", "sync_file_range", "fadvise64", "readahead", "flock", "utimensat", "umask", "memfd_create",
    "fgetxattr", "fsetxattr",
    /* memory: mmap and mprotect see below */
    "munmap", "mremap", "madvise", "brk", "msync", "mincore", "mlock", "munlock", "membarrier", "mbind",
    "get_mempolicy", "set_mempolicy",
    /* threads */
    "futex", "set_robust_list", "get_robust_list", "set_tid_address", "rseq", "arch_prctl", "gettid", "sched_yield",
    "sched_getaffinity", "sched_setaffinity", "sched_getscheduler", "sched_getparam", "sched_setattr", "sched_getattr",
    "sched_get_priority_max", "sched_get_priority_min", "setpriority", "getpriority", "ioprio_set", "ioprio_get",
    "exit", "exit_group",
    /* signals: to whom, see below */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait", "rt_sigsuspend",
    "sigaltstack", "restart_syscall",
    /* asking */
    "clock_gettime", "clock_getres", "gettimeofday", "time", "times", "uname", "sysinfo", "getcpu", "getpid", "getppid",
    "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "getrusage", "getrlimit", "capget",
    "getrandom",
    /* sockets: of which kind, see below; no listening */
    "connect", "bind", "shutdown", "getsockname", "getpeername", "getsockopt", "setsockopt", "sendto", "recvfrom",
    "sendmsg", "recvmsg", "sendmmsg", "recvmmsg"};

static const char *const missing[] = {
    "clone3", /* its flags are in memory, where no filter can look; glibc takes clone instead */
    "openat2",
    "futex_waitv",
};

/* A call that is allowed with certain arguments; several lines of one name are alternatives. */
struct rule {
	const char *name;
	unsigned n;
	struct scmp_arg_cmp arg[2];
};

#define IS(at, value)                                     \
	{                                                 \
		at, SCMP_CMP_EQ, (scmp_datum_t)(value), 0 \
	}
#define BITS(at, mask, value)                                                       \
	{                                                                           \
		at, SCMP_CMP_MASKED_EQ, (scmp_datum_t)(mask), (scmp_datum_t)(value) \
	}
#define NEW_NAMESPACES                                                                                               \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | \
	 0x80 /* CLONE_NEWTIME */)
#define A_THREAD (CLONE_VM | CLONE_THREAD | CLONE_SIGHAND)

static const struct rule rules[] = {
    {"clone", 1, {BITS(0, A_THREAD | NEW_NAMESPACES | CLONE_PTRACE | CLONE_UNTRACED, A_THREAD)}},
    {"mmap", 1, {BITS(2, PROT_EXEC, 0)}},
    {"mprotect", 1, {BITS(2, PROT_EXEC, 0)}},
    {"socket", 2, {IS(0, AF_INET), BITS(1, SOCK_TYPE_MASK, SOCK_STREAM)}},
    {"socket", 2, {IS(0, AF_INET), BITS(1, SOCK_TYPE_MASK, SOCK_DGRAM)}},
    {"socket", 2, {IS(0, AF_INET6), BITS(1, SOCK_TYPE_MASK, SOCK_STREAM)}},
    {"socket", 2, {IS(0, AF_INET6), BITS(1, SOCK_TYPE_MASK, SOCK_DGRAM)}},
    {"socket", 2, {IS(0, AF_NETLINK), IS(2, NETLINK_ROUTE)}}, /* getaddrinfo asks which addresses we have */
    {"socketpair", 1, {IS(0, AF_UNIX)}},                      /* libcurl wakes itself with one */
    {"ioctl", 1, {IS(1, FIONBIO)}},
    {"ioctl", 1, {IS(1, FIONREAD)}},
    {"ioctl", 1, {IS(1, TCGETS)}}, /* isatty */
    {"fcntl", 1, {IS(1, F_DUPFD)}},
    {"fcntl", 1, {IS(1, F_DUPFD_CLOEXEC)}},
    {"fcntl", 1, {IS(1, F_GETFD)}},
    {"fcntl", 1, {IS(1, F_SETFD)}},
    {"fcntl", 1, {IS(1, F_GETFL)}},
    {"fcntl", 1, {IS(1, F_SETFL)}},
    {"fcntl", 1, {IS(1, F_GETLK)}},
    {"fcntl", 1, {IS(1, F_SETLK)}},
    {"fcntl", 1, {IS(1, F_SETLKW)}},
    {"fcntl", 1, {IS(1, F_OFD_GETLK)}},
    {"fcntl", 1, {IS(1, F_OFD_SETLK)}},
    {"fcntl", 1, {IS(1, F_OFD_SETLKW)}},
    {"fcntl", 1, {IS(1, F_SETLEASE)}}, /* is an object in use? */
    {"fcntl", 1, {IS(1, F_GETLEASE)}},
    {"fcntl", 1, {IS(1, F_ADD_SEALS)}},
    {"fcntl", 1, {IS(1, F_GET_SEALS)}},
    {"fcntl", 1, {IS(1, F_SETPIPE_SZ)}},
    {"fcntl", 1, {IS(1, F_GETPIPE_SZ)}},
    {"prctl", 1, {IS(0, PR_SET_NAME)}},
    {"prctl", 1, {IS(0, PR_GET_NAME)}},
    {"prctl", 1, {IS(0, PR_SET_VMA)}}, /* glibc names its memory */
    {"prctl", 1, {IS(0, PR_SET_TIMERSLACK)}},
    {"prctl", 1, {IS(0, PR_GET_DUMPABLE)}},
    {"prctl", 1, {IS(0, PR_GET_NO_NEW_PRIVS)}},
    {"prctl", 1, {IS(0, PR_CAPBSET_READ)}},
    {"sched_setscheduler", 1, {IS(1, SCHED_OTHER)}},
    {"sched_setscheduler", 1, {IS(1, SCHED_BATCH)}},
    {"sched_setscheduler", 1, {IS(1, SCHED_IDLE)}},
    {"prlimit64", 1, {IS(0, 0)}},
};

/* Those on ourselves. */
static const char *const on_own_pid[] = {"kill", "tgkill", "prlimit64"};

/* A name that this machine, or this libseccomp, does not have is left out. */
static int add(scmp_filter_ctx f, uint32_t action, const char *name, unsigned n, const struct scmp_arg_cmp *arg)
{
	int nr = seccomp_syscall_resolve_name(name);
	int r = nr < 0 ? 0 : seccomp_rule_add_array(f, action, nr, n, arg);

	return r == -EDOM ? 0 : r;
}

static int add_allowed(scmp_filter_ctx f)
{
	struct scmp_arg_cmp own = IS(0, getpid());
	int r = 0;

	for (unsigned i = 0; i < VX_ARRAY_LEN(allowed) && r == 0; i++)
		r = add(f, SCMP_ACT_ALLOW, allowed[i], 0, NULL);
	for (unsigned i = 0; i < VX_ARRAY_LEN(rules) && r == 0; i++)
		r = add(f, SCMP_ACT_ALLOW, rules[i].name, rules[i].n, rules[i].arg);
	for (unsigned i = 0; i < VX_ARRAY_LEN(on_own_pid) && r == 0; i++)
		r = add(f, SCMP_ACT_ALLOW, on_own_pid[i], 1, &own);
	return r;
}

static int add_missing(scmp_filter_ctx f)
{
	int r = 0;

	for (unsigned i = 0; i < VX_ARRAY_LEN(missing) && r == 0; i++)
		r = add(f, SCMP_ACT_ERRNO(ENOSYS), missing[i], 0, NULL);
	for (int nr = FIRST_NEW; nr <= LAST_NEW && r == 0; nr++)
		r = seccomp_rule_add_array(f, SCMP_ACT_ERRNO(ENOSYS), nr, 0, NULL);
	return r;
}

/* Nothing that the server runs comes from outside, so it needs no slower memory against speculation; and a search
 * instead of a walk through the list of calls. */
static int tune(scmp_filter_ctx f)
{
	seccomp_attr_set(f, SCMP_FLTATR_CTL_SSB, 1);
	seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
}

int vx_seccomp_enter(struct vx_layer *ret)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = f ? tune(f) : -ENOMEM;

	if (r == 0)
		r = add_allowed(f);
	if (r == 0)
		r = add_missing(f);
	if (r == 0)
		r = seccomp_load(f);
	if (f)
		seccomp_release(f);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return vx_layer_off(ret, "the kernel refuses the filter: %s", strerror(-r));
	ret->on = true;
	return 0;
}
