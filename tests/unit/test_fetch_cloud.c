/* SPDX-License-Identifier: Apache-2.0
 * Buckets and credentials against tests/lib/cloudd.py, which checks every signature and token, and knows the servers
 * from which credentials come. Each test is a process of its own with a home of its own, so that it may set what the
 * environment says.
 */
#include "fetch_fixture.h"

#include "base/clock.h"

#define ID "AKIDEXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

static char home[80];

static void write_text(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", home, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void make_dir(const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s%s%s", home, name[0] ? "/" : "", name);
	ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void set_home_env(const char *variable, const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", home, name);
	setenv(variable, path, 1);
}

static void set_server_env(const char *variable, const char *form)
{
	char text[256];
	const char *at = strstr(form, "%d");

	snprintf(text, sizeof text, "%.*s%d%s", (int)(at - form), form, port, at + 2);
	setenv(variable, text, 1);
}

static void start_cloud(void)
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
static void setup_cloud(void)
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

static void state(const char *json)
{
	control("POST", "/__state", json);
}

static void accept_keys(const char *session)
{
	char json[300];

	if (session)
		snprintf(json, sizeof json,
			 "{\"keys\": {\"" ID "\": {\"secret\": \"" SECRET "\", \"session\": \"%s\"}}}", session);
	else
		snprintf(json, sizeof json, "{\"keys\": {\"" ID "\": {\"secret\": \"" SECRET "\"}}}");
	state(json);
}

static void env_keys(void)
{
	setenv("AWS_ACCESS_KEY_ID", ID, 1);
	setenv("AWS_SECRET_ACCESS_KEY", SECRET, 1);
}

static void open_url(const char *url)
{
	struct vx_err e;

	vx_store_close(&store);
	ck_assert_msg(vx_store_open(&store, fetcher, url, &e) == 0, "%s: %s", url, e.why);
}

static int asks(const char *what)
{
	int n = stat_of(what);

	return n < 0 ? 0 : n;
}

/* --- S3 --- */

START_TEST(signed_requests)
{
	accept_keys(NULL);
	env_keys();
	open_url("s3://b/em");
	ck_assert_str_eq(vx_store_url(store), "s3://b/em");
	ck_assert(!vx_store_is_local(store));
	expect("5", 5);
	expect("a b+c=d&e*f~(g)'h!i@j,k;l:m$n\xc3\xbc%20", 7);
	expect("../6", 6);
	expect_error("nothing", -ENODATA, "404, 1 try: s3://b/em/nothing");
	ck_assert_int_eq(asks("imds_token"), 0);
	set_range(100, 50, false);
	expect_part("5", 5, 100, 50);
	set_range(0, 50, true);
	expect_part("5", 5, object_size(5) - 50, 50);
	set_range(0, 0, false);
	strcpy(wishes[0].f.if_none_match, wishes[0].got.etag);
	ck_assert_int_eq(get("5")->got.err.code, 0);
	ck_assert(wishes[0].got.not_modified);
	ck_assert_ptr_null(strstr(control("GET", "/__stats", ""), "SignatureDoesNotMatch"));
}
END_TEST

START_TEST(session_tokens_are_signed)
{
	accept_keys("a+session/token==");
	env_keys();
	setenv("AWS_SESSION_TOKEN", "a+session/token==", 1);
	open_url("s3://b");
	expect("6", 6);
	state("{\"payer\": true}");
	expect_error("6", -EACCES, "403");
	setenv("AWS_REQUEST_PAYER", "requester", 1);
	open_url("s3://b");
	expect("6", 6);
}
END_TEST

START_TEST(spellings)
{
	char url[128];

	accept_keys(NULL);
	env_keys();
	unsetenv("AWS_ENDPOINT_URL");
	snprintf(url, sizeof url, "s3://http://127.0.0.1:%d/b/em/", port);
	open_url(url);
	expect("5", 5);
	snprintf(url, sizeof url, "S3+HTTP://127.0.0.1:%d//b/em", port);
	open_url(url);
	expect("5", 5);
	setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1", 1);
	set_server_env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:%d");
	open_url("s3://dots.in.name");
	expect("5", 5);
}
END_TEST

START_TEST(urls_that_name_no_bucket)
{
	static const struct {
		const char *url, *words;
	} bad[] = {
	    {"s3://", "bucket's name"},
	    {"s3:///a", "bucket's name"},
	    {"s3://a b/c", "bucket's name"},
	    {"s3://../c", "bucket's name"},
	    {"s3://key:secret@b/c", "bucket's name"},
	    {"s3://https://", "host"},
	    {"s3://https://h", "bucket's name"},
	    {"s3://https://key:secret@h/b", "credentials do not belong"},
	    {"s3+https://h:0/b", "port"},
	    {"s3+ftp://h/b", "known ones"},
	    {"gs://", "bucket's name"},
	    {"gs://https://h/b", "bucket's name"},
	};

	for (size_t i = 0; i < VX_ARRAY_LEN(bad); i++) {
		struct vx_store *s = NULL;
		struct vx_err e;

		ck_assert_msg(vx_store_open(&s, fetcher, bad[i].url, &e) == -EINVAL, "accepted %s", bad[i].url);
		ck_assert_msg(strstr(e.why, bad[i].words), "'%s' is not in: %s", bad[i].words, e.why);
		ck_assert_ptr_null(strstr(e.why, "secret@"));
	}
}
END_TEST

START_TEST(regions)
{
	accept_keys(NULL);
	env_keys();
	state("{\"region\": \"eu-central-2\"}");
	open_url("s3://b");
	expect("6", 6); /* told by the server, and remembered */
	expect("em/5", 5);
	ck_assert_int_eq(stat_of("GET /b/6"), 2);
	ck_assert_int_eq(stat_of("GET /b/em/5"), 1);
	setenv("AWS_DEFAULT_REGION", "eu-central-2", 1);
	open_url("s3://b");
	expect("6", 6);
	ck_assert_int_eq(stat_of("GET /b/6"), 3);
	unsetenv("AWS_DEFAULT_REGION");
	write_text(".aws/config",
		   "[profile x]\nregion=nowhere\n[default]\n region = no\nregion = eu-central-2 # mine\n");
	open_url("s3://b");
	expect("6", 6);
	ck_assert_int_eq(stat_of("GET /b/6"), 4);
	setenv("AWS_REGION", "evil.example/", 1);
	{
		struct vx_store *s = NULL;
		struct vx_err e;

		ck_assert_int_eq(vx_store_open(&s, fetcher, "s3://b", &e), -EINVAL);
	}
}
END_TEST

START_TEST(anonymous)
{
	state("{\"public\": [\"public\"]}");
	open_url("s3://public");
	expect("5", 5);
	ck_assert_ptr_null(strstr(control("GET", "/__stats", ""), "authorization"));
	ck_assert_int_eq(asks("imds_role"), 1);
	expect("5", 5);
	ck_assert_int_eq(asks("imds_role"), 1);
	open_url("s3://b");
	expect_error("6", -EACCES, "403, 1 try");
	setenv("AWS_EC2_METADATA_DISABLED", "True", 1);
	renew_fetcher();
	open_url("s3://public");
	expect("5", 5);
	ck_assert_int_eq(asks("imds_role"), 2);
}
END_TEST

START_TEST(wrong_keys)
{
	accept_keys(NULL);
	setenv("AWS_ACCESS_KEY_ID", ID, 1);
	setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret", 1);
	open_url("s3://b");
	expect_error("6", -EACCES, "HTTP status 403");
	ck_assert_ptr_null(strstr(wishes[0].got.err.why, "wrong"));
	ck_assert_int_eq(stat_of("GET /b/6"), 2); /* looked for others once, in vain */
	expect_error("6", -EACCES, "HTTP status 403");
	ck_assert_int_eq(stat_of("GET /b/6"), 3);
}
END_TEST

START_TEST(keys_of_profiles)
{
	accept_keys("s");
	write_text(".aws/credentials",
		   "# mine\n[default]\naws_access_key_id = no\naws_secret_access_key = no\n\n"
		   "[work]\naws_access_key_id=" ID "\naws_secret_access_key = " SECRET "\naws_session_token = s\n");
	setenv("AWS_PROFILE", "work", 1);
	open_url("s3://b");
	expect("6", 6);
	set_home_env("AWS_SHARED_CREDENTIALS_FILE", "elsewhere");
	write_text(".aws/config", "[profile work]\naws_access_key_id = " ID "\naws_secret_access_key = " SECRET
				  "\naws_session_token = s\n");
	renew_fetcher();
	open_url("s3://b");
	expect("6", 6);
	setenv("AWS_PROFILE", "play", 1);
	renew_fetcher();
	open_url("s3://b");
	expect_error("6", -EACCES, "AWS_PROFILE names the profile 'play'");
	write_text(".aws/config", "[profile play]\nsso_session = corporate\n");
	renew_fetcher();
	open_url("s3://b");
	expect_error("6", -EACCES, "by sso_session, which voxfs does not do");
}
END_TEST

START_TEST(keys_of_cloudvolume)
{
	static const char good[] = "{\"AWS_ACCESS_KEY_ID\": \"" ID "\", \"AWS_SECRET_ACCESS_KEY\": \"" SECRET
				   "\", \"AWS_DEFAULT_REGION\": \"x\"}";

	accept_keys(NULL);
	state("{\"region\": \"x\"}");
	write_text(".cloudvolume/secrets/aws-secret.json", good);
	open_url("s3://b");
	expect("6", 6);
	ck_assert_int_eq(stat_of("GET /b/6"), 1);
	write_text(".cloudvolume/secrets/aws-secret.json",
		   "{\"AWS_ACCESS_KEY_ID\": \"no\", \"AWS_SECRET_ACCESS_KEY\": \"no\"}");
	write_text(".cloudvolume/secrets/b-aws-secret.json", good);
	renew_fetcher();
	open_url("s3://b");
	expect("6", 6);
	write_text(".cloudvolume/secrets/b-aws-secret.json", "{\"AWS_ACCESS_KEY_ID\": \"" SECRET "\"}");
	renew_fetcher();
	open_url("s3://b");
	expect_error("6", -EACCES, "b-aws-secret.json: AWS credentials lack");
	ck_assert_ptr_null(strstr(wishes[0].got.err.why, SECRET));
	write_text(".cloudvolume/secrets/b-aws-secret.json", "{\"" SECRET);
	renew_fetcher();
	open_url("s3://b");
	expect_error("6", -EBADMSG, "is no JSON object");
	ck_assert_ptr_null(strstr(wishes[0].got.err.why, SECRET));
}
END_TEST

#define ISSUE(seconds) \
	"{\"issue\": {\"id\": \"ASIA\", \"secret\": \"s/s+\", \"session\": \"t==\", \"seconds\": " #seconds "}}"

START_TEST(role_of_the_machine)
{
	state(ISSUE(3600));
	open_url("s3://b");
	expect("6", 6);
	expect("em/5", 5);
	ck_assert_int_eq(asks("imds_token"), 1);
	ck_assert_int_eq(asks("imds_keys"), 1);
	/* Keys are revoked: new ones are asked for once, and nobody fails. */
	state("{\"keys\": {}}");
	for (unsigned i = 1; i < 20; i++)
		submit(i, "6");
	for (unsigned i = 1; i < 20; i++) {
		await(&wishes[i]);
		ck_assert_msg(wishes[i].got.err.code == 0, "%s", wishes[i].got.err.why);
	}
	ck_assert_int_eq(asks("imds_keys"), 2);
}
END_TEST

START_TEST(keys_are_renewed_before_their_end)
{
	uint64_t searches = vx_ledger.store_tokens;

	state(
	    ISSUE(200)); /* less than the five minutes that are kept in reserve, so at once, but not again and again */
	open_url("s3://b");
	for (unsigned i = 0; i < 50; i++)
		expect("6", 6);
	ck_assert_int_eq(asks("imds_keys"), 1);
	ck_assert_uint_eq(vx_ledger.store_tokens, searches + 1);
}
END_TEST

START_TEST(keys_of_the_container)
{
	state(ISSUE(3600));
	state("{\"gate\": \"let me in\"}");
	set_server_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:%d/ecs");
	write_text("gate", "let me in\n");
	set_home_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "gate");
	open_url("s3://b");
	expect("6", 6);
	ck_assert_int_eq(asks("ecs"), 1);
	ck_assert_int_eq(asks("imds_token"), 0);
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.org/ecs", 1);
	renew_fetcher();
	open_url("s3://b");
	expect_error("6", -EACCES, "neither https nor on this machine");
}
END_TEST

START_TEST(keys_of_a_web_identity)
{
	state(ISSUE(3600));
	write_text("web", "web/id=\n");
	set_home_env("AWS_WEB_IDENTITY_TOKEN_FILE", "web");
	setenv("AWS_ROLE_ARN", "arn:role/x+y", 1);
	set_server_env("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:%d/sts");
	open_url("s3://b");
	expect("6", 6);
	ck_assert_int_eq(asks("sts"), 1);
	setenv("AWS_ROLE_ARN", "arn:other", 1);
	renew_fetcher();
	open_url("s3://b");
	expect_error("6", -EACCES, "AWS STS answers");
}
END_TEST

START_TEST(a_search_that_fails_is_not_repeated_for_each_request)
{
	state(ISSUE(3600));
	state("{\"fail\": {\"imds_role\": [500, 500, 500, 500, 500, 500, 500]}}");
	open_url("s3://b");
	expect_error("6", -EACCES, "metadata service answers a request for AWS credentials with HTTP status 500");
	for (unsigned i = 0; i < 5; i++)
		expect_error("6", -EACCES, "status 500");
	ck_assert_int_eq(asks("imds_role"), 1);
}
END_TEST

/* --- Google --- */

static char modulus[2000];

static void make_rsa_key(void)
{
	char command[400], line[2000];
	FILE *p;

	snprintf(command, sizeof command,
		 "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out %s/key 2>/dev/null && "
		 "openssl rsa -in %s/key -noout -modulus",
		 home, home);
	p = popen(command, "r");
	ck_assert_ptr_nonnull(fgets(line, sizeof line, p));
	pclose(p);
	ck_assert_int_eq(sscanf(line, "Modulus=%1999s", modulus), 1);
}

static void write_service_account(const char *name, const char *mail)
{
	char path[256], text[8000];
	size_t n;
	FILE *f;

	n = (size_t)snprintf(text, sizeof text,
			     "{\"type\": \"service_account\", \"client_email\": \"%s\", \"private_key_id\": \"1\", "
			     "\"token_uri\": \"http://127.0.0.1:%d/token\", \"private_key\": \"",
			     mail, port);
	snprintf(path, sizeof path, "%s/key", home);
	f = fopen(path, "r");
	for (int c; (c = fgetc(f)) != EOF;)
		n += (size_t)snprintf(text + n, sizeof text - n, "%s", c == '\n' ? "\\n" : (char[]){(char)c, 0});
	fclose(f);
	snprintf(text + n, sizeof text - n, "\"}");
	write_text(name, text);
}

START_TEST(service_accounts)
{
	char json[2200];

	make_rsa_key();
	snprintf(json, sizeof json, "{\"oauth\": {\"n\": \"%s\", \"iss\": \"me@x\"}}", modulus);
	state(json);
	write_service_account("account.json", "me@x");
	set_home_env("GOOGLE_APPLICATION_CREDENTIALS", "account.json");
	open_url("gs://b/em");
	ck_assert_str_eq(vx_store_url(store), "gs://b/em");
	expect("5", 5);
	expect("a b+c=d&e*f~(g)'h!i@j,k;l:m$n\xc3\xbc%20", 7);
	set_range(3, 4, false);
	expect_part("5", 5, 3, 4);
	set_range(0, 0, false);
	ck_assert_int_eq(asks("oauth"), 1);
	state("{\"tokens\": []}"); /* revoked */
	expect("5", 5);
	ck_assert_int_eq(asks("oauth"), 2);
	write_service_account("account.json", "you@x");
	renew_fetcher();
	open_url("gs://b/em");
	expect_error("5", -EACCES, "token server answers with HTTP status 400");
	set_home_env("GOOGLE_APPLICATION_CREDENTIALS", "none.json");
	write_service_account(".cloudvolume/secrets/b-google-secret.json", "me@x");
	renew_fetcher();
	open_url("gs://b/em");
	expect("5", 5);
}
END_TEST

START_TEST(refresh_tokens)
{
	char text[400];

	state("{\"oauth\": {\"refresh\": {\"client_id\": \"c\", \"client_secret\": \"s&=\", \"refresh_token\": "
	      "\"1//r\"}}}");
	snprintf(text, sizeof text,
		 "{\"type\": \"authorized_user\", \"client_id\": \"c\", \"client_secret\": \"s&=\", \"refresh_token\": "
		 "\"1//r\", \"token_uri\": \"http://127.0.0.1:%d/token\"}",
		 port);
	write_text(".config/gcloud/application_default_credentials.json", text);
	open_url("gs://b");
	expect("6", 6);
	ck_assert_int_eq(asks("oauth"), 1);
	write_text(".config/gcloud/application_default_credentials.json", "{\"type\": \"external_account\"}");
	renew_fetcher();
	open_url("gs://b");
	expect_error("6", -EACCES, "type 'external_account'");
	write_text(".config/gcloud/application_default_credentials.json",
		   "{\"type\": \"authorized_user\", \"client_id\": \"c\", \"client_secret\": \"s\", \"refresh_token\": "
		   "\"1\", \"token_uri\": \"http://example.org/token\"}");
	renew_fetcher();
	open_url("gs://b");
	expect_error("6", -EACCES, "is not https");
}
END_TEST

START_TEST(service_account_of_the_machine)
{
	state("{\"oauth\": {\"seconds\": 3600}}");
	open_url("gs://b");
	expect("6", 6);
	ck_assert_int_eq(asks("gce"), 1);
	state("{\"tokens\": []}");
	expect("6", 6);
	ck_assert_int_eq(asks("gce"), 2);
	ck_assert_ptr_null(strstr(control("GET", "/__stats", ""), "token-1\""));
}
END_TEST

START_TEST(public_google_buckets)
{
	state("{\"public\": [\"public\"]}");
	open_url("gs://public");
	expect("5", 5);
	ck_assert_int_eq(asks("gce"), 1);
	setenv("NO_GCE_CHECK", "true", 1);
	renew_fetcher();
	open_url("gs://public");
	expect("5", 5);
	ck_assert_int_eq(asks("gce"), 1);
}
END_TEST

START_TEST(hmac_keys_of_google)
{
	accept_keys(NULL);
	state("{\"region\": \"auto\"}");
	setenv("GS_ACCESS_KEY_ID", ID, 1);
	setenv("GS_SECRET_ACCESS_KEY", SECRET, 1);
	open_url("gs://b");
	expect("6", 6);
	unsetenv("GS_ACCESS_KEY_ID");
	write_text(".boto", "[Credentials]\ngs_access_key_id = " ID "\ngs_secret_access_key = " SECRET "\n");
	renew_fetcher();
	open_url("gs://b");
	expect("6", 6);
}
END_TEST

/* --- HTTP servers --- */

static void write_host_secret(const char *form, const char *text)
{
	char name[128], at[16];
	const char *p = strstr(form, "%d");

	snprintf(at, sizeof at, "%d", port);
	if (p)
		snprintf(name, sizeof name, ".cloudvolume/secrets/%.*s%s%s", (int)(p - form), form, at, p + 2);
	else
		snprintf(name, sizeof name, ".cloudvolume/secrets/%s", form);
	write_text(name, text);
}

START_TEST(bearer_tokens_of_hosts)
{
	state("{\"tokens\": [\"first\"]}");
	open_at("", "/b");
	expect_error("6", -EACCES, "403");
	write_host_secret("127.0.0.1-secret.json", "{\"token\": \"first\"}");
	open_at("", "/b");
	expect("6", 6);
	/* Another one is read when it is not accepted any more. */
	state("{\"tokens\": [\"second\"]}");
	write_host_secret("127.0.0.1-secret.json", "{\"token\": \"second\"}");
	expect("6", 6);
	write_host_secret("127.0.0.1:%d-cave-secret.json", "{\"token\": \"third\"}");
	state("{\"tokens\": [\"third\"]}");
	renew_fetcher();
	open_at("", "/b");
	expect("6", 6);
	write_host_secret("127.0.0.1:%d-cave-secret.json", "{\"token\": \"third\\nHost: x\"}");
	{
		struct vx_store *s = NULL;
		struct vx_err e;
		char url[64];

		snprintf(url, sizeof url, "http://127.0.0.1:%d/b", port);
		ck_assert_int_eq(vx_store_open(&s, fetcher, url, &e), -EACCES);
		ck_assert_ptr_null(strstr(e.why, "third"));
	}
}
END_TEST

static void expect_last(const char *header, const char *value)
{
	char text[200];

	snprintf(text, sizeof text, "\"%s\": \"%s\"", header, value);
	ck_assert_msg(strstr(control("GET", "/__stats", ""), text), "%s is not in %s", text,
		      control("GET", "/__stats", ""));
}

START_TEST(netrc_and_headers)
{
	write_text(".netrc", "machine example.org login no password no\nmachine 127.0.0.1\n login me\n password pw\n");
	open_at("", "/b");
	get("6");
	expect_last("authorization", "Basic bWU6cHc=");
	write_host_secret("127.0.0.1-secret.json",
			  "{\"user\": \"a\", \"password\": \"b\", \"headers\": {\"X-Key\": \"v w\"}}");
	renew_fetcher();
	open_at("", "/b");
	get("6");
	expect_last("authorization", "Basic YTpi");
	expect_last("x-key", "v w");
	open_at("you:there@", "/b"); /* the URL's own count */
	get("6");
	expect_last("authorization", "Basic eW91OnRoZXJl");
}
END_TEST

START_TEST(stopping_while_credentials_are_looked_for)
{
	/* Nobody answers there: a listener that never accepts. */
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char url[64];

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(a.sin_port));
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url, 1);
	open_url("s3://b");
	submit(0, "6");
	submit(1, "6");
	ck_assert_int_ge(accept(fd, NULL, NULL), 0);
	vx_store_cancel(&wishes[1].f);
	await(&wishes[1]);
	ck_assert_int_eq(wishes[1].got.err.code, -ECANCELED);
	vx_fetcher_stop(fetcher);
	ck_assert(wishes[0].over);
	ck_assert_int_eq(wishes[0].got.err.code, -ECANCELED);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fetch_cloud");
	TCase *t = tcase_create("cloud");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_unchecked_fixture(t, start_cloud, stop_all);
	tcase_add_checked_fixture(t, setup_cloud, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, signed_requests);
	tcase_add_test(t, session_tokens_are_signed);
	tcase_add_test(t, spellings);
	tcase_add_test(t, urls_that_name_no_bucket);
	tcase_add_test(t, regions);
	tcase_add_test(t, anonymous);
	tcase_add_test(t, wrong_keys);
	tcase_add_test(t, keys_of_profiles);
	tcase_add_test(t, keys_of_cloudvolume);
	tcase_add_test(t, role_of_the_machine);
	tcase_add_test(t, keys_are_renewed_before_their_end);
	tcase_add_test(t, keys_of_the_container);
	tcase_add_test(t, keys_of_a_web_identity);
	tcase_add_test(t, a_search_that_fails_is_not_repeated_for_each_request);
	tcase_add_test(t, service_accounts);
	tcase_add_test(t, refresh_tokens);
	tcase_add_test(t, service_account_of_the_machine);
	tcase_add_test(t, public_google_buckets);
	tcase_add_test(t, hmac_keys_of_google);
	tcase_add_test(t, bearer_tokens_of_hosts);
	tcase_add_test(t, netrc_and_headers);
	tcase_add_test(t, stopping_while_credentials_are_looked_for);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
