/* SPDX-License-Identifier: Apache-2.0
 * The registry: codecs by the name a volume's metadata gives them, packs by the name HTTP gives
 * them.
 */
#include "codec/codec.h"

#include <string.h>
#include <strings.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "voxels are little-endian and copied as they are");

static const struct vx_codec *const codecs[] = {
    &vx_codec_raw,       &vx_codec_cseg, &vx_codec_jpeg, &vx_codec_png,
#ifdef VX_HAVE_JXL
    &vx_codec_jxl,
#endif
    &vx_codec_compresso,
};

const struct vx_codec *vx_codec_find(const char *name)
{
	for (size_t i = 0; i < VX_ARRAY_LEN(codecs); i++)
		if (!strcasecmp(name, codecs[i]->name))
			return codecs[i];
	return NULL;
}

const char *vx_codec_lacks(const char *name)
{
	return !vx_codec_find(name) && !strcasecmp(name, "jxl") ? "libjxl" : NULL;
}

static const struct {
	const char *name;
	enum vx_pack pack;
} encodings[] = {
    {"", VX_PACK_NONE},       {"identity", VX_PACK_NONE}, {"gzip", VX_PACK_GZIP},
    {"x-gzip", VX_PACK_GZIP}, {"br", VX_PACK_BROTLI},     {"zstd", VX_PACK_ZSTD},
};

int vx_pack_from_content_encoding(const char *text, enum vx_pack *ret, struct vx_err *e)
{
	for (size_t i = 0; i < VX_ARRAY_LEN(encodings); i++)
		if (!strcasecmp(text, encodings[i].name)) {
			*ret = encodings[i].pack;
			return 0;
		}
	return vx_fail(e, -EBADMSG, "content encoding \"%.40s\" is not known", text);
}

enum vx_pack vx_pack_sniff(const uint8_t *data, size_t len)
{
	/* gzip's third byte is the method: only 8, deflate, was ever given out */
	if (len >= 3 && data[0] == 0x1f && data[1] == 0x8b && data[2] == 8)
		return VX_PACK_GZIP;
	if (len >= 4 && !memcmp(data, "\x28\xb5\x2f\xfd", 4))
		return VX_PACK_ZSTD;
	return VX_PACK_NONE;
}
