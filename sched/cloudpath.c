/* SPDX-License-Identifier: Apache-2.0
 * Two spellings are in use: the format in front, as CloudVolume has it, or behind a bar, as Neuroglancer and
 * TensorStore.
 */
#include "sched/cloudpath.h"
#include "vol/image.h"

#include <stdio.h>
#include <string.h>

#define SEPARATOR "dimension_separator="
#define SUPPORTED "precomputed://, zarr://, zarr2://, zarr3://, n5://"

static const struct {
	const char *name;
	enum vx_wanted format;
} prefixes[] = {{"precomputed", VX_PRECOMPUTED},
		{"zarr", VX_ZARR},
		{"zarr2", VX_ZARR2},
		{"zarr3", VX_ZARR3},
		{"n5", VX_N5},
		{"auto", VX_ANY_FORMAT}},
  suffixes[] = {{"neuroglancer-precomputed", VX_PRECOMPUTED},
		{"zarr", VX_ZARR},
		{"zarr2", VX_ZARR2},
		{"zarr3", VX_ZARR3},
		{"n5", VX_N5},
		{"auto", VX_ANY_FORMAT}};

static const char *const unsupported[] = {"graphene", "boss"};

static bool begins(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && !memcmp(text, word, len);
}

/* Takes "FORMAT://" off the front. */
static int take_prefix(const char **text, struct vx_cloudpath *c, struct vx_err *e)
{
	size_t len = strcspn(*text, ":/");

	if (strncmp(*text + len, "://", 3))
		return 0;
	for (unsigned i = 0; i < VX_ARRAY_LEN(unsupported); i++)
		if (begins(*text, len, unsupported[i]))
			return vx_fail(e, -EINVAL, "format %s:// is not supported; supported: " SUPPORTED,
				       unsupported[i]);
	for (unsigned i = 0; i < VX_ARRAY_LEN(prefixes); i++)
		if (begins(*text, len, prefixes[i].name)) {
			c->format = prefixes[i].format;
			*text += len + 3;
			return 1;
		}
	return 0;
}

static int take_fragment(const char *text, struct vx_cloudpath *c, struct vx_err *e)
{
	text += strlen(SEPARATOR);
	if ((text[0] != '.' && text[0] != '/') || text[1] ||
	    (c->format != VX_ZARR && c->format != VX_ZARR2 && c->format != VX_ANY_FORMAT))
		return vx_fail(e, -EINVAL, "#" SEPARATOR " takes . or /, and only with zarr and zarr2");
	c->separator = text[0];
	return 0;
}

/* "FORMAT:inner/path" behind the bar. */
static int take_suffix(const char *bar, size_t len, bool prefixed, struct vx_cloudpath *c, struct vx_err *e)
{
	const char *colon = memchr(bar, ':', len);
	size_t word = colon ? (size_t)(colon - bar) : len, inner = colon ? len - word - 1 : 0;
	enum vx_wanted before = c->format;
	bool found = false;

	for (unsigned i = 0; i < VX_ARRAY_LEN(suffixes); i++)
		if (begins(bar, word, suffixes[i].name)) {
			c->format = suffixes[i].format;
			found = true;
		}
	if (!found)
		return vx_fail(e, -EINVAL, "|%.*s: is not supported behind a URL", (int)vx_min_u64(word, 40), bar);
	if (prefixed && before != c->format)
		return vx_fail(e, -EINVAL, "the format is given twice, and not the same");
	while (inner && colon[inner] == '/')
		inner--;
	while (inner && colon[1] == '/') {
		colon++;
		inner--;
	}
	c->inner = strndup(inner ? colon + 1 : "", inner);
	if (!c->inner)
		return vx_no_memory(e);
	if (inner && !vx_path_is_sound(c->inner))
		return vx_fail(e, -EINVAL, "%s is no path within a store", vx_quote(c->inner).text);
	return 0;
}

static int parse(struct vx_cloudpath *c, const char *text, struct vx_err *e)
{
	int r = take_prefix(&text, c, e);
	bool prefixed = r > 0;
	const char *fragment = strstr(text, "#" SEPARATOR), *bar;
	size_t len = fragment ? (size_t)(fragment - text) : strlen(text);

	if (r < 0)
		return r;
	bar = memrchr(text, '|', len);
	if (bar && !memchr(bar, ':', len - (size_t)(bar - text)))
		bar = NULL; /* a file's name may have one */
	if (bar && (r = take_suffix(bar + 1, len - (size_t)(bar + 1 - text), prefixed, c, e)) < 0)
		return r;
	if (fragment && (r = take_fragment(fragment + 1, c, e)) < 0)
		return r;
	len = bar ? (size_t)(bar - text) : len;
	while (len > 1 && text[len - 1] == '/')
		len--;
	if (!c->inner)
		c->inner = strdup("");
	if (!c->inner || asprintf(&c->url, "%s%.*s", text[0] == '/' ? "file://" : "", (int)len, text) < 0) {
		c->url = NULL;
		return vx_no_memory(e);
	}
	return 0;
}

int vx_cloudpath_parse(struct vx_cloudpath *ret, const char *text, struct vx_err *e)
{
	int r;

	memset(ret, 0, sizeof *ret);
	r = parse(ret, text, e);
	if (r < 0)
		vx_cloudpath_done(ret);
	return r;
}

void vx_cloudpath_done(struct vx_cloudpath *c)
{
	free(c->url);
	free(c->inner);
	memset(c, 0, sizeof *c);
}

char *vx_cloudpath_name(const struct vx_cloudpath *c)
{
	const char *host = strstr(c->url, "://");
	const char *path = c->inner[0] ? c->inner : host ? host + 3 : c->url, *slash;
	size_t len = c->inner[0] ? strlen(path) : strcspn(path, "?#");

	while (len && path[len - 1] == '/')
		len--;
	slash = memrchr(path, '/', len);
	return slash ? strndup(slash + 1, len - (size_t)(slash + 1 - path)) : strndup(path, len);
}
