/* SPDX-License-Identifier: Apache-2.0
 * Metadata of arrays: Zarr v2, Zarr v3 and N5, what is taken, what is refused and with which sentence.
 */
#include "../lib/vxtest.h"
#include "base/crc32c.h"
#include "vol/image.h"

#include <stdio.h>
#include <string.h>

/* ---- documents ---- */

#define V2(members) "{\"zarr_format\":2," members "}"
#define V2_REST "\"compressor\":null,\"filters\":null,\"order\":\"C\",\"dimension_separator\":\"/\""
#define V2_ARRAY(dtype, fill) \
	V2("\"shape\":[7,6,5],\"chunks\":[4,3,2],\"dtype\":\"" dtype "\",\"fill_value\":" fill "," V2_REST)

#define V3_WITH(shape, chunk, type, fill, codecs, more)                                          \
	"{\"zarr_format\":3,\"node_type\":\"array\",\"shape\":[" shape "],\"data_type\":\"" type \
	"\",\"chunk_grid\":{\"name\":\"regular\",\"configuration\":{\"chunk_shape\":[" chunk     \
	"]}},\"chunk_key_encoding\":{\"name\":\"default\"},\"fill_value\":" fill ",\"codecs\":[" codecs "]" more "}"
#define V3(type, fill, codecs) V3_WITH("8,6,4", "4,3,2", type, fill, codecs, "")
#define LITTLE "{\"name\":\"bytes\",\"configuration\":{\"endian\":\"little\"}}"
#define INDEX "\"index_codecs\":[" LITTLE ",{\"name\":\"crc32c\"}]"
#define SHARD(chunk, inner)                                                                                           \
	"{\"name\":\"sharding_indexed\",\"configuration\":{\"chunk_shape\":[" chunk "],\"codecs\":[" inner "]," INDEX \
	"}}"

#define V3_STORED(grid, keys)                                                                                          \
	"{\"zarr_format\":3,\"node_type\":\"array\",\"shape\":[8,6],\"data_type\":\"uint8\",\"chunk_grid\":{\"name\":" \
	"\"" grid "\",\"configuration\":{\"chunk_shape\":[4,3]}},\"chunk_key_encoding\":" keys                         \
	",\"fill_value\":0,\"codecs\":[\"bytes\"]}"
#define V2_FILTERS(filters)                                                                                           \
	V2("\"shape\":[7,6,5],\"chunks\":[4,3,2],\"dtype\":\"<f4\",\"fill_value\":0,\"compressor\":null,\"filters\":" \
	   "[" filters "],\"order\":\"C\"")
#define FOUR_BYTES "{\"id\":\"delta\",\"dtype\":\"<i4\"}"
#define DELTA "{\"name\":\"numcodecs.delta\",\"configuration\":{\"dtype\":\"<i4\",\"astype\":\"<i4\"}}"
#define CRCS "\"crc32c\",\"crc32c\",\"crc32c\""

#define N5(members) "{\"dimensions\":[5,6,7],\"blockSize\":[2,3,4]," members "}"

/* As an array of its own, without attributes. */
static int build(const struct vx_array *a, struct vx_volume **ret, struct vx_err *e)
{
	struct vx_level level = {.path = (char *)""};
	struct vx_image im = {.nlevels = 1, .level = &level};
	struct vx_err none = {0};

	return vx_image_build(&im, a, &none, "", ret, e);
}

typedef int (*parser)(const char *text, size_t len, struct vx_array *ret, struct vx_err *e);
static const parser parsers[] = {['2'] = vx_zarr2_parse, ['3'] = vx_zarr3_parse, ['5'] = vx_n5_parse};

static int parse(char format, const char *text, struct vx_array *a, struct vx_volume **v, struct vx_err *e)
{
	int r = parsers[(unsigned char)format](text, strlen(text), a, e);

	return r < 0 ? r : build(a, v, e);
}

/* ---- what is taken ---- */

static const struct {
	char format;
	const char *text;
	enum vx_dtype dtype;
	bool big;
	const char *fill; /* bytes in hexadecimal */
	const char *name; /* of the chunk at 1, 0, 1 (x, y, z) */
	const char *encoding;
} accepts[] = {
    /* clang-format off */
	{'2', V2_ARRAY("|u1", "200"), VX_U8, false, "c8", "1/0/1", "raw"},
	{'2', V2_ARRAY("|i1", "-3"), VX_I8, false, "fd", "1/0/1", "raw"},
	{'2', V2_ARRAY("<u2", "null"), VX_U16, false, "0000", "1/0/1", "raw"},
	{'2', V2_ARRAY(">u2", "258"), VX_U16, true, "0201", "1/0/1", "raw"},
	{'2', V2_ARRAY("<u8", "18446744073709551615"), VX_U64, false, "ffffffffffffffff", "1/0/1", "raw"},
	{'2', V2_ARRAY("<u8", "9223372036854775809"), VX_U64, false, "0100000000000080", "1/0/1", "raw"},
	{'2', V2_ARRAY("<i8", "-9223372036854775808"), VX_I64, false, "0000000000000080", "1/0/1", "raw"},
	{'2', V2_ARRAY("<i8", "9007199254740993"), VX_I64, false, "0100000000002000", "1/0/1", "raw"},
	{'2', V2_ARRAY("<i4", "7.0"), VX_I32, false, "07000000", "1/0/1", "raw"},
	{'2', V2_ARRAY("<f4", "NaN"), VX_F32, false, "0000c07f", "1/0/1", "raw"},
	{'2', V2_ARRAY("<f4", "\"NaN\""), VX_F32, false, "0000c07f", "1/0/1", "raw"},
	{'2', V2_ARRAY("<f4", "-Infinity"), VX_F32, false, "000080ff", "1/0/1", "raw"},
	{'2', V2_ARRAY("<f8", "\"Infinity\""), VX_F64, false, "000000000000f07f", "1/0/1", "raw"},
	{'2', V2_ARRAY("<f8", "-0.0"), VX_F64, false, "0000000000000080", "1/0/1", "raw"},
	{'2', V2_ARRAY("<f8", "\"AAAAAAAA+H8=\""), VX_F64, false, "000000000000f87f", "1/0/1", "raw"},
	{'2', V2_ARRAY(">f4", "\"f8AAAA==\""), VX_F32, true, "0000c07f", "1/0/1", "raw"},
	{'2', V2_ARRAY("<f2", "65504"), VX_F16, false, "ff7b", "1/0/1", "raw"},
	{'2', V2_ARRAY("<f2", "5.960464477539063e-08"), VX_F16, false, "0100", "1/0/1", "raw"},
	{'2', V2_ARRAY("<f2", "0.1"), VX_F16, false, "662e", "1/0/1", "raw"},
	{'2', V2_ARRAY("<f2", "6.097555160522461e-05"), VX_F16, false, "ff03", "1/0/1", "raw"},
	{'2', V2_ARRAY("<f2", "2049"), VX_F16, false, "0068", "1/0/1", "raw"},
	{'2', V2_ARRAY("|b1", "true"), VX_BOOL, false, "01", "1/0/1", "raw"},
	{'2', V2_ARRAY("|b1", "0"), VX_BOOL, false, "00", "1/0/1", "raw"},
	{'2', V2("\"shape\":[7,6,5],\"chunks\":[4,3,2],\"dtype\":\"<u2\",\"fill_value\":0,\"compressor\":{\"id\":\"blosc\"},"
		 "\"filters\":[{\"id\":\"delta\",\"dtype\":\"<u2\"}],\"order\":\"F\",\"dimension_separator\":\".\",\"x\":[1e999]"),
	 VX_U16, false, "0000", "1.0.1", "delta, blosc"},
	{'2', V2("\"shape\":[7,6,5],\"chunks\":[4,3,2],\"dtype\":\"|u1\",\"fill_value\":0,\"compressor\":{\"type\":\"raw\"},"
		 "\"filters\":[],\"order\":\"C\",\"dimension_separator\":\".\""), VX_U8, false, "00", "1.0.1", "raw"},
	{'3', V3("uint8", "7", "{\"name\":\"bytes\"}"), VX_U8, false, "07", "c/1/0/1", "raw"},
	{'3', V3("uint8", "7", "\"bytes\",\"crc32c\""), VX_U8, false, "07", "c/1/0/1", "crc32c"},
	{'3', V3("float32", "\"0x7fc00abc\"", LITTLE), VX_F32, false, "bc0ac07f", "c/1/0/1", "raw"},
	{'3', V3("float16", "\"0xFE01\"", LITTLE), VX_F16, false, "01fe", "c/1/0/1", "raw"},
	{'3', V3("float64", "\"-Infinity\"", LITTLE), VX_F64, false, "000000000000f0ff", "c/1/0/1", "raw"},
	{'3', V3("uint64", "18446744073709551615", LITTLE), VX_U64, false, "ffffffffffffffff", "c/1/0/1", "raw"},
	{'3', V3("bool", "true", "{\"name\":\"bytes\"}"), VX_BOOL, false, "01", "c/1/0/1", "raw"},
	{'3', V3("int32", "-1", "{\"name\":\"bytes\",\"configuration\":{\"endian\":\"big\"}},{\"name\":\"gzip\",\"configuration\":{\"level\":1}},{\"name\":\"crc32c\"}"),
	 VX_I32, true, "ffffffff", "c/1/0/1", "gzip, crc32c"},
	{'3', V3("uint16", "0", SHARD("2,3,1", LITTLE)), VX_U16, false, "0000", "c/0/0/0", "sharding_indexed"},
	{'3', V3("uint16", "0", SHARD("2,3,2", LITTLE) ",{\"name\":\"gzip\"}"), VX_U16, false, "0000", "c/1/0/1", "sharding_indexed, gzip"},
	{'3', V3("uint16", "0", SHARD("2,3,1", SHARD("1,1,1", LITTLE))), VX_U16, false, "0000", "c/0/0/0", "sharding_indexed, sharding_indexed"},
	{'3', V3("int32", "0", "{\"name\":\"numcodecs.delta\",\"configuration\":{\"dtype\":\"<i4\",\"astype\":\"<i2\"}}," LITTLE ",{\"name\":\"numcodecs.lz4\"}"),
	 VX_I32, false, "00000000", "c/1/0/1", "delta, numcodecs.lz4"},
	{'3', V3_WITH("8,6,4", "4,3,2", "uint8", "0", "\"bytes\"", ",\"dimension_names\":null,\"storage_transformers\":[],\"odd\":{\"must_understand\":false},\"attributes\":{\"a\":NaN}"),
	 VX_U8, false, "00", "c/1/0/1", "raw"},
	{'5', N5("\"dataType\":\"uint16\",\"compression\":{\"type\":\"raw\"}"), VX_U16, true, "0000", "1/0/1", "raw"},
	{'5', N5("\"n5\":\"4.0.0\",\"dataType\":\"FLOAT64\",\"compression\":{\"type\":\"blosc\",\"nthreads\":3}"), VX_F64, true, "0000000000000000", "1/0/1", "blosc"},
	{'5', N5("\"dataType\":\"int8\",\"compressionType\":\"bzip2\""), VX_I8, true, "00", "1/0/1", "bzip2"},
    /* clang-format on */
};

static void check_hex(const uint8_t *bytes, uint32_t n, const char *want)
{
	char got[17] = "";

	for (uint32_t i = 0; i < n; i++)
		snprintf(got + 2 * i, 3, "%02x", bytes[i]);
	ck_assert_str_eq(got, want);
}

START_TEST(arrays_that_are_taken)
{
	struct vx_array a;
	struct vx_volume *v = NULL;
	struct vx_err e = {0};
	const struct vx_cell cell = {.at = {1, 0, 1}};
	char name[200];

	ck_assert_msg(parse(accepts[_i].format, accepts[_i].text, &a, &v, &e) == 0, "%s: %s", accepts[_i].text, e.why);
	ck_assert_int_eq(v->dtype, accepts[_i].dtype);
	ck_assert_int_eq(a.big_endian, accepts[_i].big);
	check_hex(v->scales[0].fill, vx_dtype_width(v->dtype), accepts[_i].fill);
	ck_assert_int_gt(v->format->chunk_name(&v->scales[0], 0, &cell, name, sizeof name), 0);
	ck_assert_str_eq(name, accepts[_i].name);
	ck_assert_str_eq(v->scales[0].encoding, accepts[_i].encoding);
	ck_assert_uint_eq(v->channels, 1);
	ck_assert_uint_eq(v->times, 1);
	vx_volume_free(&v);
}
END_TEST

/* ---- what is refused ---- */

static const struct {
	char format;
	const char *text;
	int code;
	const char *sentence;
} rejects[] = {
    /* clang-format off */
	{'2', "", EBADMSG, "is empty"},
	{'2', "<html>", EBADMSG, "is not JSON"},
	{'2', "[]", EBADMSG, "must be an object"},
	{'2', V2_ARRAY("<c8", "0"), EOPNOTSUPP, "dtype \"<c8\" is not supported"},
	{'2', V2_ARRAY("u2", "0"), EOPNOTSUPP, "dtype \"u2\" is not supported"},
	{'2', V2_ARRAY("=u2", "0"), EOPNOTSUPP, "dtype \"=u2\""},
	{'2', V2_ARRAY("|u2", "0"), EOPNOTSUPP, "dtype \"|u2\""},
	{'2', V2_ARRAY("|O", "0"), EOPNOTSUPP, "dtype \"|O\""},
	{'2', V2_ARRAY("<M8[ns]", "0"), EOPNOTSUPP, "dtype \"<M8[ns]\""},
	{'2', V2_ARRAY("|u1", "256"), EBADMSG, "fill_value 256 is no value of uint8"},
	{'2', V2_ARRAY("|u1", "-1"), EBADMSG, "fill_value -1 is no value of uint8"},
	{'2', V2_ARRAY("|i1", "128"), EBADMSG, "no value of int8"},
	{'2', V2_ARRAY("<u8", "18446744073709551616"), EBADMSG, "no value of uint64"},
	{'2', V2_ARRAY("<u8", "NaN"), EBADMSG, "no value of uint64"},
	{'2', V2_ARRAY("<i4", "1.5"), EBADMSG, "no value of int32"},
	{'2', V2_ARRAY("<f4", "1e39"), EBADMSG, "no value of float32"},
	{'2', V2_ARRAY("<f2", "65520"), EBADMSG, "no value of float16"},
	{'2', V2_ARRAY("<f4", "\"nan\""), EBADMSG, "no value of float32"},
	{'2', V2_ARRAY("<f4", "{}"), EBADMSG, "no value of float32"},
	{'2', V2_ARRAY("<f4", "\"f8!AAA==\""), EBADMSG, "no value of float32"},
	{'2', V2_ARRAY("|b1", "2"), EBADMSG, "no value of bool"},
	{'2', "{\"zarr_format\":3}", EOPNOTSUPP, "zarr_format is 3; it must be 2 here"},
	{'2', V2("\"shape\":[5],\"chunks\":[2]"), EOPNOTSUPP, "shape: an array of 1 axis"},
	{'2', V2("\"shape\":[1,2,3,4,5,6],\"chunks\":[2]"), EOPNOTSUPP, "an array of 6 axes; 2 to 5"},
	{'2', V2("\"shape\":[5,5],\"chunks\":[2]"), EBADMSG, "chunks has 1 entries; it must have exactly 2"},
	{'2', V2("\"shape\":[5,5],\"chunks\":[2,0]"), EBADMSG, "chunks[1] is 0; it must be at least 1"},
	{'2', V2("\"shape\":[5,-1],\"chunks\":[2,1]"), EBADMSG, "shape[1] is -1"},
	{'2', V2("\"shape\":[5,562949953421312],\"chunks\":[2,1]"), EBADMSG, "shape[1] is"},
	{'2', V2("\"shape\":[5,5],\"chunks\":[2,2],\"dtype\":[[\"r\",\"|u1\"]]"), EOPNOTSUPP, "dtype is structured"},
	{'2', V2("\"shape\":[5,0],\"chunks\":[2,2],\"dtype\":\"|u1\",\"fill_value\":0," V2_REST), EOPNOTSUPP, "shape[1] is 0: the array is empty"},
	{'2', V2("\"shape\":[5,5],\"chunks\":[65536,65536],\"dtype\":\"|u1\",\"fill_value\":0," V2_REST), EFBIG, "a chunk has more than 2147483648 bytes"},
	{'2', V2("\"shape\":[281474976710656,281474976710656],\"chunks\":[2,2],\"dtype\":\"|u1\",\"fill_value\":0," V2_REST), EFBIG, "2^63 bytes or more"},
	{'2', V2("\"shape\":[5000,1,5,5],\"chunks\":[1,1,2,2],\"dtype\":\"|u1\",\"fill_value\":0," V2_REST), EFBIG, "5000 channels; at most 4096"},
	{'2', V2("\"shape\":[5,5],\"chunks\":[2,2],\"dtype\":\"|u1\",\"fill_value\":0,\"order\":\"A\",\"compressor\":null"), EBADMSG, "order is \"A\""},
	{'2', V2("\"shape\":[5,5],\"chunks\":[2,2],\"dtype\":\"|u1\",\"fill_value\":0,\"order\":\"C\",\"compressor\":null,\"dimension_separator\":\"-\""), EBADMSG, "dimension_separator is \"-\""},
	{'2', V2("\"shape\":[5,5],\"chunks\":[2,2],\"dtype\":\"|u1\",\"fill_value\":0,\"order\":\"C\",\"compressor\":{\"id\":\"zfpy\"}"), EOPNOTSUPP, "compressor: the codec \"zfpy\" is not supported"},
	{'2', V2("\"shape\":[5,5],\"chunks\":[2,2],\"dtype\":\"|u1\",\"fill_value\":0,\"order\":\"C\",\"compressor\":null,\"filters\":[{\"id\":\"categorize\"}]"), EOPNOTSUPP, "filters[0]: the codec \"categorize\""},
	{'2', V2("\"shape\":[5,5],\"chunks\":[2,2],\"dtype\":\"|u1\",\"fill_value\":0,\"order\":\"C\",\"compressor\":{\"id\":\"lzma\",\"format\":3}"), EOPNOTSUPP, "compressor.format 3"},
	{'2', V2("\"shape\":[5,5],\"chunks\":[2,2],\"dtype\":\"|u1\",\"fill_value\":0,\"order\":\"C\",\"compressor\":null,\"filters\":[{\"id\":\"delta\",\"dtype\":\"<i4\"}]"), EOPNOTSUPP, "takes elements of 4 bytes and is given 1"},
	{'2', V2_FILTERS("{\"id\":\"fixedscaleoffset\",\"dtype\":\"<f4\",\"astype\":\"|u1\",\"scale\":0,\"offset\":0}"), EBADMSG, "filters[0].scale is 0"},
	{'2', V2_FILTERS("{\"id\":\"fixedscaleoffset\",\"dtype\":\"<f4\",\"astype\":\"|u1\",\"scale\":\"x\",\"offset\":0}"), EBADMSG, "filters[0].scale is"},
	{'2', V2_FILTERS(FOUR_BYTES "," FOUR_BYTES "," FOUR_BYTES "," FOUR_BYTES "," FOUR_BYTES), EOPNOTSUPP, "filters[4]: the filter delta is not supported in this place"},
	{'2', V2("\"shape\":[1025,1,1,5,5],\"chunks\":[1025,1,1,2,2],\"dtype\":\"|u1\",\"fill_value\":0," V2_REST), EFBIG, "chunks of more than 1024 time points"},
	{'2', V2("\"shape\":[65537,1,1,5,5],\"chunks\":[1,1,1,2,2],\"dtype\":\"|u1\",\"fill_value\":0," V2_REST), EFBIG, "65537 time points; at most 65536"},
	{'3', "{\"zarr_format\":3,\"node_type\":\"group\"}", EISDIR, "node_type is \"group\""},
	{'3', "{\"zarr_format\":3,\"node_type\":\"table\"}", EBADMSG, "node_type is \"table\"; it must be \"array\""},
	{'3', V3_STORED("rectangular", "{\"name\":\"default\"}"), EOPNOTSUPP, "chunk_grid \"rectangular\" is not supported"},
	{'3', V3_STORED("regular", "{\"name\":\"hash\"}"), EOPNOTSUPP, "chunk_key_encoding \"hash\" is not supported"},
	{'3', V3_STORED("regular", "{\"name\":\"v2\",\"configuration\":{\"separator\":\"-\"}}"), EBADMSG, "separator is \"-\"; it must be"},
	{'3', "{\"zarr_format\":2,\"node_type\":\"array\"}", EOPNOTSUPP, "zarr_format is 2"},
	{'3', V3("complex64", "0", LITTLE), EOPNOTSUPP, "data_type \"complex64\""},
	{'3', V3("uint8", "null", LITTLE), EBADMSG, "fill_value null is no value of uint8"},
	{'3', V3("bool", "1", LITTLE), EBADMSG, "fill_value 1 is no value of bool"},
	{'3', V3("float32", "\"0x7fc000000\"", LITTLE), EBADMSG, "no value of float32"},
	{'3', V3("float32", "\"0x\"", LITTLE), EBADMSG, "no value of float32"},
	{'3', V3("uint8", "0", "{\"name\":\"zstd\"}"), EOPNOTSUPP, "codecs[0]: the codec \"zstd\""},
	{'3', V3("uint8", "0", LITTLE "," LITTLE), EOPNOTSUPP, "codecs[1]: the codec \"bytes\""},
	{'3', V3("uint8", "0", LITTLE ",{\"name\":\"pcodec\",\"must_understand\":false}"), EOPNOTSUPP, "the codec \"pcodec\""},
	{'3', V3("uint8", "0", "{\"name\":\"vlen-utf8\"}"), EOPNOTSUPP, "the codec \"vlen-utf8\""},
	{'3', V3("uint8", "0", "{\"name\":\"transpose\",\"configuration\":{\"order\":[0,0,1]}}," LITTLE), EBADMSG, "is no permutation"},
	{'3', V3("uint8", "0", "{\"name\":\"transpose\",\"configuration\":{\"order\":[0,1]}}," LITTLE), EBADMSG, "must have exactly 3"},
	{'3', V3("uint8", "0", "{\"name\":\"transpose\",\"configuration\":{\"order\":[0,1,3]}}," LITTLE), EBADMSG, "order[2] is 3"},
	{'3', V3("uint8", "0", "\"transpose\"," LITTLE), EBADMSG, "configuration is missing"},
	{'3', V3("uint8", "0", "{\"name\":\"transpose\",\"configuration\":{\"order\":[2,1,0]}}"), EBADMSG, "no codec that makes bytes"},
	{'3', V3("uint8", "0", ""), EBADMSG, "codecs has 0 entries"},
	{'3', V3("int32", "0", DELTA ",{\"name\":\"transpose\",\"configuration\":{\"order\":[2,1,0]}}," LITTLE), EOPNOTSUPP, "a transpose behind a filter"},
	{'3', V3("int32", "0", DELTA "," SHARD("2,3,1", LITTLE)), EOPNOTSUPP, "shards behind a filter"},
	{'3', V3("uint8", "0", LITTLE ",{\"name\":\"lz4\"}"), EOPNOTSUPP, "codecs[1]: the codec \"lz4\""},
	{'3', V3("uint8", "0", LITTLE "," CRCS "," CRCS "," CRCS), EOPNOTSUPP, "codecs[9]: more than 8 compressors and checksums"},
	{'3', V3("uint8", "0", "\"sharding_indexed\""), EBADMSG, "configuration is missing"},
	{'3', V3("uint8", "0", SHARD("4,3,2", SHARD("4,3,1", SHARD("2,3,1", SHARD("1,1,1", LITTLE))))), EOPNOTSUPP, "more than 3 shards within each other"},
	{'3', V3_WITH("5,6,3,9,7", "2,4,2,4,4", "uint8", "0", SHARD("2,2,2,2,4", SHARD("1,1,1,1,1", LITTLE)), ""), EOPNOTSUPP, "shards within shards of several entries of axis 0"},
	{'3', V3("uint8", "0", "{\"name\":\"bytes\",\"configuration\":{\"endian\":\"middle\"}}"), EBADMSG, "endian is \"middle\""},
	{'3', V3("uint8", "0", "{\"name\":\"bytes\",\"configuration\":{\"odd\":1}}"), EOPNOTSUPP, "has the member \"odd\""},
	{'3', V3("uint8", "0", SHARD("3,3,2", LITTLE)), EBADMSG, "3 does not divide the shard's 4"},
	{'3', V3("uint8", "0", "{\"name\":\"sharding_indexed\",\"configuration\":{\"chunk_shape\":[2,3,2],\"codecs\":[" LITTLE "],\"index_codecs\":[" LITTLE ",{\"name\":\"gzip\"}]}}"), EOPNOTSUPP, "index_codecs[1]: the codec \"gzip\""},
	{'3', V3("uint8", "0", "{\"name\":\"sharding_indexed\",\"configuration\":{\"chunk_shape\":[2,3,2],\"codecs\":[" LITTLE "]," INDEX ",\"index_location\":\"middle\"}}"), EBADMSG, "index_location is \"middle\""},
	{'3', V3_WITH("8,6,4", "4,3,2", "uint8", "0", LITTLE, ",\"odd\":{}"), EOPNOTSUPP, "the member \"odd\" is not known"},
	{'3', V3_WITH("8,6,4", "4,3,2", "uint8", "0", LITTLE, ",\"storage_transformers\":[{}]"), EOPNOTSUPP, "storage_transformers"},
	{'3', V3_WITH("8,6,4", "4,3,2", "uint8", "0", LITTLE, ",\"dimension_names\":[\"x\"]"), EBADMSG, "dimension_names has 1 entries"},
	{'3', V3_WITH("8,6,4", "4,3", "uint8", "0", LITTLE, ""), EBADMSG, "chunk_shape has 2 entries"},
	{'5', "{}", EBADMSG, "dimensions is missing"},
	{'5', N5("\"dataType\":\"string\",\"compression\":{\"type\":\"raw\"}"), EOPNOTSUPP, "dataType \"string\""},
	{'5', N5("\"dataType\":\"float16\",\"compression\":{\"type\":\"raw\"}"), EOPNOTSUPP, "dataType \"float16\""},
	{'5', N5("\"dataType\":\"uint8\""), EBADMSG, "compression is missing"},
	{'5', N5("\"dataType\":\"uint8\",\"codecs\":[]"), EOPNOTSUPP, "codecs in the place of"},
	{'5', N5("\"dataType\":\"uint8\",\"compression\":{\"type\":\"jpeg\"}"), EOPNOTSUPP, "compression.type \"jpeg\""},
	{'5', N5("\"dataType\":\"uint8\",\"isLabelMultiset\":true,\"compression\":{\"type\":\"raw\"}"), EOPNOTSUPP, "label multisets"},
	{'5', N5("\"n5\":\"5.0.0\",\"dataType\":\"uint8\",\"compression\":{\"type\":\"raw\"}"), EOPNOTSUPP, "version \"5.0.0\""},
    /* clang-format on */
};

START_TEST(arrays_that_are_refused)
{
	struct vx_array a;
	struct vx_volume *v = NULL;
	struct vx_err e = {0};
	int r = parse(rejects[_i].format, rejects[_i].text, &a, &v, &e);

	ck_assert_msg(r == -rejects[_i].code, "%s: %s %s", rejects[_i].text, vx_errno_name(r), e.why);
	ck_assert_msg(strstr(e.why, rejects[_i].sentence) != NULL, "%s: %s", rejects[_i].text, e.why);
	ck_assert_ptr_null(v);
}
END_TEST

/* ---- axes ---- */

#define S VX_AXIS_SPACE
#define C VX_AXIS_IS_CHANNEL
#define T VX_AXIS_IS_TIME
#define O VX_AXIS_OTHER

static const struct {
	const char *names[5];
	enum vx_axis_kind kind[5];
	uint64_t shape[5];
	const char *roles; /* one letter each; NULL: refused */
} mappings[] = {
    {{"", ""}, {0}, {9, 9}, "yx"},
    {{"", "", ""}, {0}, {9, 9, 9}, "zyx"},
    {{"", "", "", ""}, {0}, {9, 9, 9, 9}, "czyx"},
    {{"", "", "", "", ""}, {0}, {9, 9, 9, 9, 9}, "tczyx"},
    {{"x", "y", "z"}, {0}, {9, 9, 9}, "xyz"},
    {{"X", "Y", "C"}, {0}, {9, 9, 9}, "xyc"},
    {{"z", "y", "x", "c"}, {0}, {9, 9, 9, 9}, "zyxc"},
    {{"time", "lat", "lon"}, {0}, {9, 9, 9}, "tyx"},
    {{"a", "b", "c", "d"}, {0}, {9, 9, 9, 9}, "zycx"},
    {{"x", "x", "x"}, {0}, {9, 9, 9}, "xzy"},
    {{"q", "c", "z", "y", "x"}, {T, C, S, S, S}, {9, 9, 9, 9, 9}, "tczyx"},
    {{"c", "x", "y", "z"}, {C, S, S, S}, {9, 9, 9, 9}, "cxyz"},
    {{"k", "j", "i"}, {S, S, S}, {9, 9, 9}, "zyx"},
    {{"t", "y", "x"}, {S, S, S}, {9, 9, 9}, "zyx"},
    {{"angle", "z", "y", "x"}, {O, S, S, S}, {9, 9, 9, 9}, "czyx"},
    {{"angle", "c", "z", "y", "x"}, {O, C, S, S, S}, {1, 9, 9, 9, 9}, "-czyx"},
    {{"angle", "c", "z", "y", "x"}, {O, C, S, S, S}, {2, 9, 9, 9, 9}, NULL},
    {{"c", "c", "y", "x"}, {C, C, S, S}, {1, 1, 9, 9}, "c-yx"},
    {{"w", "z", "y", "x"}, {S, S, S, S}, {9, 9, 9, 9}, NULL},
};

START_TEST(axes_by_kind_name_and_place)
{
	static const char letters[] = "-xyzct";
	struct vx_axis axis[5] = {0};
	struct vx_err e = {0};
	unsigned n = 0;
	int r;

	for (; n < 5 && mappings[_i].names[n]; n++)
		snprintf(axis[n].name, sizeof axis[n].name, "%s", mappings[_i].names[n]);
	r = vx_axes_assign(axis, mappings[_i].kind, mappings[_i].shape, n, &e);
	ck_assert_int_eq(r, mappings[_i].roles ? 0 : -EOPNOTSUPP);
	for (unsigned i = 0; r == 0 && i < n; i++)
		ck_assert_int_eq(letters[axis[i].role], mappings[_i].roles[i]);
}
END_TEST

/* ---- geometry ---- */

START_TEST(channels_times_and_shards_have_their_place)
{
	/* t, c, z, y, x; a shard has 2 time points, 4 channels, 2 x 4 x 4 voxels; a chunk 1, 2, 2 x 2 x 4 */
	static const char text[] = V3_WITH("5,6,3,9,7", "2,4,2,4,4", "uint8", "0", SHARD("1,2,2,2,4", LITTLE), "");
	struct vx_array a;
	struct vx_volume *v = NULL;
	struct vx_err e = {0};
	const struct vx_cell cell = {.at = {1, 3, 1}, .slab = 2, .time = 3};
	const struct vx_grid *g;
	const struct vx_sharding *s;
	struct vx_shard_at at;
	char name[200];

	ck_assert_msg(parse('3', text, &a, &v, &e) == 0, "%s", e.why);
	g = v->scales[0].grids;
	s = v->scales[0].sharding;
	ck_assert_uint_eq(v->times, 5);
	ck_assert_uint_eq(v->channels, 6);
	ck_assert_uint_eq(g->chunk_c, 2);
	ck_assert_uint_eq(g->slabs, 3);
	ck_assert_uint_eq(g->cells[0] * 100 + g->cells[1] * 10 + g->cells[2], 252);
	v->format->chunk_name(&v->scales[0], 0, &cell, name, sizeof name);
	ck_assert_str_eq(name, "c/1/1/1/1/1");
	vx_shard_find(s, g->cells, cell.at, cell.slab, &at);
	vx_shard_find_time(s, cell.time, &at);
	/* within the shard: time 1 of 2, slab 0 of 2, z 0 of 1, y 1 of 2, x 0 of 1 */
	ck_assert_uint_eq(at.chunk, 1 * 4 + 0 * 2 + 0 + 1 + 0);
	vx_volume_free(&v);
}
END_TEST

START_TEST(time_points_share_a_chunk)
{
	static const char text[] =
	    V2("\"shape\":[5,1,3,9,7],\"chunks\":[2,3,4,4,4],\"dtype\":\"<u2\",\"fill_value\":0," V2_REST);
	struct vx_array a;
	struct vx_volume *v = NULL;
	struct vx_err e = {0};

	ck_assert_msg(parse('2', text, &a, &v, &e) == 0, "%s", e.why);
	for (uint32_t t = 0; t < 5; t++) {
		const struct vx_cell cell = {.time = t};
		struct vx_chunk_form f = vx_scale_form(v, v->scales, 0, &cell);
		const struct vx_chain *c = f.params;
		char name[200], want[20];

		ck_assert_uint_eq(c->at[0], t % 2);
		ck_assert_uint_eq(c->shape[1], 3);
		v->format->chunk_name(v->scales, 0, &cell, name, sizeof name);
		snprintf(want, sizeof want, "%u/0/0/0/0", t / 2);
		ck_assert_str_eq(name, want);
	}
	vx_volume_free(&v);
}
END_TEST

START_TEST(fortran_order_and_transposes_turn_the_stored_axes)
{
	static const char text[] =
	    V3_WITH("8,6,4,2", "4,3,2,2", "uint8", "0",
		    "{\"name\":\"transpose\",\"configuration\":{\"order\":[1,2,3,0]}},{\"name\":\"transpose\","
		    "\"configuration\":{\"order\":[3,2,1,0]}}," LITTLE,
		    "");
	static const unsigned want[] = {0, 3, 2, 1};
	struct vx_array a;
	struct vx_volume *v = NULL;
	struct vx_err e = {0};

	ck_assert_msg(parse('3', text, &a, &v, &e) == 0, "%s", e.why);
	ck_assert_mem_eq(a.order, want, sizeof want);
	vx_volume_free(&v);
}
END_TEST

START_TEST(shards_that_cannot_be)
{
	struct vx_sharding s = {.kind = VX_SHARD_ZARR,
				.cells = {4, 3, 2},
				.stride = {1, 4, 12},
				.slabs = 2,
				.stride_c = 24,
				.times = 2,
				.chunk_t = 1,
				.stride_t = 48};
	struct vx_err e = {0};

	ck_assert_int_eq(vx_sharding_check(&s, &e), 0);
	s.times = UINT32_MAX;
	ck_assert_int_eq(vx_sharding_check(&s, &e), -EFBIG);
	s.times = 2;
	s.chunk_t = 0;
	ck_assert_int_eq(vx_sharding_check(&s, &e), -EFBIG);
	s.times = s.slabs = 0;
	ck_assert_int_eq(vx_sharding_check(&s, &e), -EBADMSG);
	ck_assert_str_eq(e.why, "a shard has no chunks");
}
END_TEST

/* A chunk of `len` bytes, of which the last four are a checksum where `summed`, must be refused. */
static void refuse_chunk(char format, const char *text, size_t len, bool summed, const char *why)
{
	const struct vx_cell cell = {.at = {0, 0, 0}};
	struct vx_array a;
	struct vx_volume *v = NULL;
	struct vx_buf *stored, *got = NULL;
	struct vx_chunk_form form;
	struct vx_pool *pool;
	struct vx_err e = {0};

	ck_assert_int_eq(vx_pool_new(&pool, 1 << 20), 0);
	ck_assert_msg(parse(format, text, &a, &v, &e) == 0, "%s", e.why);
	form = vx_scale_form(v, v->scales, 0, &cell);
	stored = vx_buf_get(pool, len);
	memset(stored->data, 0xff, len);
	stored->len = len;
	if (summed)
		memcpy(stored->data + len - 4, (uint32_t[]){vx_crc32c(stored->data, len - 4)}, 4);
	ck_assert_int_eq(v->scales[0].codec->expand(pool, &form, stored, &got, &e), -EBADMSG);
	ck_assert_msg(strstr(e.why, why) != NULL, "%s", e.why);
	ck_assert_ptr_null(got);
	vx_buf_put(stored);
	vx_volume_free(&v);
	ck_assert_uint_eq(vx_pool_bytes_used(pool), 0);
	vx_pool_free(&pool);
}

START_TEST(chunks_that_do_not_fit)
{
	/* A shard within a shard that is too short for its own index: nothing before its first byte is read. */
	for (size_t len = 4; len < 40; len += 7) /* two entries and a checksum */
		refuse_chunk('3', V3("uint16", "0", SHARD("2,3,2", SHARD("1,1,1", LITTLE)) ",{\"name\":\"crc32c\"}"),
			     len, true, "has no room for its index");
	refuse_chunk('2', V2_FILTERS("{\"id\":\"shuffle\",\"elementsize\":7}"), 96, false,
		     "96 bytes were shuffled by 7");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("zarr");
	TCase *c = tcase_create("arrays");

	tcase_add_loop_test(c, arrays_that_are_taken, 0, VX_ARRAY_LEN(accepts));
	tcase_add_loop_test(c, arrays_that_are_refused, 0, VX_ARRAY_LEN(rejects));
	tcase_add_loop_test(c, axes_by_kind_name_and_place, 0, VX_ARRAY_LEN(mappings));
	tcase_add_test(c, channels_times_and_shards_have_their_place);
	tcase_add_test(c, time_points_share_a_chunk);
	tcase_add_test(c, fortran_order_and_transposes_turn_the_stored_axes);
	tcase_add_test(c, shards_that_cannot_be);
	tcase_add_test(c, chunks_that_do_not_fit);
	suite_add_tcase(s, c);
	return vxt_run(s);
}
