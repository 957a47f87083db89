/* SPDX-License-Identifier: Apache-2.0
 * PBKDF2 over the credentials, so that who gets hold of a cache directory cannot try passwords fast. A mount may list
 * thousands of volumes with the same credentials: the last digest is remembered, by a fast one.
 */
#include "fetch/account.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define ROUNDS 20000
#define FAST 32

static struct {
	pthread_mutex_t mtx;
	uint8_t of[FAST]; /* under mtx, as the next */
	char digest[VX_ACCOUNT];
} last = {.mtx = PTHREAD_MUTEX_INITIALIZER};

/* Lengths go before the bytes: "ab", "c" is not "a", "bc". */
static int digest_parts(uint8_t ret[FAST], const char *origin, const char *const *parts, size_t count)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool good = c && EVP_DigestInit_ex(c, EVP_sha256(), NULL);

	for (size_t i = 0; good && i <= count; i++) {
		const char *part = i == count ? origin : parts[i];
		uint64_t len = part ? strlen(part) : UINT64_MAX;

		good = EVP_DigestUpdate(c, &len, sizeof len) && (!part || EVP_DigestUpdate(c, part, (size_t)len));
	}
	good = good && EVP_DigestFinal_ex(c, ret, NULL);
	EVP_MD_CTX_free(c);
	return good ? 0 : -ENOMEM;
}

int vx_account_digest(char ret[VX_ACCOUNT], const char *origin, const char *const *parts, size_t count)
{
	uint8_t fast[FAST], slow[(VX_ACCOUNT - 1) / 2];
	bool any = false;
	int r = 0;

	ret[0] = 0;
	for (size_t i = 0; i < count; i++)
		any |= parts[i] && parts[i][0];
	if (!any)
		return 0;
	if (digest_parts(fast, origin, parts, count) < 0)
		return -ENOMEM;
	pthread_mutex_lock(&last.mtx);
	if (!last.digest[0] || memcmp(last.of, fast, sizeof fast)) {
		last.digest[0] = 0;
		if (PKCS5_PBKDF2_HMAC((const char *)fast, sizeof fast, (const uint8_t *)"voxfs account", 13, ROUNDS,
				      EVP_sha256(), sizeof slow, slow) == 1) {
			memcpy(last.of, fast, sizeof fast);
			for (size_t i = 0; i < sizeof slow; i++)
				snprintf(last.digest + 2 * i, 3, "%02x", slow[i]);
		}
	}
	if (last.digest[0])
		memcpy(ret, last.digest, VX_ACCOUNT);
	else
		r = -ENOMEM;
	pthread_mutex_unlock(&last.mtx);
	return r;
}
