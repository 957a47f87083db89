/* SPDX-License-Identifier: Apache-2.0
 * Each option of -o is a line of the table below. What mount(8) and fstab add for themselves is taken without effect;
 * anything else unknown is an error, because a misspelt option that is ignored costs its user a day.
 */
#include "fs/options.h"
#include "base/check.h"

#include <ctype.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

/* ---- values ---- */

bool vx_parse_bytes(const char *text, uint64_t whole, uint64_t *ret)
{
	char *end;
	double v, unit = 1;

	if (!isdigit((unsigned char)text[0]))
		return false;
	v = strtod(text, &end);
	switch (toupper((unsigned char)*end)) {
	case 'T':
		unit *= 1024;
		__attribute__((fallthrough));
	case 'G':
		unit *= 1024;
		__attribute__((fallthrough));
	case 'M':
		unit *= 1024;
		__attribute__((fallthrough));
	case 'K':
		unit *= 1024;
		end++;
		break;
	case '%':
		unit = (double)whole / 100;
		end++;
		if (v > 100)
			return false;
		break;
	default:
		break;
	}
	if (*end || !(v * unit < 4.6e18))
		return false;
	*ret = (uint64_t)(v * unit);
	return true;
}

static uint64_t cgroup_limit(void)
{
	char line[PATH_MAX], path[PATH_MAX + 64];
	unsigned long long limit = ULLONG_MAX;
	FILE *f = fopen("/proc/self/cgroup", "re");

	if (!f)
		return UINT64_MAX;
	while (fgets(line, sizeof line, f)) {
		FILE *m;

		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "0::", 3))
			continue;
		snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", line + 3);
		m = fopen(path, "re");
		if (m && fscanf(m, "%llu", &limit) != 1)
			limit = ULLONG_MAX; /* "max" */
		if (m)
			fclose(m);
	}
	fclose(f);
	return limit;
}

uint64_t vx_memory_limit(void)
{
	struct sysinfo si;

	if (sysinfo(&si) < 0)
		return cgroup_limit();
	return vx_min_u64((uint64_t)si.totalram * si.mem_unit, cgroup_limit());
}

static bool parse_id(const char *text, uint32_t *ret)
{
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	n = strtoull(text, &end, 10);
	*ret = (uint32_t)n;
	return !*end && n < UINT32_MAX; /* the last one means nobody at all in system calls */
}

bool vx_parse_user(const char *text, uid_t *uid, gid_t *gid)
{
	const struct passwd *p;
	bool number = parse_id(text, uid);

	p = number ? getpwuid(*uid) : getpwnam(text);
	if (p) {
		*uid = p->pw_uid;
		*gid = p->pw_gid;
	}
	return p || number;
}

bool vx_parse_group(const char *text, gid_t *ret)
{
	const struct group *g;

	if (parse_id(text, ret))
		return true;
	g = getgrnam(text);
	if (g)
		*ret = g->gr_gid;
	return g;
}

/* ---- the table ---- */

enum kind { TEXT, BYTES, SPACE, COUNT, SECONDS, AGE, OCTAL, USER, GROUP, CHOICE, SWITCH, HIDDEN_SWITCH, ACCEPTED };

struct choice {
	const char *word;
	int value;
};

static const struct choice missing_words[] = {{"error", false}, {"fill", true}, {NULL, 0}};
static const struct choice zerocopy_words[] = {
    {"auto", VX_ZEROCOPY_AUTO}, {"passthrough", VX_ZEROCOPY_PASSTHROUGH}, {"off", VX_ZEROCOPY_OFF}, {NULL, 0}};
static const struct choice policy_words[] = {
    {"affinity", VX_POLICY_AFFINITY}, {"morton", VX_POLICY_MORTON}, {"fifo", VX_POLICY_FIFO}, {NULL, 0}};

static const struct choice hedge_words[] = {{"auto", true}, {"off", false}, {NULL, 0}};

#define F(field) offsetof(struct vx_options, field)
#define UNSET (VX_CHECK_MOUNT - 1)
#define BYTE_WORDS "bytes, with K, M, G, T, or a % of memory"

static const struct option {
	const char *name;
	enum kind kind;
	size_t field;
	const struct choice *words;
	uint64_t min, max; /* SECONDS: min 1 means more than none */
	const char *help;
} table[] = {
    {"name", TEXT, F(name), NULL, 0, 0, "name of the volume's folder (default: last part of SOURCE)"},
    {"cache", BYTES, F(cache), NULL, (uint64_t)1 << 20, (uint64_t)1 << 62,
     "hard limit of cached data: " BYTE_WORDS " (default 25%)"},
    {"eager", BYTES, F(eager), NULL, 0, (uint64_t)1 << 62,
     "boxes up to this size are filled when opened, larger ones where they are read (default: a quarter of cache)"},
    {"threads", COUNT, F(threads), NULL, 1, 1024, "decoding threads (default: one for each processor)"},
    {"connections", COUNT, F(connections), NULL, 1, 4096, "requests at once to remote stores (default 64)"},
    {"hedge", CHOICE, F(hedge), hedge_words, 0, 0,
     "a second request beside one that lags far behind the usual: auto (default), off"},
    {"missing", CHOICE, F(fill_missing), missing_words, 0, 0, "a chunk that is not there is: error (default), fill"},
    {"zerocopy", CHOICE, F(zerocopy), zerocopy_words, 0, 0, "auto (default), passthrough (or fail), off"},
    {"warm", BYTES, F(warm), NULL, 0, (uint64_t)1 << 62,
     "hold up to this much of the unused cache ready, touched in the background: " BYTE_WORDS
     " (default: a quarter of cache; all of it on a virtual machine)"},
    {"policy", CHOICE, F(policy), policy_words, 0, 0, "order of chunks: affinity (default), morton, fifo"},
    {"tries", COUNT, F(tries), NULL, 1, 100, "attempts at each request to a remote store (default 5)"},
    {"timeout", SECONDS, F(timeout), NULL, 1, 86400,
     "seconds until an open or a read that waits fails with ETIMEDOUT (default 300)"},
    {"connect_timeout", SECONDS, F(connect_timeout), NULL, 0, 86400, "seconds to reach a host (default 10)"},
    {"stall", SECONDS, F(stall), NULL, 0, 86400,
     "seconds without a byte before a transfer is tried again (default 15)"},
    {"wait", SECONDS, F(wait), NULL, 0, 86400, "seconds an open waits for space before ENOSPC (default 10)"},
    {"diskcache", TEXT, F(diskcache), NULL, 0, 0,
     "directory that keeps on disk what remote stores sent; several mounts may share it"},
    {"diskcache_size", SPACE, F(diskcache_size), NULL, (uint64_t)1 << 20, (uint64_t)1 << 62,
     "its limit: bytes, with K, M, G, T, or a % of its filesystem (default 10%)"},
    {"diskcache_check", AGE, F(diskcache_check), NULL, 0, 0,
     "ask the store whether what is there still holds: never (default), mount (once in each mount), or when it is\n"
     "                  older than this many seconds"},
    {"allow_other", SWITCH, F(allow_other), NULL, 0, 0, "other users may read the mount too"},
    {"uid", USER, F(uid), NULL, 0, 0, "whom files belong to: a name or a number (default: who mounts)"},
    {"gid", GROUP, F(gid), NULL, 0, 0, "their group: a name or a number"},
    {"umask", OCTAL, F(umask), NULL, 0, 0777, "permissions that files and directories lack, octal (default 0)"},
    {"runas", TEXT, F(runas), NULL, 0, 0,
     "USER[:GROUP] as whom the server works when root mounts (default: voxfs, else nobody, else an owner of what it\n"
     "                  must read: local sources, credentials and certificates, the disk cache)"},
    {"sandbox_probe", HIDDEN_SWITCH, F(sandbox_probe), NULL, 0, 0, ""},
    {"debug", SWITCH, F(debug), NULL, 0, 0, "log more"},
    {"ro", ACCEPTED, 0, NULL, 0, 0, "the mount is always read-only"},
};

/* What mount(8), fstab and systemd say for themselves. The mount is nosuid, nodev, noexec and read-only whatever they
 * say. */
static const char *const accepted[] = {"rw",         "dev",
				       "nodev",      "suid",
				       "nosuid",     "exec",
				       "noexec",     "defaults",
				       "auto",       "noauto",
				       "user",       "users",
				       "nouser",     "owner",
				       "group",      "_netdev",
				       "nofail",     "async",
				       "relatime",   "noatime",
				       "nodiratime", "default_permissions"};

static bool is_accepted(const char *key)
{
	for (unsigned i = 0; i < VX_ARRAY_LEN(accepted); i++)
		if (!strcmp(key, accepted[i]))
			return true;
	return !strncmp(key, "x-", 2) || !strcmp(key, "comment");
}

static int set_choice(struct vx_options *o, const struct option *t, const char *value, struct vx_err *e)
{
	char all[100] = "";

	for (const struct choice *c = t->words; c->word; c++) {
		if (!strcmp(c->word, value)) {
			if (t->words == missing_words || t->words == hedge_words)
				*(bool *)((char *)o + t->field) = c->value;
			else
				memcpy((char *)o + t->field, &c->value, sizeof c->value);
			return 0;
		}
		snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", all[0] ? ", " : "", c->word);
	}
	return vx_fail(e, -EINVAL, "option %s=%s: must be one of %s", t->name, value, all);
}

/* A number of `len` bytes that is not negative. */
static bool parse_plain(const char *text, size_t len, double *ret)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	*ret = strtod(text, &end);
	return end == text + len;
}

static int set_number(struct vx_options *o, const struct option *t, const char *value, struct vx_err *e)
{
	uint64_t n;
	char *end;

	if (t->kind == BYTES) {
		if (!vx_parse_bytes(value, vx_memory_limit(), &n))
			return vx_fail(e, -EINVAL, "option %s=%s: not a number of %s", t->name, value, BYTE_WORDS);
	} else if (t->kind == SECONDS) {
		double s = strtod(value, &end);

		if (!isdigit((unsigned char)value[0]) || *end || s > (double)t->max)
			return vx_fail(e, -EINVAL, "option %s=%s: not a number of seconds", t->name, value);
		if (t->min && s <= 0)
			return vx_fail(e, -EINVAL, "option %s=%s: must be more than 0", t->name, value);
		memcpy((char *)o + t->field, &s, sizeof s);
		return 0;
	} else {
		n = strtoull(value, &end, t->kind == OCTAL ? 8 : 10);
		if (!isdigit((unsigned char)value[0]) || *end)
			return vx_fail(e, -EINVAL, "option %s=%s: not %s number", t->name, value,
				       t->kind == OCTAL ? "an octal" : "a");
	}
	if ((n < t->min || n > t->max) && t->kind == OCTAL)
		return vx_fail(e, -EINVAL, "option %s=%s: must be at most %llo", t->name, value,
			       (unsigned long long)t->max);
	if (n < t->min || n > t->max)
		return vx_fail(e, -EINVAL, "option %s=%s: must be between %llu and %llu", t->name, value,
			       (unsigned long long)t->min, (unsigned long long)t->max);
	memcpy((char *)o + t->field, &n, sizeof n);
	return 0;
}

static int set_owner(struct vx_options *o, const struct option *t, const char *value, struct vx_err *e)
{
	uint64_t id;
	uid_t uid;
	gid_t gid;

	if (t->kind == USER ? !vx_parse_user(value, &uid, &gid) : !vx_parse_group(value, &gid))
		return vx_fail(e, -EINVAL, "option %s=%s: there is no such %s", t->name, value,
			       t->kind == USER ? "user" : "group");
	id = t->kind == USER ? uid : gid;
	memcpy((char *)o + t->field, &id, sizeof id);
	return 0;
}

static int set_text(struct vx_options *o, const struct option *t, const char *value, struct vx_err *e)
{
	char **field = (char **)((char *)o + t->field);

	free(*field);
	*field = strdup(value);
	return *field ? 0 : vx_no_memory(e);
}

/* A percentage is of a filesystem that is not known yet. */
static int set_space(struct vx_options *o, const struct option *t, const char *value, struct vx_err *e)
{
	size_t len = strlen(value);

	o->diskcache_percent = 0;
	o->diskcache_size = 0;
	if (value[len - 1] != '%') {
		if (!vx_parse_bytes(value, 0, &o->diskcache_size) || o->diskcache_size < t->min)
			return vx_fail(e, -EINVAL, "option %s=%s: not a number of bytes from 1M on", t->name, value);
		return 0;
	}
	if (!parse_plain(value, len - 1, &o->diskcache_percent) || o->diskcache_percent <= 0 ||
	    o->diskcache_percent > 100)
		return vx_fail(e, -EINVAL, "option %s=%s: a percentage is more than 0 and at most 100", t->name, value);
	return 0;
}

static int set_age(struct vx_options *o, const struct option *t, const char *value, struct vx_err *e)
{
	double seconds;

	if (!strcmp(value, "never"))
		o->diskcache_check = VX_CHECK_NEVER;
	else if (!strcmp(value, "mount"))
		o->diskcache_check = VX_CHECK_MOUNT;
	else if (parse_plain(value, strlen(value), &seconds) && seconds <= 1e9)
		o->diskcache_check = (uint64_t)(seconds * 1e9);
	else
		return vx_fail(e, -EINVAL, "option %s=%s: must be never, mount or a number of seconds", t->name, value);
	return 0;
}

static int set_value(struct vx_options *o, const struct option *t, const char *value, struct vx_err *e)
{
	switch (t->kind) {
	case TEXT:
		return set_text(o, t, value, e);
	case CHOICE:
		return set_choice(o, t, value, e);
	case SPACE:
		return set_space(o, t, value, e);
	case AGE:
		return set_age(o, t, value, e);
	case USER:
	case GROUP:
		return set_owner(o, t, value, e);
	default:
		return set_number(o, t, value, e);
	}
}

static int set_option(struct vx_options *o, const char *key, const char *value, struct vx_err *e)
{
	for (unsigned i = 0; i < VX_ARRAY_LEN(table); i++) {
		const struct option *t = &table[i];

		if (strcmp(key, t->name))
			continue;
		if (t->kind == ACCEPTED)
			return 0;
		if (t->kind == SWITCH || t->kind == HIDDEN_SWITCH) {
			if (value)
				return vx_fail(e, -EINVAL, "option %s takes no value", key);
			*(bool *)((char *)o + t->field) = true;
			return 0;
		}
		if (!value || !value[0])
			return vx_fail(e, -EINVAL, "option %s needs a value", key);
		return set_value(o, t, value, e);
	}
	if (is_accepted(key) || o->sloppy)
		return 0;
	return vx_fail(e, -EINVAL, "unknown option \"%s\"", key);
}

/* Cuts off the next option: commas may be escaped, or stand within double quotes. */
static char *next_option(char **text)
{
	char *s = *text, *w = s, *start = s;
	bool quoted = false;

	if (!s)
		return NULL;
	for (; *s && (quoted || *s != ','); s++) {
		if (*s == '"') {
			quoted = !quoted;
			continue;
		}
		if (*s == '\\' && s[1])
			s++;
		*w++ = *s;
	}
	*text = *s ? s + 1 : NULL;
	*w = 0;
	return start;
}

static int parse_list(struct vx_options *o, const char *list, struct vx_err *e)
{
	VX_AUTO_FREE char *copy = strdup(list);
	char *rest = copy, *item;

	if (!copy)
		return vx_no_memory(e);
	while ((item = next_option(&rest))) {
		char *eq = strchr(item, '=');
		int r;

		if (!item[0])
			continue;
		if (eq)
			*eq++ = 0;
		r = set_option(o, item, eq, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the command line ---- */

static void set_defaults(struct vx_options *o)
{
	*o = (struct vx_options){
	    .cache = vx_memory_limit() / 4,
	    .eager = UINT64_MAX,
	    .warm = UINT64_MAX,
	    .threads = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN),
	    .connections = 64,
	    .hedge = true,
	    .tries = 5,
	    .connect_timeout = 10,
	    .stall = 15,
	    .wait = 10,
	    .timeout = 300,
	    .uid = getuid(),
	    .gid = getgid(),
	    .diskcache_check = UNSET,
	};
}

static int take_argument(struct vx_options *o, const char *arg, struct vx_err *e)
{
	char **slot = !o->source ? &o->source : !o->mountpoint ? &o->mountpoint : NULL;

	if (!slot)
		return vx_fail(e, -EINVAL, "too many arguments: \"%s\"", arg);
	*slot = strdup(arg);
	return *slot ? 0 : vx_no_memory(e);
}

static int take_flag(struct vx_options *o, const char *flag, bool as_helper, struct vx_err *e)
{
	if (!strcmp(flag, "-h") || !strcmp(flag, "--help"))
		o->help = true;
	else if (!strcmp(flag, "-V") || !strcmp(flag, "--version"))
		o->version = true;
	else if (!strcmp(flag, "-f") && as_helper)
		o->fake = true; /* mount(8)'s -f: all but the mount */
	else if (!strcmp(flag, "-f"))
		o->foreground = true;
	else if (!strcmp(flag, "--upgrade"))
		o->upgrade = true;
	else if (!strcmp(flag, "-s"))
		o->sloppy = true;
	else if (strcmp(flag, "-n") && strcmp(flag, "-v"))
		return vx_fail(e, -EINVAL, "unknown flag \"%s\"", flag);
	return 0;
}

static bool is_mount_helper(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');

	return !strncmp(slash ? slash + 1 : argv0, "mount.", 6);
}

/* What belongs to a cache that is not there would be ignored. */
static int check_diskcache(struct vx_options *o, struct vx_err *e)
{
	bool sized = o->diskcache_size || o->diskcache_percent > 0, aged = o->diskcache_check != UNSET;

	if (!o->diskcache && (sized || aged) && !o->sloppy)
		return vx_fail(e, -EINVAL, "option %s needs diskcache=", sized ? "diskcache_size" : "diskcache_check");
	if (!sized)
		o->diskcache_percent = 10;
	if (!aged)
		o->diskcache_check = VX_CHECK_NEVER;
	return 0;
}

int vx_options_parse(struct vx_options *o, int argc, char **argv, struct vx_err *e)
{
	bool as_helper = is_mount_helper(argv[0]), flags = true;
	int r = 0;

	set_defaults(o);
	for (int i = 1; i < argc && r == 0; i++) {
		const char *a = argv[i];

		if (!flags || a[0] != '-' || !a[1]) {
			r = take_argument(o, a, e);
		} else if (!strcmp(a, "--")) {
			flags = false;
		} else if (!strncmp(a, "-o", 2)) {
			const char *list = a[2] ? a + 2 : argv[++i];

			r = list ? parse_list(o, list, e) : vx_fail(e, -EINVAL, "-o needs a list of options");
		} else if (!strcmp(a, "-t") || !strcmp(a, "-N")) {
			i++; /* mount(8) repeats the type, or names a namespace it has entered */
		} else {
			r = take_flag(o, a, as_helper, e);
		}
	}
	if (r < 0 || o->help || o->version)
		return r;
	if (o->upgrade && (!o->source || o->mountpoint))
		return vx_fail(e, -EINVAL, "--upgrade needs a mount point, and nothing else");
	if (!o->upgrade && (!o->source || !o->mountpoint))
		return vx_fail(e, -EINVAL, "a source and a mount point are needed (see --help)");
	if (o->eager == UINT64_MAX)
		o->eager = o->cache / 4;
	return check_diskcache(o, e);
}

void vx_options_free(struct vx_options *o)
{
	free(o->source);
	free(o->mountpoint);
	free(o->name);
	free(o->runas);
	free(o->diskcache);
}

void vx_options_help(const char *program)
{
	printf("usage: %s SOURCE MOUNTPOINT [-f] [-o option,option=value...]\n"
	       "       %s --upgrade MOUNTPOINT\n\n"
	       "Makes any box of a chunked volume a plain file: MOUNTPOINT/<name>/x0-x1_y0-y1_z0-z1.raw\n\n"
	       "SOURCE is a cloudpath (precomputed://file:///data/em, https://host/path) or a JSON file that lists\n"
	       "several volumes. -f stays in the foreground; -h and -V show this text and the version. --upgrade makes "
	       "the\n"
	       "program that is installed now take over a mount, without a break.\n\noptions:\n",
	       program, program);
	for (unsigned i = 0; i < VX_ARRAY_LEN(table); i++)
		if (table[i].kind != HIDDEN_SWITCH)
			printf("  %-15s %s\n", table[i].name, table[i].help);
}
