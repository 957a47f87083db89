/* SPDX-License-Identifier: Apache-2.0
 * voxbench COMMAND key=value...: the clients and the bare baselines that tools/bench compares.
 */
#include "benchlib/bench.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int (*run)(const struct bench_args *a);
	const char *help;
} commands[] = {
    {"touch", bench_touch, "bytes=N: touches that much memory and lets go of it"},
    {"resident", bench_resident, "a= b= rounds=: open, map, touch, unmap, close of two files in turns"},
    {"open", bench_open, "paths on standard input: open to last byte of each"},
    {"crowd", bench_crowd, "path= n=: n processes open and touch one file at once"},
    {"hold", bench_hold, "path= n=: n processes map one file until standard input ends"},
    {"file", bench_file, "baseline: pread and copy the chunks of a box"},
    {"boxes", bench_boxes, "baseline: the same for boxes on standard input, one by one"},
    {"cseg", bench_cseg, "baseline: inflate and decode the chunks of a box whole"},
    {"slabs", bench_slabs, "baseline: inflate each chunk of a box once, copy its slabs one by one"},
    {"inflate", bench_inflate, "baseline: inflate the chunks of a box and copy them"},
    {"repack", bench_repack, "to= pack=zstd|blosc: writes the raw chunks of a box as an array of Zarr v2"},
    {"unpack", bench_unpack, "baseline: unpack the chunks of such an array by the bare library and copy them"},
    {"chain", bench_chain, "the same by our codec, straight into the box"},
    {"images", bench_images, "baseline: encoding=jpeg or png: decode the chunks of a box, drop the voxels"},
    {"http", bench_http, "baseline: fetch the chunks of a box by libcurl multi, drop the bytes"},
    {"merge", bench_merge,
     "url= box= gap= bytes= tasks= connections=: the engine alone fetches a box of a sharded volume"},
    {"serve", bench_serve, "root= delay_ms= mbs=: an HTTP server that waits before each answer"},
};

int main(int argc, char **argv)
{
	struct bench_args a = {argc - 2, argv + 2};

	for (size_t i = 0; argc > 1 && i < VX_ARRAY_LEN(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(&a);
	for (size_t i = 0; i < VX_ARRAY_LEN(commands); i++)
		fprintf(stderr, "%-10s %s\n", commands[i].name, commands[i].help);
	return 2;
}
