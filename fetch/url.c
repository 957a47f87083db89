/* SPDX-License-Identifier: Apache-2.0
 * URLs of stores and objects, as RFC 3986 has them. Only what a base URL may be made of; anything
 * odd is refused. Pure, any thread.
 */
#include "fetch/url.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int decode(char **ret, const char *text, size_t len, struct vx_err *e)
{
	VX_AUTO_FREE char *plain = malloc(len + 1);
	size_t n = 0;

	if (!plain)
		return vx_no_memory(e);
	for (size_t i = 0; i < len; i++) {
		int hi, lo;

		if (text[i] != '%') {
			plain[n++] = text[i];
			continue;
		}
		hi = i + 2 < len ? hex(text[i + 1]) : -1;
		lo = hi < 0 ? -1 : hex(text[i + 2]);
		if (lo < 0 || hi * 16 + lo == 0)
			return vx_fail(e, -EINVAL,
				       "a store's URL has a '%%' that two hexadecimal digits do not follow");
		plain[n++] = (char)(hi * 16 + lo);
		i += 2;
	}
	plain[n] = 0;
	*ret = vx_steal(plain);
	return 0;
}

int vx_url_file_path(char **ret, const char *url, struct vx_err *e)
{
	const char *p = strstr(url, "://");
	size_t host;

	if (!p)
		return vx_fail(e, -EINVAL, "a file URL is written file:///directory");
	p += 3;
	host = strcspn(p, "/");
	if (host > 0 && (host != strlen("localhost") || strncasecmp(p, "localhost", host) != 0))
		return vx_fail(e, -EINVAL, "a file URL names no host other than localhost: write file:///directory");
	if (!p[host])
		return vx_fail(e, -EINVAL, "a file URL names a directory: file:///directory");
	return decode(ret, p + host, strlen(p + host), e);
}

static int check_host(const char *host, size_t len, struct vx_err *e)
{
	const char *colon, *end = host + len;
	unsigned long port = 0;

	if (len > 0 && *host == '[') {
		colon = memchr(host, ']', len);
		if (!colon || strspn(host + 1, "0123456789abcdefABCDEF:.%") < (size_t)(colon - host - 1))
			return vx_fail(e, -EINVAL, "a store's URL has a malformed IPv6 address");
		colon++;
	} else {
		colon = memchr(host, ':', len);
		if (!colon)
			colon = end;
		if (colon == host)
			return vx_fail(e, -EINVAL, "a store's URL names no host");
		for (const char *c = host; c < colon; c++)
			if (strchr(" \"<>\\^`{|}[]%,;", *c))
				return vx_fail(e, -EINVAL, "a store's URL has a host with the character '%c'", *c);
	}
	if (colon == end)
		return 0;
	for (const char *c = colon + 1; c < end; c++)
		port = *c >= '0' && *c <= '9' && port <= 65535 ? port * 10 + (unsigned long)(*c - '0') : 65536;
	if (*colon != ':' || port < 1 || port > 65535)
		return vx_fail(e, -EINVAL, "a store's URL has a port that is no number from 1 to 65535");
	return 0;
}

static int split_userinfo(struct vx_url *u, const char *from, const char *at, struct vx_err *e)
{
	const char *colon = memchr(from, ':', (size_t)(at - from));
	int r = decode(&u->user, from, (size_t)((colon ? colon : at) - from), e);

	if (r == 0 && colon)
		r = decode(&u->password, colon + 1, (size_t)(at - colon - 1), e);
	return r;
}

static int split(struct vx_url *u, const char *url, struct vx_err *e)
{
	const char *host = strstr(url, "://"), *end, *at, *path, *query;
	size_t path_len;
	int r;

	if (!host)
		return vx_fail(e, -EINVAL, "a store's URL is written https://host/path");
	host += 3;
	if (strpbrk(url, " #"))
		return vx_fail(e, -EINVAL, "a store's URL has a space or a '#' in it");
	path = end = host + strcspn(host, "/?");
	at = memrchr(host, '@', (size_t)(end - host));
	if (at) {
		r = split_userinfo(u, host, at, e);
		if (r < 0)
			return r;
	}
	r = check_host(at ? at + 1 : host, (size_t)(end - (at ? at + 1 : host)), e);
	if (r < 0)
		return r;
	query = path + strcspn(path, "?");
	path_len = (size_t)(query - path);
	while (path_len > 0 && path[path_len - 1] == '/')
		path_len--;
	u->path = strndup(path, path_len);
	u->query = strdup(query[0] && query[1] ? query : "");
	if (asprintf(&u->origin, "%.*s%.*s", (int)(host - url), url, (int)(end - (at ? at + 1 : host)),
		     at ? at + 1 : host) < 0)
		u->origin = NULL;
	return u->path && u->query && u->origin ? 0 : vx_no_memory(e);
}

int vx_url_split(struct vx_url *ret, const char *url, struct vx_err *e)
{
	int r;

	memset(ret, 0, sizeof *ret);
	r = split(ret, url, e);
	if (r < 0)
		vx_url_done(ret);
	return r;
}

void vx_url_done(struct vx_url *u)
{
	free(u->origin);
	free(u->path);
	free(u->query);
	free(u->user);
	if (u->password)
		explicit_bzero(u->password, strlen(u->password));
	free(u->password);
	memset(u, 0, sizeof *u);
}

/* Text under construction; `len` runs on past `size`, so that one check at the end suffices. */
struct out {
	char *text;
	size_t size, len;
	size_t root; /* where the path begins: ".." never climbs above */
};

static void put(struct out *o, char c)
{
	if (o->len < o->size)
		o->text[o->len] = c;
	o->len++;
}

static void put_encoded(struct out *o, unsigned char c)
{
	static const char digits[] = "0123456789ABCDEF";

	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c))) {
		put(o, (char)c);
		return;
	}
	put(o, '%');
	put(o, digits[c >> 4]);
	put(o, digits[c & 15]);
}

static void put_segment(struct out *o, const char *s, size_t len, bool encoded)
{
	if (len == 1 && s[0] == '.')
		return;
	if (len == 2 && s[0] == '.' && s[1] == '.') {
		if (o->len > o->size)
			return;
		while (o->len > o->root && o->text[--o->len] != '/')
			;
		return;
	}
	put(o, '/');
	for (size_t i = 0; i < len; i++)
		if (encoded)
			put(o, s[i]);
		else
			put_encoded(o, (unsigned char)s[i]);
}

/* `path` without its first slash. */
static void put_path(struct out *o, const char *path, bool encoded)
{
	for (;;) {
		size_t len = strcspn(path, "/");

		put_segment(o, path, len, encoded);
		if (!path[len])
			return;
		path += len + 1;
	}
}

int vx_url_join(const struct vx_url *u, const char *key, char *text, size_t size, struct vx_err *e)
{
	struct out o = {.text = text, .size = size};

	for (const char *c = u->origin; *c; c++)
		put(&o, *c);
	o.root = o.len;
	if (u->path[0])
		put_path(&o, u->path + 1, true);
	put_path(&o, key, false);
	if (o.len == o.root)
		put(&o, '/');
	for (const char *c = u->query; *c; c++)
		put(&o, *c);
	put(&o, 0);
	if (o.len > size)
		return vx_fail(e, -EBADMSG, "an object's URL is longer than %zu bytes: its key is %s", size - 1, key);
	return 0;
}
