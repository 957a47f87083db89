/* SPDX-License-Identifier: Apache-2.0
 * The JSON web token by which a service account asks for access: header and claims in base64url, signed with its
 * RSA key (RS256). Pure, any thread.
 */
#include "fetch/secret.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define SCOPE "https://www.googleapis.com/auth/devstorage.read_only"
#define LIFE_SECONDS 3600

static char *base64url(const unsigned char *bytes, size_t len)
{
	char *text = malloc(4 * ((len + 2) / 3) + 1);
	int n;

	if (!text)
		return NULL;
	n = EVP_EncodeBlock((unsigned char *)text, bytes, (int)len);
	while (n > 0 && text[n - 1] == '=')
		n--;
	text[n] = 0;
	for (char *c = text; *c; c++)
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
	return text;
}

/* Takes the object. */
static char *base64url_json(json_t *j)
{
	VX_AUTO_FREE char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	json_decref(j);
	return text ? base64url((const unsigned char *)text, strlen(text)) : NULL;
}

static EVP_PKEY *read_key(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	if (key && EVP_PKEY_base_id(key) != EVP_PKEY_RSA) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

static char *sign(EVP_PKEY *key, const char *text)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sig[1024];
	size_t len = sizeof sig;
	bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		  EVP_DigestSign(ctx, sig, &len, (const unsigned char *)text, strlen(text)) == 1;

	EVP_MD_CTX_free(ctx);
	return ok ? base64url(sig, len) : NULL;
}

int vx_jwt_make(const json_t *account, const char *token_uri, int64_t now, char **ret, struct vx_err *e)
{
	const char *pem = json_string_value(json_object_get(account, "private_key"));
	const char *mail = json_string_value(json_object_get(account, "client_email"));
	const char *id = json_string_value(json_object_get(account, "private_key_id"));
	VX_AUTO_FREE char *head = NULL, *claims = NULL, *text = NULL, *signature = NULL;
	EVP_PKEY *key;

	if (!pem || !mail)
		return vx_fail(e, -EACCES, "a service account's file has no private_key or no client_email");
	head = base64url_json(json_pack("{s:s,s:s,s:s*}", "alg", "RS256", "typ", "JWT", "kid", id));
	claims = base64url_json(json_pack("{s:s,s:s,s:s,s:I,s:I}", "iss", mail, "scope", SCOPE, "aud", token_uri, "iat",
					  (json_int_t)now, "exp", (json_int_t)(now + LIFE_SECONDS)));
	if (!head || !claims || asprintf(&text, "%s.%s", head, claims) < 0) {
		text = NULL;
		return vx_no_memory(e);
	}
	key = read_key(pem);
	if (!key)
		return vx_fail(e, -EACCES, "the private_key of a service account is no RSA key");
	signature = sign(key, text);
	EVP_PKEY_free(key);
	if (!signature)
		return vx_fail(e, -EACCES, "the private_key of a service account does not sign");
	if (asprintf(ret, "%s.%s", text, signature) < 0) {
		*ret = NULL;
		return vx_no_memory(e);
	}
	return 0;
}
