/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: files in which people keep credentials. Reading may wait for a disk. Any thread.
 */
#ifndef VX_FETCH_SECRET_H
#define VX_FETCH_SECRET_H

#include "fetch/token.h"

#include <jansson.h>

/* The whole text of a file, malloc'd. -ENOENT when there is none, and for a `path` of NULL; never more than
 * VX_MAX_SECRET_BYTES. */
int vx_secret_read(const char *path, char **ret, struct vx_err *e);
void vx_secret_wipe(char **text); /* for scopes */
#define VX_AUTO_SECRET VX_CLEANUP(vx_secret_wipe)

/* $NAME/below, or ~/home_dir/below when the variable is not set; malloc'd, NULL when there is no home either. */
char *vx_secret_path(const char *variable, const char *home_dir, const char *below);

/* A value of an INI file's section, trimmed; the last one counts. Nested (indented) lines belong to nobody. False
 * when there is none or it is longer than `size` - 1. */
bool vx_ini_get(const char *text, const char *section, const char *key, char *value, size_t size);
bool vx_ini_has(const char *text, const char *section);

/* A JSON object of CloudVolume's secrets folder: $CLOUD_VOLUME_DIR/secrets or ~/.cloudvolume/secrets, and the one of
 * CloudFiles. -ENOENT when there is none. */
int vx_secret_json(const char *name, json_t **ret, struct vx_err *e);
int vx_secret_parse(const char *text, const char *what, json_t **ret, struct vx_err *e);

/* A string of an object, malloc'd; NULL when it is absent, no string, or no good for a header line. */
char *vx_secret_string(const json_t *j, const char *key);
/* False for bytes that must not enter a header line. */
bool vx_secret_is_clean(const char *s);

static inline void vx_json_put_scope(json_t **j)
{
	json_decref(*j);
}
#define VX_AUTO_JSON VX_CLEANUP(vx_json_put_scope)

/* Seconds since the epoch of "2026-11-21T14:00:00Z"; 0 when not understood. */
int64_t vx_secret_time(const char *text);

/* A variable's value; NULL when it is not set, or empty. */
const char *vx_env(const char *name);
/* True when a variable such as AWS_NO_SIGN_REQUEST says yes. */
bool vx_secret_unwanted(const char *variable);

/* Where tokens come from, in the order in which the field looks: see the implementations. */
vx_token_source vx_creds_aws, vx_creds_gs, vx_creds_http;

/* What the AWS environment and profile say: "region", "endpoint_url". False when nothing. */
bool vx_aws_setting(const char *name, char *value, size_t size);

/* Answers of token servers, as tokens; -EBADMSG when they are none. Pure. */
int vx_aws_keys_parse(const char *text, struct vx_token **ret, struct vx_err *e);
int vx_aws_sts_parse(const char *xml, struct vx_token **ret, struct vx_err *e);
int vx_oauth_parse(const char *text, int64_t now, struct vx_token **ret, struct vx_err *e);

/* A signed JSON web token that asks `token_uri` for read access, malloc'd. */
int vx_jwt_make(const json_t *service_account, const char *token_uri, int64_t now, char **ret, struct vx_err *e);

/* Login and password for `host` in a netrc file's text, both malloc'd. The `default` entry is left alone: it is for
 * every host. */
bool vx_netrc_find(const char *text, const char *host, char **ret_login, char **ret_password);

/* The object of vx_creds_http: {"token"}, {"user", "password"}, {"headers"}. */
int vx_http_secret_parse(const json_t *j, struct vx_token **ret, struct vx_err *e);

#endif
