/* SPDX-License-Identifier: Apache-2.0
 * The order: load what would be loaded later, Landlock, seccomp, and then look at what is in force, so that the report
 * tells what is, not what was asked for.
 */
#include "fs/sandbox.h"
#include "fs/sandbox_layers.h"

#include <ctype.h>
#include <dlfcn.h>
#include <jansson.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

int vx_layer_off(struct vx_layer *l, const char *fmt, ...)
{
	va_list ap;

	l->on = false;
	va_start(ap, fmt);
	vsnprintf(l->why, sizeof l->why, fmt, ap);
	va_end(ap);
	return 0;
}

/* ---- what would be loaded later ---- */

/* Loaded once, a library stays, and glibc finds it by its name without mapping anything. */
static void preload(const char *library)
{
	(void)dlopen(library, RTLD_NOW | RTLD_NODELETE);
}

/* "hosts: files mdns4_minimal [NOTFOUND=return] dns" */
static void preload_services(char *line)
{
	char *rest = NULL;

	for (char *w = strtok_r(line, " \t\n", &rest); w; w = strtok_r(NULL, " \t\n", &rest)) {
		char library[128];

		if (*w == '#')
			return;
		if (!isalnum((unsigned char)*w) || strchr(w, '/') ||
		    snprintf(library, sizeof library, "libnss_%s.so.2", w) >= (int)sizeof library)
			continue;
		preload(library);
	}
}

static void preload_resolver(void)
{
	FILE *f = fopen("/etc/nsswitch.conf", "re");
	char line[1024];

	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, "hosts:", 6))
			preload_services(line + 6);
	if (f)
		fclose(f);
}

/* ---- what is in force ---- */

static void look_at_user(struct vx_sandbox_report *r)
{
	r->uid = geteuid();
	r->gid = getegid();
	r->user.on = r->uid != 0;
	if (!r->user.on)
		vx_layer_off(&r->user, "the server works as root, whom the source or runas= asks for");
}

static void look_at_capabilities(struct vx_layer *l)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct c[_LINUX_CAPABILITY_U32S_3] = {0};

	l->on = syscall(SYS_capget, &head, c) == 0;
	for (unsigned i = 0; i < VX_ARRAY_LEN(c); i++)
		l->on = l->on && !(c[i].permitted | c[i].effective | c[i].inheritable);
	if (!l->on)
		vx_layer_off(l, "the server has capabilities, as it has not taken its identity");
}

static void look_at_new_privileges(struct vx_layer *l)
{
	l->on = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
	if (!l->on)
		vx_layer_off(l, "the kernel refuses it");
}

/* ---- entering ---- */

#ifdef VX_SANITIZED
/* Their runtimes attach to their own process, load symbols and write reports at any time. */
static int enter_layers(const struct vx_sandbox *s, struct vx_sandbox_report *ret)
{
	static const char why[] = "this is a build with sanitizers, which need what it forbids";

	(void)s;
	vx_layer_off(&ret->landlock, "%s", why);
	return vx_layer_off(&ret->seccomp, "%s", why);
}
#else
static int enter_layers(const struct vx_sandbox *s, struct vx_sandbox_report *ret)
{
	int r = vx_landlock_enter(s, &ret->landlock, &ret->landlock_abi);

	return r < 0 ? r : vx_seccomp_enter(&ret->seccomp);
}
#endif

int vx_sandbox_enter(const struct vx_sandbox *s, struct vx_sandbox_report *ret)
{
	int r;

	*ret = (struct vx_sandbox_report){0};
	tzset();
	preload("libgcc_s.so.1"); /* glibc ends threads with it */
	preload_resolver();
	r = enter_layers(s, ret);
	if (r < 0)
		return r;
	look_at_user(ret);
	look_at_capabilities(&ret->capabilities);
	look_at_new_privileges(&ret->no_new_privs);
	if (s->probe)
		vx_sandbox_probe(s, ret);
	return 0;
}

/* ---- telling ---- */

static json_t *layer_json(const struct vx_layer *l)
{
	json_t *o = json_pack("{s:b}", "on", l->on);

	if (!l->on)
		json_object_set_new(o, "reason", json_string(l->why));
	return o;
}

json_t *vx_sandbox_json(const struct vx_sandbox_report *r)
{
	json_t *root = json_pack("{s:I,s:I}", "uid", (json_int_t)r->uid, "gid", (json_int_t)r->gid);
	json_t *landlock = layer_json(&r->landlock), *probe;

	json_object_set_new(root, "user", layer_json(&r->user));
	json_object_set_new(root, "capabilities", layer_json(&r->capabilities));
	json_object_set_new(root, "no_new_privs", layer_json(&r->no_new_privs));
	json_object_set_new(root, "seccomp", layer_json(&r->seccomp));
	json_object_set_new(landlock, "abi", json_integer((json_int_t)r->landlock_abi));
	json_object_set_new(root, "landlock", landlock);
	if (!r->nprobes)
		return root;
	probe = json_object();
	for (unsigned i = 0; i < r->nprobes; i++)
		json_object_set_new(probe, r->probe[i].what,
				    json_string(r->probe[i].code ? vx_errno_name(r->probe[i].code) : "done"));
	json_object_set_new(root, "probe", probe);
	return root;
}
