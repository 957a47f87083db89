/* SPDX-License-Identifier: Apache-2.0
 * The parser of Precomputed `info` documents: what writers write is taken, what breaks the format
 * is refused with the sentence that names it (one file of reject/ for each), and what users then
 * read in info.json.
 */
#include "../lib/vxtest.h"
#include "base/limits.h"
#include "vol/volume.h"

#include <jansson.h>
#include <string.h>

/* Reads tests/unit/<name>. */
static char *slurp(const char *name, size_t *len)
{
	char path[4096], *text = malloc(1 << 20);
	FILE *f;

	snprintf(path, sizeof path, VX_SOURCE_ROOT "/tests/unit/%s", name);
	f = fopen(path, "rb");
	ck_assert_msg(f != NULL, "%s: %s", path, strerror(errno));
	*len = fread(text, 1, 1 << 20, f);
	fclose(f);
	return realloc(text, *len + 1); /* so that a sanitizer sees reads behind the end */
}

static int parse(const char *json, struct vx_volume **v, struct vx_err *e)
{
	return vx_precomputed_parse(json, strlen(json), v, e);
}

static struct vx_volume *must_parse(const char *json)
{
	struct vx_volume *v = NULL;
	struct vx_err e = {0};

	ck_assert_msg(parse(json, &v, &e) == 0, "%s\n%s", e.why, json);
	return v;
}

/* ---- documents that are refused ---- */

static const struct {
	const char *name;
	int code;
	const char *sentence; /* a part of it */
} rejects[] = {
    /* clang-format off */
	{"json-empty", EBADMSG, "info is empty"},
	{"json-only-byte-order-mark", EBADMSG, "info is empty"},
	{"json-html", EBADMSG, "info is not JSON: line 1, column"},
	{"json-array", EBADMSG, "info is an array; it must be an object"},
	{"json-truncated", EBADMSG, "info is not JSON"},
	{"json-trailing-comma", EBADMSG, "info is not JSON"},
	{"json-comment", EBADMSG, "info is not JSON"},
	{"json-trailing-rubbish", EBADMSG, "info is not JSON"},
	{"json-nan", EBADMSG, "info is not JSON"},
	{"json-real-overflow", EBADMSG, "info is not JSON"},
	{"json-not-utf8", EBADMSG, "info is not JSON"},
	{"json-nul-in-string", EBADMSG, "info is not JSON"},
	{"json-deep", EBADMSG, "info is not JSON"},
	{"json-deep-object", EBADMSG, "info is not JSON"},
	{"type-missing", EBADMSG, "type is missing"},
	{"type-number", EBADMSG, "type is a number; it must be a string"},
	{"attype-mesh", EBADMSG, "@type is \"neuroglancer_legacy_mesh\""},
	{"attype-null", EBADMSG, "@type is null; it must be a string"},
	{"graphene-app", EOPNOTSUPP, "graphene volume; open its data_dir instead: \"gs://bucket/ws\""},
	{"graphene-graph", EOPNOTSUPP, "graphene volume; open its data_dir instead"},
	{"redirect", EOPNOTSUPP, "redirect: the volume has moved; open \"gs://bucket/there\" instead"},
	{"redirect-number", EOPNOTSUPP, "redirect: the volume has moved; open its new place instead"},
	{"data-type-missing", EBADMSG, "data_type is missing"},
	{"data-type-null", EBADMSG, "data_type is null; it must be a string"},
	{"data-type-float64", EOPNOTSUPP, "data_type \"float64\" is not supported"},
	{"data-type-bool", EOPNOTSUPP, "data_type \"bool\" is not supported"},
	{"data-type-control", EOPNOTSUPP, "data_type \"uint?8\" is not supported"},
	{"data-type-long", EOPNOTSUPP, "...\" is not supported"},
	{"channels-missing", EBADMSG, "num_channels is missing"},
	{"channels-string", EBADMSG, "num_channels is a string; it must be an integer"},
	{"channels-zero", EBADMSG, "num_channels is 0; it must be at least 1"},
	{"channels-negative", EBADMSG, "num_channels is -1; it must be at least 1"},
	{"channels-many", EBADMSG, "num_channels is 4097; it must be at most 4096"},
	{"channels-fraction", EBADMSG, "num_channels is 1.5; it must be an integer"},
	{"channels-true", EBADMSG, "num_channels is a boolean; it must be an integer"},
	{"scales-missing", EBADMSG, "scales is missing"},
	{"scales-object", EBADMSG, "scales is an object; it must be an array"},
	{"scales-empty", EBADMSG, "scales has 0 entries; it must have at least 1"},
	{"scales-many", EBADMSG, "scales has 65 entries; it must have at most 64"},
	{"scale-string", EBADMSG, "scales[0] is a string; it must be an object"},
	{"key-missing", EBADMSG, "scales[0].key is missing"},
	{"key-number", EBADMSG, "scales[0].key is a number; it must be a string"},
	{"key-empty", EBADMSG, "scales[0].key is empty"},
	{"key-absolute", EBADMSG, "scales[0].key \"/etc\" is absolute"},
	{"key-control", EBADMSG, "scales[0].key \"8?8\" contains a control character"},
	{"key-delete", EBADMSG, "contains a control character"},
	{"key-long", EBADMSG, "scales[0].key has 5000 bytes; at most"},
	{"size-missing", EBADMSG, "scales[0].size is missing"},
	{"size-string", EBADMSG, "scales[0].size is a string; it must be an array"},
	{"size-two", EBADMSG, "scales[0].size has 2 entries; it must have exactly 3"},
	{"size-four", EBADMSG, "scales[0].size has 4 entries; it must have exactly 3"},
	{"size-zero", EBADMSG, "scales[0].size[0] is 0; it must be at least 1"},
	{"size-negative", EBADMSG, "scales[0].size[1] is -5; it must be at least 1"},
	{"size-fraction", EBADMSG, "scales[0].size[2] is 4.5; it must be an integer"},
	{"size-null", EBADMSG, "scales[0].size[2] is null; it must be an integer"},
	{"size-huge", EBADMSG, "scales[0].size[0] is 281474976710657; it must be at most 281474976710656"},
	{"size-beyond-64-bits", EBADMSG, "scales[0].size[0] is 1.84467440737096e+19; it must be at most"},
	{"size-product", EFBIG, "scales[0].size makes a volume of 2^63 bytes or more"},
	{"offset-fraction", EBADMSG, "scales[0].voxel_offset[0] is 0.5; it must be an integer"},
	{"offset-null", EBADMSG, "scales[0].voxel_offset is null; it must be an array"},
	{"offset-low", EBADMSG, "scales[0].voxel_offset[1] is -281474976710657; it must be at least"},
	{"offset-plus-size", EBADMSG, "scales[0].voxel_offset[2] + size[2] is 281474976710657; it must be at most"},
	{"resolution-missing", EBADMSG, "scales[0].resolution is missing"},
	{"resolution-zero", EBADMSG, "scales[0].resolution[1] is 0; it must be above 0"},
	{"resolution-negative", EBADMSG, "scales[0].resolution[2] is -8; it must be above 0"},
	{"resolution-string", EBADMSG, "scales[0].resolution[0] is a string; it must be a number"},
	{"chunks-missing", EBADMSG, "scales[0].chunk_sizes is missing"},
	{"chunks-empty", EBADMSG, "scales[0].chunk_sizes has 0 entries; it must have at least 1"},
	{"chunks-flat", EBADMSG, "scales[0].chunk_sizes[0] is a number; it must be an array"},
	{"chunks-zero", EBADMSG, "scales[0].chunk_sizes[1][2] is 0; it must be at least 1"},
	{"chunks-many", EBADMSG, "scales[0].chunk_sizes has 17 entries; it must have at most 16"},
	{"chunk-bytes", EFBIG, "scales[0].chunk_sizes[1] makes chunks of more than 2147483648 bytes"},
	{"chunk-bytes-overflow", EFBIG, "scales[0].chunk_sizes[0] makes chunks of more than"},
	{"chunk-bytes-channels", EFBIG, "scales[0].chunk_sizes[0] makes chunks of more than"},
	{"encoding-missing", EBADMSG, "scales[0].encoding is missing"},
	{"encoding-null", EBADMSG, "scales[0].encoding is null; it must be a string"},
	{"encoding-crackle", EOPNOTSUPP, "encoding \"crackle\" is not supported"},
	{"encoding-fpzip", EOPNOTSUPP, "encoding \"fpzip\" is not supported"},
	{"encoding-kempressed", EOPNOTSUPP, "encoding \"kempressed\" is not supported"},
	{"encoding-zfpc", EOPNOTSUPP, "encoding \"zfpc\" is not supported"},
	{"sharding-type-missing", EBADMSG, "scales[0].sharding.@type is missing"},
	{"sharding-type", EOPNOTSUPP, "scales[0].sharding.@type is \"legacy\"; only"},
	{"sharding-hash-missing", EBADMSG, "scales[0].sharding.hash is missing"},
	{"sharding-hash", EOPNOTSUPP, "scales[0].sharding.hash is \"sha1\"; it must be \"identity\" or \"murmurhash3_x86_128\""},
	{"sharding-hash-number", EBADMSG, "scales[0].sharding.hash is a number; it must be a string"},
	{"sharding-preshift-missing", EBADMSG, "scales[0].sharding.preshift_bits is missing"},
	{"sharding-preshift", EBADMSG, "scales[0].sharding.preshift_bits is 65; it must be at most 64"},
	{"sharding-minishard", EBADMSG, "scales[0].sharding.minishard_bits is -1; it must be at least 0"},
	{"sharding-minishard-many", EFBIG, "scales[0].sharding: minishard_bits is 60: no object can hold the index"},
	{"sharding-shard", EBADMSG, "scales[0].sharding.shard_bits is a string; it must be an integer"},
	{"sharding-sum", EBADMSG, "scales[0].sharding: shard_bits is 63; with minishard_bits 2 it must be at most 62"},
	{"sharding-index-encoding", EOPNOTSUPP, "scales[0].sharding.minishard_index_encoding is \"zstd\"; it must be"},
	{"sharding-data-encoding", EBADMSG, "scales[0].sharding.data_encoding is null; it must be a string"},
	{"sharding-unknown", EOPNOTSUPP, "scales[0].sharding has the member \"salt\", which is not known"},
	{"sharding-two-chunks", EBADMSG, "scales[0].chunk_sizes has 2 entries; a sharded scale has one"},
	{"sharding-grid", EFBIG, "scales[0].sharding: the grid has too many chunks to be numbered with 64 bits"},
	{"sharding-true", EBADMSG, "scales[0].sharding is a boolean; it must be an object"},
	{"cseg-uint8", EBADMSG, "scales[0].encoding \"compressed_segmentation\" needs data_type uint32 or uint64, not uint8"},
	{"cseg-block-missing", EBADMSG, "scales[0].compressed_segmentation_block_size is missing"},
	{"cseg-block-zero", EBADMSG, "scales[0].compressed_segmentation_block_size[1] is 0; it must be at least 1"},
	{"cseg-block-huge", EFBIG, "scales[0].compressed_segmentation_block_size makes blocks of more than"},
	{"cseg-block-overflow", EFBIG, "scales[0].compressed_segmentation_block_size makes blocks of more than"},
	{"jpeg-uint16", EBADMSG, "scales[0].encoding \"jpeg\" needs data_type uint8, not uint16"},
	{"jpeg-int8", EBADMSG, "scales[0].encoding \"jpeg\" needs data_type uint8, not int8"},
	{"jpeg-2-channels", EBADMSG, "scales[0].encoding \"jpeg\" needs num_channels 1 or 3, not 2"},
	{"png-float32", EBADMSG, "scales[0].encoding \"PNG\" needs data_type uint8 or uint16, not float32"},
	{"png-5-channels", EBADMSG, "scales[0].encoding \"png\" needs num_channels 1 to 4, not 5"},
	{"png-many-channels", EBADMSG, "scales[0].encoding \"png\" needs num_channels 1 to 4, not 4096"},
	{"compresso-int64", EBADMSG, "scales[0].encoding \"compresso\" needs data_type uint8, uint16, uint32 or uint64, not int64"},
	{"compresso-2-channels", EBADMSG, "scales[0].encoding \"compresso\" needs num_channels 1, not 2"},
	{"all-scales-bad", EBADMSG, "scales[0].size[0] is 0"},
    /* clang-format on */
};

START_TEST(reject_with_the_sentence)
{
	struct vx_volume *v = NULL;
	struct vx_err e = {0};
	char path[200];
	size_t len;
	VX_AUTO_FREE char *text = NULL;

	snprintf(path, sizeof path, "reject/%s.json", rejects[_i].name);
	text = slurp(path, &len);
	ck_assert_msg(vx_precomputed_parse(text, len, &v, &e) == -rejects[_i].code, "%s: %s %s", path,
		      vx_errno_name(e.code), e.why);
	ck_assert_int_eq(e.code, -rejects[_i].code);
	ck_assert_msg(strstr(e.why, rejects[_i].sentence) != NULL, "%s: %s", path, e.why);
	ck_assert_ptr_null(v);
}
END_TEST

START_TEST(reject_too_long)
{
	size_t len = VX_MAX_INFO_BYTES + 1;
	char *text = malloc(len);
	struct vx_volume *v = NULL;
	struct vx_err e = {0};

	memset(text, ' ', len);
	ck_assert_int_eq(vx_precomputed_parse(text, len, &v, &e), -EFBIG);
	ck_assert(strstr(e.why, "info has ") == e.why && strstr(e.why, " are supported") != NULL);
	free(text);
}
END_TEST

/* ---- documents that are taken ---- */

static const struct {
	const char *name;
	enum vx_dtype dtype;
	unsigned channels, nscales, good; /* good: one bit per scale */
	const char *key, *box;
	const char *encoding;
	unsigned ngrids;
	uint64_t chunk[3], cells[3]; /* of the last grid */
	uint32_t block[3];
} accepts[] = {
    /* clang-format off */
	{"pc-cv-chunk-larger", VX_U16, 1, 1, 1, "4_4_40", "5-24_-7-6_11-18", "raw", 1, {64, 64, 64}, {1, 1, 1}, {0}},
	{"pc-cv-cseg-u32-gzip", VX_U32, 1, 2, 3, "4_4_40", "5-72_-7-38_11-34", "compressed_segmentation", 1, {32, 32, 16}, {3, 2, 2}, {8, 8, 8}},
	{"pc-cv-cseg-u64-zstd-block", VX_U64, 1, 1, 1, "4_4_40", "5-42_-7-22_11-22", "compressed_segmentation", 1, {20, 29, 8}, {2, 1, 2}, {5, 9, 2}},
	{"pc-cv-raw-f32-zstd", VX_F32, 1, 2, 3, "4_4_40", "5-42_-7-22_11-22", "raw", 1, {20, 29, 8}, {2, 1, 2}, {0}},
	{"pc-cv-raw-i32-plain", VX_I32, 1, 1, 1, "4_4_40", "5-42_-7-22_11-22", "raw", 1, {20, 29, 8}, {2, 1, 2}, {0}},
	{"pc-cv-raw-i64-gzip", VX_I64, 1, 1, 1, "4_4_40", "5-42_-7-22_11-22", "raw", 1, {20, 29, 8}, {2, 1, 2}, {0}},
	{"pc-cv-raw-u16-br", VX_U16, 1, 2, 3, "4_4_40", "5-42_-7-22_11-22", "raw", 1, {20, 29, 8}, {2, 1, 2}, {0}},
	{"pc-cv-raw-u8-3ch-gzip", VX_U8, 3, 1, 1, "4_4_40", "5-42_-7-22_11-22", "raw", 1, {20, 29, 8}, {2, 1, 2}, {0}},
	{"pc-cv-raw-u8-gzip", VX_U8, 1, 3, 7, "4_4_40", "5-72_-7-38_11-34", "raw", 1, {32, 32, 16}, {3, 2, 2}, {0}},
	{"pc-cv-two-chunk-sizes", VX_U16, 1, 1, 1, "8_8_8", "5-42_-7-22_11-22", "raw", 2, {37, 29, 4}, {1, 1, 3}, {0}},
	{"pc-ts-cseg-u32-2ch", VX_U32, 2, 1, 1, "8_8_30", "5-42_-7-22_11-22", "compressed_segmentation", 1, {20, 16, 11}, {2, 2, 1}, {7, 5, 3}},
	{"pc-ts-cseg-u64-block", VX_U64, 1, 1, 1, "8_8_30", "5-42_-7-22_11-22", "compressed_segmentation", 1, {20, 16, 11}, {2, 2, 1}, {9, 2, 16}},
	{"pc-ts-key", VX_U8, 1, 1, 1, "fine.scale_1", "5-42_-7-22_11-22", "raw", 1, {20, 16, 11}, {2, 2, 1}, {0}},
	{"pc-ts-missing-cseg", VX_U64, 1, 1, 1, "8_8_30", "5-72_-7-38_11-34", "compressed_segmentation", 1, {32, 32, 16}, {3, 2, 2}, {8, 8, 8}},
	{"pc-ts-raw-int16", VX_I16, 1, 1, 1, "8_8_30", "5-28_-7-10_11-20", "raw", 1, {13, 11, 6}, {2, 2, 2}, {0}},
	{"pc-ts-raw-int8", VX_I8, 1, 1, 1, "8_8_30", "5-28_-7-10_11-20", "raw", 1, {10, 17, 5}, {3, 1, 2}, {0}},
	{"pc-ts-raw-u16-4ch", VX_U16, 4, 1, 1, "8_8_30", "5-28_-7-10_11-20", "raw", 1, {13, 11, 6}, {2, 2, 2}, {0}},
	{"pc-ts-raw-uint32", VX_U32, 1, 1, 1, "8_8_30", "5-28_-7-10_11-20", "raw", 1, {10, 17, 5}, {3, 1, 2}, {0}},
	{"pc-ts-raw-uint64", VX_U64, 1, 1, 1, "8_8_30", "5-28_-7-10_11-20", "raw", 1, {13, 11, 6}, {2, 2, 2}, {0}},
	{"pc-cv-compresso-u64", VX_U64, 1, 1, 1, "4_4_40", "5-42_-7-22_11-22", "compresso", 1, {20, 29, 8}, {2, 1, 2}, {0}},
	{"pc-cv-jpeg-u8-3ch", VX_U8, 3, 1, 1, "4_4_40", "5-42_-7-22_11-22", "jpeg", 1, {20, 29, 8}, {2, 1, 2}, {0}},
	{"pc-ts-png-u16-4ch", VX_U16, 4, 1, 1, "8_8_30", "5-42_-7-22_11-22", "png", 1, {20, 16, 11}, {2, 2, 1}, {0}},
	{"pc-ts-scales", VX_U32, 1, 4, 15, "4_4_30", "-64-3_100-145_-3-20", "raw", 1, {32, 32, 16}, {3, 2, 2}, {0}},
    /* clang-format on */
};

START_TEST(accept_what_writers_write)
{
	struct vx_volume *v = NULL;
	const struct vx_scale *s;
	struct vx_err e = {0};
	char path[200], box[VX_BOX_NAME_MAX];
	size_t len;
	VX_AUTO_FREE char *text = NULL;

	snprintf(path, sizeof path, "info/%s.json", accepts[_i].name);
	text = slurp(path, &len);
	ck_assert_msg(vx_precomputed_parse(text, len, &v, &e) == 0, "%s: %s", path, e.why);
	ck_assert_int_eq(v->dtype, accepts[_i].dtype);
	ck_assert_uint_eq(v->channels, accepts[_i].channels);
	ck_assert_uint_eq(v->nscales, accepts[_i].nscales);
	for (unsigned i = 0; i < v->nscales; i++)
		ck_assert_int_eq(!v->scales[i].bad.code, accepts[_i].good >> i & 1);
	s = &v->scales[0];
	vx_box_print(&s->bounds, box);
	ck_assert_str_eq(s->key, accepts[_i].key);
	ck_assert_str_eq(box, accepts[_i].box);
	ck_assert_str_eq(s->encoding, accepts[_i].encoding);
	ck_assert_str_eq(s->codec->name, accepts[_i].encoding);
	ck_assert_uint_eq(s->ngrids, accepts[_i].ngrids);
	ck_assert_mem_eq(s->grids[s->ngrids - 1].chunk, accepts[_i].chunk, sizeof s->grids->chunk);
	ck_assert_mem_eq(s->grids[s->ngrids - 1].cells, accepts[_i].cells, sizeof s->grids->cells);
	ck_assert_mem_eq(s->block, accepts[_i].block, sizeof s->block);
	vx_volume_free(&v);
	ck_assert_ptr_null(v);
}
END_TEST

START_TEST(accept_loose_spellings)
{
	struct vx_volume *v =
	    must_parse("\xef\xbb\xbf{\"type\":\"anything\",\"data_type\":\"UInt32\",\"num_channels\":2.0,"
		       "\"redirect\":\"gs://ignored\",\"huge\":[123456789012345678901234567890,-0.0],"
		       "\"mesh\":{\"a\":[]},\"app\":\"no object\",\"scales\":[{\"key\":\"old\",\"key\":\"./k//\","
		       "\"size\":[4.0,1e1,3],\"resolution\":[4.05,1e-3,40],\"chunk_sizes\":[[64,64,64]],"
		       "\"encoding\":\"RAW\",\"sharding\":null,\"hidden\":true,"
		       "\"compressed_segmentation_block_size\":\"not looked at\"}]}");

	ck_assert_str_eq(v->type, "anything");
	ck_assert_int_eq(v->dtype, VX_U32);
	ck_assert_uint_eq(v->channels, 2);
	ck_assert_str_eq(v->scales[0].key, "k");
	ck_assert_ptr_eq(v->scales[0].codec, &vx_codec_raw);
	ck_assert(vx_box_equal(&v->scales[0].bounds, &(struct vx_box){{0, 0, 0}, {4, 10, 3}}));
	ck_assert(v->scales[0].resolution[0] == 4.05 && v->scales[0].resolution[1] == 0.001);
	vx_volume_free(&v);
}
END_TEST

#define INFO(scales) "{\"type\":\"image\",\"data_type\":\"uint8\",\"num_channels\":1,\"scales\":[" scales "]}"
#define SCALE(key, offset, size, chunk, encoding)                                                         \
	"{\"key\":\"" key "\",\"voxel_offset\":[" offset "],\"size\":[" size "],\"chunk_sizes\":[[" chunk \
	"]],\"resolution\":[4,4,40],\"encoding\":\"" encoding "\"}"

START_TEST(accept_up_to_the_limits)
{
	/* 2^48 along one axis, ending at the last coordinate; and the largest chunk there may be */
	struct vx_volume *v =
	    must_parse(INFO(SCALE("a", "0,-281474976710656,0", "1,281474976710656,1", "1,99,1", "raw") "," SCALE(
		"b", "281474976710655,0,0", "1,1,1", "281474976710656,1,1",
		"raw") "," SCALE("c", "0,0,0", "2048,2048,512", "2048,2048,4096",
				 "raw") "," SCALE("d", "0,0,0", "2097152,2097152,2097151", "1,1,1", "raw")));
	uint64_t bytes;

	for (unsigned i = 0; i < 4; i++)
		ck_assert_msg(!v->scales[i].bad.code, "%s", v->scales[i].bad.why);
	ck_assert_int_eq(v->scales[0].bounds.hi[1], 0);
	ck_assert_int_eq(v->scales[1].bounds.hi[0], VX_MAX_EXTENT);
	ck_assert(vx_volume_box_bytes(v, &v->scales[3].bounds, &bytes));
	ck_assert_uint_eq(bytes, ((uint64_t)1 << 63) - ((uint64_t)1 << 42));
	vx_volume_free(&v);
}
END_TEST

START_TEST(bad_scales_spare_the_others)
{
	struct vx_volume *v = must_parse(INFO(SCALE("a", "1,2,3", "8,9,10", "4,4,4", "zfpc") "," SCALE(
	    "b", "0,0,0", "8,9,10", "4,4,4", "raw") ", 7, " SCALE("c", "0,0,0", "0,9,10", "4,4,4", "raw")));

	ck_assert_int_eq(v->scales[0].bad.code, -EOPNOTSUPP);
	ck_assert_str_eq(v->scales[0].bad.why, "scales[0].encoding \"zfpc\" is not supported");
	ck_assert_str_eq(v->scales[0].encoding, "zfpc");
	ck_assert_int_eq(v->scales[0].bounds.hi[2], 13); /* what was understood is there */
	ck_assert_int_eq(v->scales[1].bad.code, 0);
	ck_assert_str_eq(v->scales[2].bad.why, "scales[2] is a number; it must be an object");
	ck_assert_str_eq(v->scales[3].bad.why, "scales[3].size[0] is 0; it must be at least 1");
	ck_assert(vx_box_empty(&v->scales[3].bounds));
	vx_volume_free(&v);
}
END_TEST

/* An encoding whose library may be absent. */
START_TEST(jxl_where_it_can_be_had)
{
	static const struct {
		const char *dtype;
		unsigned channels;
		const char *sentence; /* NULL: taken */
	} cases[] = {
	    {"uint8", 1, NULL},
	    {"uint8", 4, NULL},
	    {"uint8", 2, "scales[0].encoding \"jxl\" needs num_channels 1, 3 or 4, not 2"},
	    {"uint16", 1, "scales[0].encoding \"jxl\" needs data_type uint8, not uint16"},
	};
	const char *lacks = vx_codec_lacks("jxl");
	char text[500];

	ck_assert(!lacks == !!vx_codec_find("jxl"));
	for (size_t i = 0; i < VX_ARRAY_LEN(cases); i++) {
		struct vx_volume *v = NULL;
		struct vx_err e = {0};
		const char *why =
		    lacks ? "scales[0].encoding \"jxl\" is not supported: this voxfs was built without libjxl"
			  : cases[i].sentence;

		snprintf(text, sizeof text,
			 "{\"type\":\"image\",\"data_type\":\"%s\",\"num_channels\":%u,\"scales\":[" SCALE(
			     "a", "0,0,0", "8,9,10", "4,4,4", "jxl") "]}",
			 cases[i].dtype, cases[i].channels);
		ck_assert_int_eq(parse(text, &v, &e), !why ? 0 : lacks ? -EOPNOTSUPP : -EBADMSG);
		ck_assert_str_eq(e.why, why ? why : "");
		vx_volume_free(&v);
	}
}
END_TEST

static const char *const keys[][2] = {
    {"a", "a"},
    {"a/b", "a/b"},
    {"./a", "a"},
    {"a/", "a"},
    {"a///b//", "a/b"},
    {"a/./b/.", "a/b"},
    {"a/../b", "b"},
    {"a/b/..", "a"},
    {"a/b/../../c", "c"},
    {"../a", "../a"},
    {"../../a", "../../a"},
    {"a/../../b", "../b"},
    {"../a/../b", "../b"},
    {"../a/../../b", "../../b"},
    {".", ""},
    {"a/..", ""},
    {"..", ".."},
    {"../..", "../.."},
    {"...", "..."},
    {"..a/b", "..a/b"},
    {"./../x/./y/../z", "../x/z"},
    {"ab/cd/../ef", "ab/ef"},
    {".../../a", "a"},
    {"8 8\xc3\xa9", "8 8\xc3\xa9"},
};

START_TEST(key_is_normalised)
{
	const struct vx_box cell = {{-7, 5, 0}, {1, 13, 4}};
	char json[512], name[200], want[200];
	struct vx_volume *v;
	int n;

	snprintf(json, sizeof json, INFO(SCALE("%s", "0,0,0", "1,1,1", "1,1,1", "raw")), keys[_i][0]);
	v = must_parse(json);
	ck_assert_str_eq(v->scales[0].key, keys[_i][1]);
	n = snprintf(want, sizeof want, "%s%s-7-1_5-13_0-4", keys[_i][1], keys[_i][1][0] ? "/" : "");
	ck_assert_int_eq(vx_precomputed_chunk_name(&v->scales[0], &cell, name, sizeof name), n);
	ck_assert_str_eq(name, want);
	ck_assert_int_eq(vx_precomputed_chunk_name(&v->scales[0], &cell, name, (size_t)n + 1), n);
	ck_assert_int_eq(vx_precomputed_chunk_name(&v->scales[0], &cell, name, (size_t)n), -ENAMETOOLONG);
	vx_volume_free(&v);
}
END_TEST

/* ---- memory runs out ---- */

static size_t allocations_left;

static void *scarce_malloc(size_t n)
{
	return allocations_left-- ? malloc(n) : (allocations_left = 0, NULL);
}

/* jansson itself takes some failures for bad syntax, so only that it fails cleanly is asked for. */
START_TEST(no_memory_fails_cleanly)
{
	const char *json = INFO(SCALE("a", "1,2,3", "8,9,10", "4,4,4", "raw"));
	struct vx_volume *v = NULL;
	int r = -ENOMEM;

	json_set_alloc_funcs(scarce_malloc, free);
	for (size_t n = 0; r < 0; n++) {
		struct vx_err e = {0};

		allocations_left = n;
		r = parse(json, &v, &e);
		ck_assert_msg(!r || (e.code == r && e.why[0] && !v), "after %zu: %s", n, e.why);
		ck_assert(n > 0 || r == -ENOMEM);
	}
	json_set_alloc_funcs(malloc, free);
	vx_volume_free(&v);
}
END_TEST

/* ---- info.json ---- */

static json_t *info_json(const struct vx_volume *v, unsigned scale, const char *name, const char *source)
{
	VX_AUTO_FREE char *text = vx_info_json(v, scale, 0, name, source);
	json_error_t err;
	json_t *j;

	ck_assert_ptr_nonnull(text);
	ck_assert_str_eq(text + strlen(text) - 2, "}\n");
	j = json_loads(text, JSON_REJECT_DUPLICATES, &err);
	ck_assert_msg(j != NULL, "%s\n%s", err.text, text);
	return j;
}

static void ck_member(const json_t *j, const char *name, const char *want)
{
	VX_AUTO_FREE char *got = json_dumps(json_object_get(j, name), JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));

	ck_assert_msg(got && !strcmp(got, want), "%s is %s, not %s", name, got, want);
}

START_TEST(info_json_says_it_all)
{
	struct vx_volume *v =
	    must_parse("{\"type\":\"segmentation\",\"data_type\":\"uint64\",\"num_channels\":3,\"scales\":["
		       "{\"key\":\"k\",\"size\":[5,6,7],\"voxel_offset\":[-1,2,3],\"encoding\":\"Raw\","
		       "\"resolution\":[4.05,0.1,1e30],\"chunk_sizes\":[[64,64,64],[3,2,1]]},"
		       "{\"key\":1}, " SCALE("x", "0,0,0", "2097152,2097152,1", "8,8,8", "raw") "]}");
	json_t *j = info_json(v, 0, "a\"\\\n\x01\xc3\xa9", "http://\xff/\xc3");
	const json_t *scales = json_object_get(j, "scales");

	ck_member(j, "name", "\"a\\\"\\\\\\n\\u0001\xc3\xa9\"");
	ck_member(j, "source", "\"http://?/?\"");
	ck_member(j, "format", "\"precomputed\"");
	ck_member(j, "type", "\"segmentation\"");
	ck_member(j, "dtype", "\"uint64\"");
	ck_member(j, "channels", "3");
	ck_member(j, "scale", "0");
	ck_member(j, "shape", "{\"x\": 5, \"y\": 6, \"z\": 7}");
	ck_member(j, "numpy_shape", "[3, 7, 6, 5]");
	ck_member(j, "voxel_size", "[4.05, 0.1, 1e30]");
	ck_member(j, "voxel_offset", "[-1, 2, 3]");
	ck_member(j, "box", "\"-1-4_2-8_3-10\"");
	ck_member(j, "bytes", "5040");
	ck_member(j, "chunk_sizes", "[[64, 64, 64], [3, 2, 1]]");
	ck_member(j, "encoding", "\"raw\"");
	ck_assert_uint_eq(json_array_size(scales), 3);
	ck_member(json_array_get(scales, 0), "dir", "\"\"");
	ck_member(json_array_get(scales, 1), "error", "\"scales[1].key is a number; it must be a string\"");
	ck_member(json_array_get(scales, 1), "readable", "false");
	ck_member(json_array_get(scales, 1), "size", "null");
	ck_member(json_array_get(scales, 2), "dir", "\"mip2\"");
	ck_member(json_array_get(scales, 2), "size", "[2097152, 2097152, 1]");
	json_decref(j);

	j = info_json(v, 1, "", ""); /* of the bad one */
	ck_member(j, "readable", "false");
	ck_member(j, "error", "\"scales[1].key is a number; it must be a string\"");
	ck_member(j, "shape", "null");
	ck_member(j, "bytes", "null");
	json_decref(j);

	v->channels = 1;
	j = info_json(v, 2, "", "");
	ck_member(j, "numpy_shape", "[1, 2097152, 2097152]");
	ck_member(j, "bytes", "35184372088832");
	ck_member(j, "scale", "2");
	json_decref(j);
	vx_volume_free(&v);
}
END_TEST

START_TEST(dtypes)
{
	static const char *const names[] = {"uint8", "int8",   "uint16", "int16",  "uint32",
					    "int32", "uint64", "int64",  "float32"};
	static const uint32_t widths[] = {1, 1, 2, 2, 4, 4, 8, 8, 4};
	enum vx_dtype t;

	for (unsigned i = 0; i < VX_ARRAY_LEN(names); i++) {
		ck_assert(vx_dtype_find(names[i], &t) && t == i);
		ck_assert_str_eq(vx_dtype_name(t), names[i]);
		ck_assert_uint_eq(vx_dtype_width(t), widths[i]);
	}
	ck_assert(vx_dtype_find("FLOAT32", &t) && t == VX_F32);
	ck_assert(!vx_dtype_find("", &t) && !vx_dtype_find("uint", &t) && !vx_dtype_find("uint8 ", &t));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vol");
	TCase *tc = tcase_create("info");

	tcase_add_loop_test(tc, reject_with_the_sentence, 0, VX_ARRAY_LEN(rejects));
	tcase_add_test(tc, reject_too_long);
	tcase_add_loop_test(tc, accept_what_writers_write, 0, VX_ARRAY_LEN(accepts));
	tcase_add_test(tc, accept_loose_spellings);
	tcase_add_test(tc, accept_up_to_the_limits);
	tcase_add_test(tc, bad_scales_spare_the_others);
	tcase_add_test(tc, jxl_where_it_can_be_had);
	tcase_add_loop_test(tc, key_is_normalised, 0, VX_ARRAY_LEN(keys));
	tcase_add_test(tc, no_memory_fails_cleanly);
	tcase_add_test(tc, info_json_says_it_all);
	tcase_add_test(tc, dtypes);
	suite_add_tcase(suite, tc);
	return vxt_run(suite);
}
