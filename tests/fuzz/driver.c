/* SPDX-License-Identifier: Apache-2.0
 * Runs a fuzz target on each file of the folders given: a regression test without a fuzzing engine.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *bytes = NULL;
	size_t len = 0, got;
	char part[65536];

	if (!f) {
		perror(path);
		return 1;
	}
	while ((got = fread(part, 1, sizeof part, f)) > 0) {
		bytes = realloc(bytes, len + got);
		memcpy(bytes + len, part, got);
		len += got;
	}
	fclose(f);
	/* An exact copy on the heap, so that reading one byte too many is caught. */
	uint8_t *exact = malloc(len ? len : 1);
	if (len)
		memcpy(exact, bytes, len);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	free(bytes);
	return 0;
}

int main(int argc, char **argv)
{
	int bad = 0, files = 0;

	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		struct dirent *de;

		if (!d) {
			bad |= run_file(argv[i]);
			files++;
			continue;
		}
		while ((de = readdir(d))) {
			char path[4096];

			if (de->d_name[0] == '.')
				continue;
			snprintf(path, sizeof path, "%s/%s", argv[i], de->d_name);
			bad |= run_file(path);
			files++;
		}
		closedir(d);
	}
	printf("%d inputs\n", files);
	return bad || !files;
}
