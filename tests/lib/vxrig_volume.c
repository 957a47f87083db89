/* SPDX-License-Identifier: Apache-2.0
 * Volumes of known content, written chunk by chunk, and the HTTP server that may serve them.
 */
#include "voxgen_cseg.h"
#include "vxrig.h"
#include "vxserver.h"

#include <ftw.h>
#include <sys/stat.h>

char vxr_top[64];
int vxr_port;

void vxr_top_make(void)
{
	strcpy(vxr_top, "/tmp/voxfs-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(vxr_top));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

void vxr_top_remove(void)
{
	nftw(vxr_top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct vx_box vxr_volume_box(const struct vxr_volume *v)
{
	struct vx_box b;

	for (int d = 0; d < 3; d++) {
		b.lo[d] = v->offset[d];
		b.hi[d] = v->offset[d] + v->size[d];
	}
	return b;
}

static void write_file(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "wb");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static void write_info(const struct vxr_volume *v)
{
	char path[128], chunks[200] = "", sharding[300];
	FILE *f;

	snprintf(path, sizeof path, "%s/info", v->dir);
	for (unsigned g = 0; g < v->ngrids; g++)
		snprintf(chunks + strlen(chunks), sizeof chunks - strlen(chunks), "%s[%d,%d,%d]", g ? "," : "",
			 (int)v->chunk[g][0], (int)v->chunk[g][1], (int)v->chunk[g][2]);
	vxr_shards_info(v, sharding, sizeof sharding);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fprintf(f,
		"{\"@type\":\"neuroglancer_multiscale_volume\",\"type\":\"%s\",\"data_type\":\"%s\","
		"\"num_channels\":%u,\"scales\":[{\"key\":\"s0\",\"size\":[%d,%d,%d],\"voxel_offset\":[%d,%d,%d],"
		"\"resolution\":[4,4,40],\"chunk_sizes\":[%s],\"encoding\":\"%s\"%s%s}]}\n",
		v->cseg ? "segmentation" : "image", v->dtype.name, v->channels, (int)v->size[0], (int)v->size[1],
		(int)v->size[2], (int)v->offset[0], (int)v->offset[1], (int)v->offset[2], chunks,
		v->cseg ? "compressed_segmentation" : "raw",
		v->cseg ? ",\"compressed_segmentation_block_size\":[8,8,8]" : "", sharding);
	ck_assert_int_eq(fclose(f), 0);
}

static struct vx_box chunk_box(const struct vxr_volume *v, unsigned grid, const int64_t at[3])
{
	struct vx_box b;

	for (int d = 0; d < 3; d++) {
		int64_t n = (at[d] - v->offset[d]) / v->chunk[grid][d];

		b.lo[d] = v->offset[d] + n * v->chunk[grid][d];
		b.hi[d] = vx_min_i64(b.lo[d] + v->chunk[grid][d], v->offset[d] + v->size[d]);
	}
	return b;
}

static void box_path(const struct vxr_volume *v, const struct vx_box *b, char *path, size_t size)
{
	snprintf(path, size, "%s/s0/%d-%d_%d-%d_%d-%d", v->dir, (int)b->lo[0], (int)b->hi[0], (int)b->lo[1],
		 (int)b->hi[1], (int)b->lo[2], (int)b->hi[2]);
}

void vxr_chunk_path(const struct vxr_volume *v, const int64_t at[3], char *path, size_t size)
{
	struct vx_box b = chunk_box(v, 0, at);

	box_path(v, &b, path, size);
}

uint8_t *vxr_chunk_bytes(const struct vxr_volume *v, unsigned grid, const int64_t at[3], size_t *ret_len)
{
	static const uint32_t block[3] = {8, 8, 8};
	struct vx_box b = chunk_box(v, grid, at);
	uint64_t n[3] = {vx_box_extent(&b, 0), vx_box_extent(&b, 1), vx_box_extent(&b, 2)};
	uint8_t *voxels = malloc((size_t)vxr_bytes(v, &b)), *encoded;
	struct vg_coder *coder;
	const uint8_t *data;

	*ret_len = (size_t)vxr_bytes(v, &b);
	vg_fill(&v->content, &v->dtype, b.lo, n, v->channels, voxels);
	if (!v->cseg)
		return voxels;
	coder = vg_coder_new();
	ck_assert_int_eq(vg_coder_encode(coder, voxels, n, v->channels, v->dtype.width, block, &data, ret_len), 0);
	encoded = malloc(*ret_len);
	memcpy(encoded, data, *ret_len);
	vg_coder_free(&coder);
	free(voxels);
	return encoded;
}

bool vxr_is_dropped(const struct vxr_volume *v, const int64_t at[3])
{
	struct vx_box a, b;

	if (!v->dropped)
		return false;
	a = chunk_box(v, 0, at);
	b = chunk_box(v, 0, v->dropped);
	return vx_box_equal(&a, &b);
}

void vxr_chunk_write(const struct vxr_volume *v, unsigned grid, const int64_t at[3])
{
	struct vx_box b = chunk_box(v, grid, at);
	size_t len;
	VX_AUTO_FREE uint8_t *data = vxr_chunk_bytes(v, grid, at, &len);
	char path[200];

	box_path(v, &b, path, sizeof path);
	write_file(path, data, len);
}

static void write_chunks(const struct vxr_volume *v)
{
	struct vx_box all = vxr_volume_box(v);
	int64_t at[3];

	for (unsigned g = 0; g < v->ngrids; g++)
		for (at[2] = all.lo[2]; at[2] < all.hi[2]; at[2] += v->chunk[g][2])
			for (at[1] = all.lo[1]; at[1] < all.hi[1]; at[1] += v->chunk[g][1])
				for (at[0] = all.lo[0]; at[0] < all.hi[0]; at[0] += v->chunk[g][0])
					vxr_chunk_write(v, g, at);
}

void vxr_volume_make(struct vxr_volume *v, const char *name)
{
	uint64_t n[3] = {(uint64_t)v->size[0], (uint64_t)v->size[1], (uint64_t)v->size[2]};
	struct vx_box all = vxr_volume_box(v);
	char path[128];

	snprintf(v->dir, sizeof v->dir, "%s/%s", vxr_top, name);
	snprintf(path, sizeof path, "%s/s0", v->dir);
	ck_assert_int_eq(mkdir(v->dir, 0777) | mkdir(path, 0777), 0);
	write_info(v);
	if (v->sharding)
		vxr_shards_write(v);
	else
		write_chunks(v);
	v->whole = malloc(vxr_bytes(v, &all));
	ck_assert_ptr_nonnull(v->whole);
	vg_fill(&v->content, &v->dtype, v->offset, n, v->channels, v->whole);
}

void vxr_volume_free(struct vxr_volume *v)
{
	free(v->whole);
	v->whole = NULL;
}

void vxr_volumes_make(struct vxr_volume *v, size_t n)
{
	vxr_top_make();
	for (size_t i = 0; i < n; i++) {
		char name[24];

		snprintf(name, sizeof name, "v%zu", i);
		vxr_volume_make(&v[i], name);
	}
}

void vxr_volumes_free(struct vxr_volume *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		vxr_volume_free(&v[i]);
	vxr_top_remove();
}

struct vx_box vxr_box(int64_t x0, int64_t x1, int64_t y0, int64_t y1, int64_t z0, int64_t z1)
{
	return (struct vx_box){{x0, y0, z0}, {x1, y1, z1}};
}

uint64_t vxr_bytes(const struct vxr_volume *v, const struct vx_box *box)
{
	return vx_box_extent(box, 0) * vx_box_extent(box, 1) * vx_box_extent(box, 2) * v->channels * v->dtype.width;
}

struct vx_box vxr_random_box(const struct vxr_volume *v, struct vxt_rng *r, int64_t longest)
{
	struct vx_box b;

	for (int d = 0; d < 3; d++) {
		int64_t n = 1 + (int64_t)vxt_rnd(r, (uint64_t)vx_min_i64(longest, v->size[d]));

		if (vxt_rnd(r, 4) == 0) /* along the chunks */
			n = vx_min_i64(v->size[d], (n + v->chunk[0][d] - 1) / v->chunk[0][d] * v->chunk[0][d]);
		b.lo[d] = (int64_t)vxt_rnd(r, (uint64_t)(v->size[d] - n + 1));
		if (n % v->chunk[0][d] == 0)
			b.lo[d] = b.lo[d] / v->chunk[0][d] * v->chunk[0][d];
		b.lo[d] += v->offset[d];
		b.hi[d] = b.lo[d] + n;
	}
	return b;
}

void vxr_check(const struct vxr_volume *v, const struct vx_box *box, uint32_t chan, uint32_t nchan, const uint8_t *got)
{
	size_t row = (size_t)vx_box_extent(box, 0) * v->dtype.width;

	for (uint32_t c = chan; c < chan + nchan; c++)
		for (int64_t z = box->lo[2]; z < box->hi[2]; z++)
			for (int64_t y = box->lo[1]; y < box->hi[1]; y++, got += row) {
				int64_t i = c;

				i = i * v->size[2] + (z - v->offset[2]);
				i = i * v->size[1] + (y - v->offset[1]);
				i = i * v->size[0] + (box->lo[0] - v->offset[0]);
				if (memcmp(got, v->whole + i * v->dtype.width, row))
					ck_abort_msg("wrong bytes: %s x %d-%d, y %d, z %d, channel %u", v->dir,
						     (int)box->lo[0], (int)box->hi[0], (int)y, (int)z, c);
			}
}

/* ---- the server ---- */

bool vxr_server_start(void)
{
	if (access("/usr/bin/python3", X_OK) < 0)
		return false;
	vxr_port = vxs_start("faultd.py", vxr_top);
	return true;
}

void vxr_server_stop(void)
{
	vxs_stop();
}

void vxr_rules(const char *json)
{
	vxs_control(vxr_port, "POST", "/__reset", "");
	vxs_control(vxr_port, "POST", "/__faults", json);
}
