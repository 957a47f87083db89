/* SPDX-License-Identifier: Apache-2.0
 * S3: signatures, spellings, regions, and every place from which keys come.
 */
#include "cloud_fixture.h"

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
	expect_error("nothing", -ENODATA, "404 (NoSuchKey), 1 try: s3://b/em/nothing");
	ck_assert_int_eq(asks("imds_token"), 0);
	open_url("s3://none");
	expect_error("5", -EHOSTUNREACH, "no such bucket, 1 try: s3://none/5");
	open_url("s3://b/em");
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
	expect_error("6", -EACCES, "403 (AccessDenied), 1 try");
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
	const TTest *const tests[] = {
	    signed_requests,
	    session_tokens_are_signed,
	    spellings,
	    urls_that_name_no_bucket,
	    regions,
	    anonymous,
	    wrong_keys,
	    keys_of_profiles,
	    keys_of_cloudvolume,
	    role_of_the_machine,
	    keys_are_renewed_before_their_end,
	    keys_of_the_container,
	    keys_of_a_web_identity,
	    a_search_that_fails_is_not_repeated_for_each_request,
	    stopping_while_credentials_are_looked_for,
	};

	return run_cloud_tests("fetch_s3", tests, VX_ARRAY_LEN(tests));
}
