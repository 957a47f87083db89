/* SPDX-License-Identifier: Apache-2.0
 * Landlock: what is handled and not granted is denied. Each version of its ABI handles more; we ask for all that the
 * kernel knows. The numbers are written here because the headers of older systems lack the newer ones.
 */
#include "fs/sandbox_layers.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444 /* the same on every architecture */
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

#define GET_VERSION 1u
#define RULE_PATH_BENEATH 1

struct ruleset {
	uint64_t fs, net, scoped;
};

struct path_rule {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

enum {
	FS_EXECUTE = 1 << 0,
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REMOVE_DIR = 1 << 4,
	FS_REMOVE_FILE = 1 << 5,
	FS_MAKE_DIR = 1 << 7,
	FS_MAKE_REG = 1 << 8,
	FS_ALL_1 = (1 << 13) - 1,
	FS_REFER = 1 << 13,
	FS_TRUNCATE = 1 << 14,
	FS_IOCTL_DEV = 1 << 15,
	NET_BIND_TCP = 1 << 0,
	SCOPE_ABSTRACT_UNIX = 1 << 0,
	SCOPE_SIGNAL = 1 << 1,
};

#define READS (FS_READ_FILE | FS_READ_DIR)
#define WRITES \
	(READS | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_REFER | FS_TRUNCATE)
#define OF_A_FILE (FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE)

/* What resolving a name and trusting a certificate read; no folder that holds private keys, which uid 0 could read.
 * libcurl's libraries look at /dev/urandom, too. */
static const char *const system_files[] = {
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/networks",
    "/etc/localtime",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust/extracted",
    "/etc/crypto-policies",
    "/etc/ca-certificates",
    "/usr/lib/ssl/certs",
    "/usr/lib/ssl/openssl.cnf",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/usr/share/zoneinfo",
    "/dev/urandom",
};
static const char *const system_variables[] = {"CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"};

static struct ruleset ruleset_of(unsigned abi)
{
	return (struct ruleset){
	    .fs = (uint64_t)FS_ALL_1 | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) |
		  (abi >= 5 ? FS_IOCTL_DEV : 0),
	    .net = abi >= 4 ? NET_BIND_TCP : 0,
	    .scoped = abi >= 6 ? SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL : 0,
	};
}

static int allow_fd(int rules, int fd, uint64_t access)
{
	struct path_rule rule = {.allowed = access, .fd = fd};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		rule.allowed &= OF_A_FILE;
	return syscall(SYS_landlock_add_rule, rules, RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

/* What cannot even be reached needs no permission. */
static int allow_path(int rules, const char *path, uint64_t access)
{
	VX_AUTO_CLOSE int fd = open(path, O_PATH | O_CLOEXEC);

	return fd < 0 ? 0 : allow_fd(rules, fd, access);
}

/* A link into /run leads to a file that its owner replaces with every change of network: allow its directory. */
static int allow_changing_file(int rules, const char *path, uint64_t access)
{
	VX_AUTO_FREE char *target = realpath(path, NULL);
	char *slash = target ? strrchr(target, '/') : NULL;

	if (!slash || strncmp(target, "/run/", 5) || slash == target + 4)
		return 0;
	*slash = 0;
	return allow_path(rules, target, access);
}

static int allow_system(int rules, uint64_t handled)
{
	uint64_t access = READS & handled;
	int r = 0;

	for (unsigned i = 0; i < VX_ARRAY_LEN(system_files) && r == 0; i++)
		r = allow_path(rules, system_files[i], access);
	for (unsigned i = 0; i < VX_ARRAY_LEN(system_variables) && r == 0; i++)
		if (getenv(system_variables[i]))
			r = allow_path(rules, getenv(system_variables[i]), access);
	if (r == 0)
		r = allow_path(rules, "/dev/null", access | (handled & OF_A_FILE));
	/* Files of /etc are changed by renaming, which a rule for one file does not survive. Who is not root may read
	 * only what is meant for it there. */
	if (r == 0 && geteuid() != 0)
		r = allow_path(rules, "/etc", access);
	return r < 0 ? r : allow_changing_file(rules, "/etc/resolv.conf", access);
}

static int allow_trees(int rules, const struct vx_sandbox_tree *t, unsigned n, uint64_t access)
{
	int r = 0;

	for (unsigned i = 0; i < n && r == 0; i++)
		r = t[i].path ? allow_path(rules, t[i].path, access) : allow_fd(rules, t[i].fd, access);
	return r;
}

static int allow_all(const struct vx_sandbox *s, int rules, uint64_t handled)
{
	int r = allow_system(rules, handled);

	if (r == 0)
		r = allow_trees(rules, s->read, s->nread, READS & handled);
	return r < 0 ? r : allow_trees(rules, s->write, s->nwrite, WRITES & handled);
}

int vx_landlock_enter(const struct vx_sandbox *s, struct vx_layer *ret, unsigned *ret_abi)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, GET_VERSION);
	VX_AUTO_CLOSE int rules = -1;
	struct ruleset all;
	int r;

	*ret_abi = 0;
	if (abi < 1)
		return vx_layer_off(ret, "the kernel does not have it (%s)", strerror(errno));
	all = ruleset_of((unsigned)abi);
	rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
	if (rules < 0)
		return vx_layer_off(ret, "the kernel refuses it: %s", strerror(errno));
	r = allow_all(s, rules, all.fs);
	if (r < 0)
		return vx_layer_off(ret, "the kernel refuses its rules: %s", strerror(-r));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		return vx_layer_off(ret, "the kernel does not enforce it: %s", strerror(errno));
	*ret_abi = (unsigned)abi;
	ret->on = true;
	return 0;
}
