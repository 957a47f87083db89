/* SPDX-License-Identifier: Apache-2.0
 * From a cloudpath to an open volume. Also accepts the spelling that puts the format behind a bar, and plain paths.
 */
#include "sched/source.h"
#include "sched/docs.h"

#include <stdio.h>
#include <string.h>

#define PREFIX "precomputed://"
#define SUFFIX "|neuroglancer-precomputed:"

static const char *const other_formats[] = {"zarr://", "zarr2://", "zarr3://", "n5://", "graphene://", "boss://"};

/* Strips the format; malloc'd store URL. */
static char *store_url(const char *cloudpath, struct vx_err *e)
{
	size_t len;
	char *url = NULL;

	for (unsigned i = 0; i < VX_ARRAY_LEN(other_formats); i++)
		if (!strncmp(cloudpath, other_formats[i], strlen(other_formats[i]))) {
			vx_fail(e, -EINVAL, "format %s is not supported; supported: " PREFIX, other_formats[i]);
			return NULL;
		}
	if (!strncmp(cloudpath, PREFIX, strlen(PREFIX)))
		cloudpath += strlen(PREFIX);
	len = strlen(cloudpath);
	if (len > strlen(SUFFIX) && !strcmp(cloudpath + len - strlen(SUFFIX), SUFFIX))
		len -= strlen(SUFFIX);
	while (len > 1 && cloudpath[len - 1] == '/')
		len--;
	if (asprintf(&url, "%s%.*s", cloudpath[0] == '/' ? "file://" : "", (int)len, cloudpath) < 0) {
		vx_fail(e, -ENOMEM, "no memory");
		return NULL;
	}
	return url;
}

static bool is_good_name(const char *name)
{
	size_t len = strlen(name);

	return len && len <= VX_MAX_NAME && name[0] != '.' && !strchr(name, '/');
}

static char *name_from_url(const char *url)
{
	const char *slash = strrchr(url, '/');
	char *name = strdup(slash ? slash + 1 : url);

	if (name)
		name[strcspn(name, "?#")] = 0;
	return name;
}

static int read_info(struct vx_source *s, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *text = NULL;
	int r = vx_doc_read(s->store, "info", VX_MAX_INFO_BYTES, &text, e);

	if (r == -ENODATA)
		return vx_fail(e, -ENOENT, "%s has no `info` document: not a Precomputed volume", s->url);
	if (r < 0)
		return r;
	r = vx_precomputed_parse((const char *)text->data, text->len, &s->meta, e);
	if (r < 0)
		vx_doc_distrust(s->store, "info");
	return r < 0 ? vx_fail_prefix(e, "%s/info", s->url) : 0;
}

int vx_source_open(struct vx_source **ret, struct vx_fetcher *f, uint32_t id, const struct vx_source_spec *spec,
		   struct vx_err *e)
{
	struct vx_source *s = calloc(1, sizeof *s);
	VX_AUTO_FREE char *url = s ? store_url(spec->cloudpath, e) : NULL;
	int r = e->code;

	if (!s)
		return vx_fail(e, -ENOMEM, "no memory");
	if (url) {
		s->id = id;
		s->fill_missing = spec->fill_missing;
		r = vx_store_open(&s->store, f, url, e);
	}
	if (url && r == 0) {
		s->url = strdup(vx_store_url(s->store));
		s->name = spec->name ? strdup(spec->name) : name_from_url(s->url);
		if (!s->url || !s->name)
			r = vx_fail(e, -ENOMEM, "no memory");
		else if (!is_good_name(s->name))
			r = vx_fail(e, -EINVAL, "\"%s\" is no name for a volume: give one with name=", s->name);
		else
			r = read_info(s, e);
	}
	if (r < 0) {
		vx_source_close(&s);
		return r;
	}
	*ret = s;
	return 0;
}

void vx_source_close(struct vx_source **ps)
{
	struct vx_source *s = vx_steal(*ps);

	if (!s)
		return;
	vx_store_close(&s->store);
	vx_volume_free(&s->meta);
	free(s->name);
	free(s->url);
	free(s);
}
