/* SPDX-License-Identifier: Apache-2.0
 * Where credentials lie, and certificates that a variable names: the one list of them, for a sandbox. What creds_aws.c,
 * creds_gs.c, creds_http.c and vx_trust read must be here; the system's own certificates are anybody's. Pure but for
 * the environment, any thread.
 */
#include "fetch/fetch.h"
#include "fetch/secret.h"

#include <string.h>
#include <strings.h>

/* $variable/below, else ~/home/below; without `home` the variable alone names the file. */
static const struct {
	const char *variable, *home, *below;
	const char *scheme; /* of the stores that ask there: their scheme begins so */
} places[] = {
    {"CLOUD_VOLUME_DIR", ".cloudvolume", "secrets", ""},
    {"CLOUD_FILES_DIR", ".cloudfiles", "secrets", ""},
    {"AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", "", "s3"},
    {"AWS_CONFIG_FILE", ".aws/config", "", "s3"},
    {"AWS_WEB_IDENTITY_TOKEN_FILE", NULL, "", "s3"},
    {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", NULL, "", "s3"},
    {"GOOGLE_APPLICATION_CREDENTIALS", NULL, "", "gs"},
    {"CLOUDSDK_CONFIG", ".config/gcloud", "application_default_credentials.json", "gs"},
    {"BOTO_CONFIG", ".boto", "", "gs"},
    {"NETRC", ".netrc", "", "http"},
    {"CURL_CA_BUNDLE", NULL, "", ""},
    {"SSL_CERT_FILE", NULL, "", ""},
    {"REQUESTS_CA_BUNDLE", NULL, "", ""},
    {"AWS_CA_BUNDLE", NULL, "", ""},
    {"SSL_CERT_DIR", NULL, "", ""},
};

void vx_fetch_secret_places(const char *url, void (*tell)(void *ctx, const char *path), void *ctx)
{
	if (!strncasecmp(url, "file:", 5) || url[0] == '/')
		return;
	for (size_t i = 0; i < VX_ARRAY_LEN(places); i++) {
		VX_AUTO_FREE char *path = NULL;

		if (strncasecmp(url, places[i].scheme, strlen(places[i].scheme)))
			continue;
		if (places[i].home || vx_env(places[i].variable))
			path = vx_secret_path(places[i].variable, places[i].home, places[i].below);
		if (path)
			tell(ctx, path);
	}
}
