/* SPDX-License-Identifier: Apache-2.0
 * Tests against tests/lib/cloudd.py, which checks every signature and token, and knows the servers from which
 * credentials come. Each test is a process of its own with a home of its own, so that it may set what the
 * environment says. Included once in a program.
 */
#ifndef VX_TESTS_CLOUD_FIXTURE_H
#define VX_TESTS_CLOUD_FIXTURE_H

#include "fetch_fixture.h"

#define ID "AKIDEXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

static char home[80];

static inline void write_text(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", home, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static inline void make_dir(const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s%s%s", home, name[0] ? "/" : "", name);
	ck_assert_int_eq(mkdir(path, 0700), 0);
}

static inline void set_home_env(const char *variable, const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", home, name);
	setenv(variable, path, 1);
}

static inline void set_server_env(const char *variable, const char *form)
{
	char text[256];
	const char *at = strstr(form, "%d");

	snprintf(text, sizeof text, "%.*s%d%s", (int)(at - form), form, port, at + 2);
	setenv(variable, text, 1);
}

static inline void start_cloud(void)
{
	static const char *const folders[] = {"b", "b/em", "public", "dots.in.name"};
	char path[128];

	setenv("no_proxy", "*", 1);
	strcpy(top, "/tmp/voxfs-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	for (size_t i = 0; i < VX_ARRAY_LEN(folders); i++) {
		snprintf(path, sizeof path, "%s/%s", top, folders[i]);
		mkdir(path, 0755);
	}
	write_object(5, "b/em/5");
	write_object(6, "b/6");
	write_object(7, "b/em/a b+c=d&e*f~(g)'h!i@j,k;l:m$n\xc3\xbc%20");
	write_object(5, "public/5");
	write_object(5, "dots.in.name/5");
	server_script = "cloudd.py";
	start_server();
}

/* An environment that says nothing, and metadata servers that are there but know nobody. */
static inline void setup_cloud(void)
{
	static const char *const prefixes[] = {"AWS_", "GOOGLE_", "GS_",      "GCE_",  "CLOUD",
					       "BOTO", "NETRC",   "STORAGE_", "NO_GCE"};
	extern char **environ;

	for (char **v = environ; *v;) {
		char name[128];
		bool ours = false;

		snprintf(name, sizeof name, "%.*s", (int)strcspn(*v, "="), *v);
		for (size_t i = 0; i < VX_ARRAY_LEN(prefixes); i++)
			ours |= strncmp(name, prefixes[i], strlen(prefixes[i])) == 0;
		if (ours)
			unsetenv(name);
		else
			v++;
	}
	snprintf(home, sizeof home, "%s/home-%d", top, (int)getpid());
	make_dir("");
	make_dir(".aws");
	make_dir(".cloudvolume");
	make_dir(".cloudvolume/secrets");
	make_dir(".config");
	make_dir(".config/gcloud");
	setenv("HOME", home, 1);
	set_server_env("AWS_ENDPOINT_URL", "http://127.0.0.1:%d");
	set_server_env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:%d/");
	set_server_env("STORAGE_EMULATOR_HOST", "127.0.0.1:%d");
	set_server_env("GCE_METADATA_HOST", "127.0.0.1:%d");
	setup();
}

static inline void state(const char *json)
{
	control("POST", "/__state", json);
}

static inline void accept_keys(const char *session)
{
	char json[300];

	if (session)
		snprintf(json, sizeof json,
			 "{\"keys\": {\"" ID "\": {\"secret\": \"" SECRET "\", \"session\": \"%s\"}}}", session);
	else
		snprintf(json, sizeof json, "{\"keys\": {\"" ID "\": {\"secret\": \"" SECRET "\"}}}");
	state(json);
}

static inline void env_keys(void)
{
	setenv("AWS_ACCESS_KEY_ID", ID, 1);
	setenv("AWS_SECRET_ACCESS_KEY", SECRET, 1);
}

static inline void open_url(const char *url)
{
	struct vx_err e;

	vx_store_close(&store);
	ck_assert_msg(vx_store_open(&store, fetcher, url, &e) == 0, "%s: %s", url, e.why);
}

static inline int asks(const char *what)
{
	int n = stat_of(what);

	return n < 0 ? 0 : n;
}

static inline int run_cloud_tests(const char *name, const TTest *const tests[], size_t count)
{
	Suite *s = suite_create(name);
	TCase *t = tcase_create("cloud");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_unchecked_fixture(t, start_cloud, stop_all);
	tcase_add_checked_fixture(t, setup_cloud, teardown);
	tcase_set_timeout(t, 60);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(t, tests[i]);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}

#endif
