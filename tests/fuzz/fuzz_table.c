/* SPDX-License-Identifier: Apache-2.0
 * A table that anybody has written: any bytes at any place, records sealed or not, documents cut. Whoever attaches to
 * it takes over only what could be true, reads nothing beyond it, and can go on with what is left.
 */
#include "../../src/arena/table.c"
#include "base/buf.h"
#include "fs/handle.h"
#include "fs/node.h"
#include "fuzz_story.h"
#include "sched/cache_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OBJECTS 8
#define SLOTS 16 /* that records are written to */

static char top[] = "/dev/shm/voxfs-fuzz-XXXXXX";
static int arena_dir = -1;
static struct vx_pool *pool;
static struct vx_volume *volume;
static struct vx_source source;

static void take_bytes(struct input *in, void *to, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)to)[i] = take(in);
}

/* ---- the world around it ---- */

static void object_path(unsigned i, char name[8])
{
	snprintf(name, 8, "%u", i);
}

static void clean(void)
{
	for (unsigned i = 0; i < OBJECTS + 8; i++) {
		char name[8];

		object_path(i, name);
		unlinkat(arena_dir, name, 0);
	}
	rmdir(top);
	vx_volume_free(&volume);
	vx_pool_free(&pool);
	close(arena_dir);
}

static void set_up(void)
{
	static const char info[] =
	    "{\"@type\":\"neuroglancer_multiscale_volume\",\"type\":\"image\",\"data_type\":\"uint8\",\"num_channels\":"
	    "1,"
	    "\"scales\":[{\"key\":\"s0\",\"size\":[64,64,64],\"voxel_offset\":[0,0,0],\"resolution\":[4,4,40],"
	    "\"chunk_sizes\":[[16,16,16]],\"encoding\":\"raw\"},{\"key\":\"s1\",\"size\":[32,32,32],\"voxel_offset\":["
	    "0,0,0],"
	    "\"resolution\":[8,8,80],\"chunk_sizes\":[[16,16,16]],\"encoding\":\"raw\"}]}";
	struct vx_err e;

	must(mkdtemp(top) != NULL);
	arena_dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(arena_dir >= 0 && vx_pool_new(&pool, 1 << 20) == 0);
	must(vx_precomputed_parse(info, sizeof info - 1, &volume, &e) == 0);
	source.meta = volume;
	atexit(clean);
}

static void make_objects(void)
{
	for (unsigned i = 1; i <= OBJECTS; i++) {
		char name[8];
		int fd;

		object_path(i, name);
		fd = openat(arena_dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		must(fd >= 0 && fallocate(fd, 0, 0, 1000) == 0);
		close(fd);
	}
}

static struct vx_source *source_of(void *ctx, uint32_t id)
{
	return id == 0 ? &source : NULL;
}

/* ---- writing ---- */

static void *record_at(struct vx_table *t, struct input *in, enum vx_table_kind *kind, uint32_t *slot)
{
	*kind = (enum vx_table_kind)(take(in) % VX_TABLE_KINDS);
	*slot = take(in) % SLOTS;
	if (t->head->reached[*kind] <= *slot)
		t->head->reached[*kind] = *slot + 1;
	return vx_table_at(t, *kind, *slot);
}

/* One that could be true, in which something may then be spoilt. */
static void write_good(struct vx_table *t, struct input *in)
{
	enum vx_table_kind kind;
	uint32_t slot;
	void *r = record_at(t, in, &kind, &slot);
	uint8_t x = take(in) % 50, n = take(in);

	if (kind == VX_TABLE_BOXES) {
		struct vx_table_box *b = r;

		b->object = n % (OBJECTS + 1);
		b->bytes = 1000;
		b->source = b->mip = 0;
		b->box = (struct vx_box){{x, 0, 0}, {x + 10, 10, 10}};
	} else if (kind == VX_TABLE_HANDLES) {
		struct vx_table_handle *h = r;

		h->unique = n;
		h->object = n % (OBJECTS + 1);
		h->box = x % SLOTS;
		h->generation = n;
	} else {
		struct vx_table_node *d = r;

		d->ino = n;
		d->parent = 1;
		d->kind = x % 12;
		d->source = d->mip = 0;
		d->box = (struct vx_box){{x, 0, 0}, {x + 10, 10, 10}};
		d->lookups = n;
	}
	vx_table_seal(t, kind, slot);
}

static void write_any(struct vx_table *t, struct input *in)
{
	enum vx_table_kind kind;
	uint32_t slot;
	uint8_t *r = record_at(t, in, &kind, &slot);
	unsigned at = take(in) % kinds[kind].size, len = take(in) % 33;

	if (len > kinds[kind].size - at)
		len = kinds[kind].size - at;
	take_bytes(in, r + at, len);
	if (take(in) % 2)
		vx_table_seal(t, kind, slot);
}

static void write_head(struct vx_table *t, struct input *in)
{
	size_t at = (size_t)(take(in) << 8 | take(in)) % sizeof *t->head, len = take(in) % 17;

	if (len > sizeof *t->head - at)
		len = sizeof *t->head - at;
	take_bytes(in, (uint8_t *)t->head + at, len);
	for (int k = 0; k < VX_TABLE_KINDS; k++) /* a million empty slots take their time */
		if (t->head->reached[k] > SLOTS)
			t->head->reached[k] = SLOTS;
}

static void write_docs(struct vx_table *t, struct input *in)
{
	static const char *const names[] = {"a", "b", "list of volumes"};
	uint8_t what = take(in), len = take(in) % 65;
	uint8_t bytes[64];

	take_bytes(in, bytes, len);
	if (what % 2) {
		vx_table_doc_add(t, names[what / 2 % 3], what & 64 ? -ENODATA : 0, bytes, len);
	} else {
		unsigned at = (unsigned)what * 4;
		struct doc *d = (struct doc *)(t->docs + at / 8 * 8);

		memcpy(t->docs + at, bytes, len);
		if (len % 2 && d->name_len < 4096 && d->data_len < 4096) /* a seal that is right */
			d->seal = doc_seal(d, (const uint8_t *)(d + 1));
	}
}

static void work(struct vx_table *t, struct input *in)
{
	struct vx_mark_key k = {.source = take(in) % 3, .cell = {take(in)}};

	vx_table_mark(t, take(in), take(in) % 4 ? &k : NULL);
	if (take(in) % 8 == 0)
		vx_table_blame(t, take(in));
}

/* ---- reading ---- */

static void on_death(void *ctx, const struct vx_mark_key *k, unsigned deaths)
{
	must(k != NULL);
}

static void read_docs(struct vx_table *t)
{
	static const char *const names[] = {"a", "b", "list of volumes", "none", ""};
	static volatile uint8_t sum;

	for (size_t i = 0; i < VX_ARRAY_LEN(names); i++) {
		const void *data;
		size_t len;
		int code;

		if (!vx_table_doc_find(t, names[i], &code, &data, &len))
			continue;
		must((const uint8_t *)data >= t->docs && len <= DOCS_BYTES &&
		     (const uint8_t *)data + len <= t->docs + DOCS_BYTES);
		for (size_t b = 0; b < len; b++)
			sum = (uint8_t)(sum + ((const uint8_t *)data)[b]);
	}
}

static bool view_is_sound(void *ctx, struct vx_view *v, uint32_t id)
{
	v->src = id ? NULL : &source;
	return v->src != NULL;
}

static void ignore(void *ctx, struct vx_cbox *b)
{
	must(b->opens > 0 && b->state == VX_BOX_READY);
}

/* Every box that was taken over is one that could be, with an object of its own. */
static void check_boxes(struct vx_cache *c)
{
	bool had[OBJECTS + 1] = {false};
	uint64_t used = 0;

	for (unsigned i = 0; i < VX_BOX_BUCKETS; i++)
		for (struct vx_link *l = c->boxes[i].next; l != &c->boxes[i]; l = l->next) {
			struct vx_cbox *b = vx_list_entry(l, struct vx_cbox, in_table);

			must(b->state == VX_BOX_READY && b->src == &source && b->mip < volume->nscales);
			must(!vx_box_empty(&b->box) && vx_box_contains(&volume->scales[b->mip].bounds, &b->box));
			must(b->bytes == 1000 && b->object.id > 0 && b->object.id <= OBJECTS && !had[b->object.id]);
			must(c->by_slot[b->slot] == b);
			had[b->object.id] = true;
			used += b->item.bytes;
		}
	must(used == c->used && used <= c->limit);
	for (unsigned i = 1; i <= OBJECTS; i++) {
		char name[8];

		object_path(i, name);
		must((faccessat(arena_dir, name, F_OK, 0) == 0) == had[i]);
	}
}

static void close_all(struct vx_handles *h, struct vx_cache *c)
{
	for (uint32_t slot = 0; slot < 4 * SLOTS; slot++) {
		const struct vx_table_handle *r = vx_table_at(c->table, VX_TABLE_HANDLES, slot);
		uint64_t fh = (uint64_t)1 << 63 | (uint64_t)r->generation << 32 | slot;
		struct vx_cbox *b = r->generation >> 31 ? NULL : vx_handles_close_box(h, fh);
		VX_LOCK_SCOPE(vx_cache_lock(c));

		if (b)
			vx_cache_closed_locked(c, b);
	}
}

static void take_over(struct vx_table *t)
{
	struct vx_arena *arena = NULL;
	struct vx_cache *cache = NULL;
	struct vx_handles *handles = NULL;
	struct vx_nodes *nodes = NULL;
	struct vx_view v;
	struct vx_err e;

	make_objects();
	must(vx_arena_on(&arena, fcntl(arena_dir, F_DUPFD_CLOEXEC, 3), vx_table_note(t), &e) == 0);
	must(vx_cache_new(&cache, 20000, pool, arena, &e) == 0);
	must(vx_nodes_new(&nodes, t) == 0 && vx_handles_new(&handles, t, 2) == 0);
	vx_cache_set_table(cache, t);
	vx_nodes_recover(nodes, view_is_sound, NULL);
	vx_cache_recover(cache, source_of, NULL);
	check_boxes(cache);
	vx_handles_recover(handles, cache, ignore, NULL);
	for (uint64_t ino = 2; ino < 256; ino++)
		if (vx_nodes_get(nodes, ino, &v))
			must(v.src == &source);
	close_all(handles, cache);
	for (uint64_t ino = 2; ino < 256; ino++)
		vx_nodes_forget(nodes, ino, UINT64_MAX);
	vx_handles_free(&handles);
	vx_nodes_free(&nodes);
	vx_cache_free(&cache);
}

/* What is free is given out once. */
static void check_slots(struct vx_table *t)
{
	for (int k = 0; k < VX_TABLE_KINDS; k++) {
		bool had[4 * SLOTS] = {false};
		uint32_t slot;

		for (int i = 0; i < 2 * SLOTS && vx_table_take(t, (enum vx_table_kind)k, &slot); i++) {
			must(slot < kinds[k].slots);
			if (slot < VX_ARRAY_LEN(had)) {
				must(!had[slot]);
				had[slot] = true;
			}
		}
	}
}

static void next_server(int fd)
{
	struct vx_table *t = NULL;
	uint8_t init[VX_TABLE_INIT_MAX];
	struct vx_err e;
	int r = vx_table_attach(&t, fd, &e);

	must(r == 0 || r == -EPROTO);
	if (r < 0)
		return;
	must(strlen(vx_table_note(t)) < 200);
	must(vx_table_init_load(t, init) <= sizeof init);
	must(vx_table_decided(t) <= VX_NO);
	vx_table_count_death(t, on_death, NULL);
	read_docs(t);
	take_over(t);
	check_slots(t);
	vx_table_doc_add(t, "b", 0, init, 10);
	read_docs(t);
	vx_table_detach(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct vx_table *t;
	struct vx_err e;
	int fd;

	if (arena_dir < 0)
		set_up();
	fd = vx_table_create("note", &e);
	must(fd >= 0 && vx_table_attach(&t, fd, &e) == 0);
	while (in.left) {
		switch (take(&in) % 8) {
		case 0:
			write_head(t, &in);
			break;
		case 1:
		case 2:
			write_any(t, &in);
			break;
		case 3:
		case 4:
			write_docs(t, &in);
			break;
		case 5:
			work(t, &in);
			break;
		default:
			write_good(t, &in);
		}
	}
	vx_table_detach(&t);
	next_server(fd);
	next_server(fd);
	close(fd);
	return 0;
}
