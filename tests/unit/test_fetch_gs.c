/* SPDX-License-Identifier: Apache-2.0
 * Google's buckets and the tokens for them; tokens and passwords for HTTP servers.
 */
#include "cloud_fixture.h"

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

int main(void)
{
	const TTest *const tests[] = {
	    service_accounts,      refresh_tokens,      service_account_of_the_machine,
	    public_google_buckets, hmac_keys_of_google, bearer_tokens_of_hosts,
	    netrc_and_headers,
	};

	return run_cloud_tests("fetch_gs", tests, VX_ARRAY_LEN(tests));
}
