/* SPDX-License-Identifier: Apache-2.0
 * Prints info.json of every scale of the `info` documents given, one after another: what
 * test_info_schema.py holds against the schema.
 */
#include "vol/volume.h"

#include <stdio.h>

static int dump(const char *path)
{
	static char text[1 << 20];
	struct vx_volume *v = NULL;
	struct vx_err e = {0};
	FILE *f = fopen(path, "rb");
	size_t len;

	if (!f) {
		perror(path);
		return 1;
	}
	len = fread(text, 1, sizeof text, f);
	fclose(f);
	if (vx_precomputed_parse(text, len, &v, &e) < 0) {
		fprintf(stderr, "%s: %s: %s\n", path, vx_errno_name(e.code), e.why);
		return 1;
	}
	for (unsigned i = 0; i < v->nscales; i++) {
		char *json = vx_info_json(v, i, 0, "caf\xc3\xa9 \"\\\n", path);

		if (!json)
			return 1;
		fputs(json, stdout);
		free(json);
	}
	vx_volume_free(&v);
	return 0;
}

int main(int argc, char **argv)
{
	int bad = 0;

	for (int i = 1; i < argc; i++)
		bad |= dump(argv[i]);
	return bad;
}
