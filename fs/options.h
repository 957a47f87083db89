/* SPDX-License-Identifier: Apache-2.0
 * The command line: mount(8)'s conventions, one table for parser and help. Pure but for reading memory limits and
 * users.
 */
#ifndef VX_FS_OPTIONS_H
#define VX_FS_OPTIONS_H

#include "base/err.h"
#include "fetch/diskcache.h"
#include "sched/taskq.h"

#include <sys/types.h>

/* Exit statuses, as mount(8) has them. */
#define VX_EXIT_USAGE 1
#define VX_EXIT_MOUNT 32

enum vx_zerocopy { VX_ZEROCOPY_AUTO, VX_ZEROCOPY_PASSTHROUGH, VX_ZEROCOPY_OFF };

struct vx_options {
	char *source, *mountpoint;
	bool foreground, fake, help, version, sloppy;
	bool upgrade; /* of the mount at `source` */
	/* -o */
	char *name;
	uint64_t cache, eager, warm; /* bytes; eager and warm UINT64_MAX: decide by yourself */
	uint64_t threads, connections, tries;
	double connect_timeout, stall, wait; /* seconds */
	double timeout;                      /* seconds until an open or a read that waits is answered with ETIMEDOUT */
	char *diskcache;                     /* a directory, or NULL */
	uint64_t diskcache_size;             /* bytes; 0: the percentage */
	double diskcache_percent;            /* of its filesystem */
	uint64_t diskcache_check;            /* ns, or VX_CHECK_NEVER, VX_CHECK_MOUNT */
	bool fill_missing, hedge, allow_other;
	char *runas;        /* USER[:GROUP]; NULL: decide by yourself (fs/privileges.h) */
	bool sandbox_probe; /* for tests */
	uint64_t uid, gid;  /* whom files belong to: who mounts, if nobody else was named */
	uint64_t umask;
	enum vx_zerocopy zerocopy;
	enum vx_policy policy;
	bool debug;
};

/* -EINVAL and a sentence that names the option. */
int vx_options_parse(struct vx_options *o, int argc, char **argv, struct vx_err *e);
void vx_options_free(struct vx_options *o);
void vx_options_help(const char *program);

/* "512M", "1.5G", "25%" (of `whole`), "4096"; false when malformed or beyond 2^62. */
bool vx_parse_bytes(const char *text, uint64_t whole, uint64_t *ret);

/* By name or by number; false: there is no such one. A number needs no entry; `gid` is set from the entry only. */
bool vx_parse_user(const char *text, uid_t *uid, gid_t *gid);
bool vx_parse_group(const char *text, gid_t *ret);

/* Memory that this process may use: the machine's, or its control group's limit if that is less. */
uint64_t vx_memory_limit(void);

#endif
