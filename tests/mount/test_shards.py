# SPDX-License-Identifier: Apache-2.0
"""Sharded volumes: every layout read right through every way in, few requests, each once; damage and loss in shards."""
import errno
import gzip
import os
import random
import shutil
import signal
import struct

from kit import equal, fails, read_file, takes
from supervise import process_table

LABELS = dict(dtype="uint32", kind="labels", encoding="compressed_segmentation")
UNEVEN = dict(size=(150, 130, 70), offset=(-50, 3, 20), chunk=(32, 16, 40), dtype="uint16", kind="index")
LAYOUTS = ["0,0,0", "0,0,0,gzip", "64,0,0", "3,2,1", "3,2,1,gzip", "0,3,9,murmur", "2,1,3,murmur,gzip", "0,2,40", "0,0,64",
           "1,12,3", "0,13,2,murmur"]
ALL = ((0, 256), (0, 256), (0, 256))


def sharded(t, layout, **more):
    return t.volume(**dict(UNEVEN, **more, sharded=layout))


def shard_file(v, number, mip=0):
    """The shard's path: names have as many digits as the number of shards needs."""
    bits = v.scales[mip]["sharding"]["shard_bits"]
    return os.path.join(v.path, v.scales[mip]["key"], "%0*x.shard" % (max(1, -(-bits // 4)), number))


def check_random_boxes(m, rng, count):
    m.check(m.volume.bounds())
    for _ in range(count):
        m.check(m.volume.random_box(rng))


def why(path):
    return os.getxattr(path, "user.voxfs.error").decode()


def patch(path, at, data):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


# --- every layout, every way in ---

@takes(240)
def test_layouts_from_files(t):
    for layout in LAYOUTS:
        for more in ({}, dict(LABELS, channels=2)):
            m = t.mount(sharded(t, layout, **more))
            check_random_boxes(m, t.random, t.scaled(12, 3))
            m.close()


@takes(240)
def test_layouts_over_http(t):
    for layout in LAYOUTS:
        m, d = t.mount_http(sharded(t, layout), "eager=%s" % t.random.choice(("0", "64M")))
        check_random_boxes(m, t.random, t.scaled(8, 3))
        equal(max(n for p in d.counts()["ranges"].values() for n in p.values()), 1, "requests for one range " + layout)
        m.close()


def test_nginx(t):
    v = sharded(t, "3,2,1,gzip")
    m = t.mount("precomputed://" + t.nginx(v.path).url, volume=v)
    check_random_boxes(m, t.random, 8)
    assert m.stats("shards.merged") > 20, m.stats("shards")


def test_page_cache_and_lazily(t):
    for options in ("zerocopy=off", "eager=0", "eager=0,zerocopy=off"):
        m, _ = t.mount_http(sharded(t, "3,2,1,gzip"), options)
        check_random_boxes(m, t.random, 8)
        m.close()


def test_scales(t):
    v = sharded(t, "2,1,3", scales=3)
    m, _ = t.mount_http(v)
    for mip in range(3):
        m.check(v.bounds(mip), mip)


def test_a_store_that_ignores_ranges(t):
    for rule in ({}, {"chunked": True}):
        v = sharded(t, "3,2,1")
        m, d = t.mount_http(v)
        d.rules(dict(match="shard$", do="norange", **rule))
        check_random_boxes(m, t.random, 4)
        m.close()


# --- how many requests (by one worker, which meets all that is queued; two may begin before they know of each other) ---

def ranges(d):
    return [r for p in d.counts()["ranges"].values() for r in p]


def test_requests_of_a_large_box(t):
    """512 chunks of 64^3: a handful of requests, not two or three for each."""
    v = t.volume(size=(512, 512, 512), chunk=(64, 64, 64), kind="labels", sharded="6,0,3,gzip")
    m, d = t.mount_http(v, "eager=1G,threads=1", cache="512M")
    whole = m.read(tuple((0, 512) for _ in range(3)))
    for z in (0, 100, 511):
        equal(whole[z << 18:(z + 1) << 18], v.bytes(((0, 512), (0, 512), (z, z + 1))), "plane %d" % z)
    shards = 8
    requests = len(ranges(d))
    assert 3 * shards <= requests <= 4 * shards, requests
    stats = m.stats()
    equal(stats["shards"]["index_misses"], 2 * shards, "indexes")
    equal(stats["chunks"]["fetched"], 512, "chunks")
    equal(stats["shards"]["requests"] + stats["shards"]["merged"], 512 + 2 * shards, "what was asked for")


def test_requests_of_one_shard(t):
    """16 MiB in one shard: bounded requests, so that connections share the work."""
    v = t.volume(size=(256, 256, 256), chunk=(32, 32, 32), sharded="9,0,0")
    m, d = t.mount_http(v, "threads=1", cache="256M")
    m.check(ALL)
    requests = len(ranges(d))
    assert 2 + 16 <= requests <= 2 + 24, requests
    m.check(((1, 255), (1, 255), (1, 255)))
    equal(len(ranges(d)), requests, "requests after a box that is here")


def test_indexes_are_merged_too(t):
    """64 minishards whose indexes stand side by side."""
    v = t.volume(size=(256, 256, 256), chunk=(32, 32, 32), kind="labels", sharded="0,6,0,gzip")
    m, d = t.mount_http(v, "threads=1", cache="256M")
    m.check(ALL)
    assert len(ranges(d)) <= 12, ranges(d)
    equal(m.stats("shards.index_misses"), 65, "indexes")


def test_thousands_of_shards(t):
    v = t.volume(size=(256, 256, 256), chunk=(16, 16, 16), sharded="0,0,12")
    m, d = t.mount_http(v, cache="256M")
    equal(len(os.listdir(os.path.dirname(shard_file(v, 0)))), 4096)
    box = ((5, 130), (5, 130), (5, 130))
    m.check(box)
    chunks = len(v.chunks(box))
    equal(len(ranges(d)), 3 * chunks)
    m.check(ALL)
    equal(len(ranges(d)), 3 * 4096)


# --- many readers ---

def read_all(paths):
    return [read_file(p) for p in paths]


@takes(240)
def test_many_processes(t):
    """Each chunk and each index is asked for once, whoever wants it."""
    v = sharded(t, "3,2,1,gzip", size=(300, 260, 140))
    for _ in range(t.scaled(3)):
        m, d = t.mount_http(v, cache="256M")
        lists = [[v.random_box(t.random) for _ in range(t.scaled(10, 3))] for _ in range(8)]
        answers = t.clients([(read_all, [m.file(b) for b in boxes]) for boxes in lists])
        for boxes, got in zip(lists, answers):
            equal(got, [v.bytes(b) for b in boxes])
        m.until_idle()
        stats = m.stats()
        equal(stats["chunks"]["fetched"], len({c for boxes in lists for b in boxes for c in v.chunks(b)}), "chunks")
        assert stats["shards"]["index_misses"] <= 2 + 8, stats["shards"]
        equal(max(n for p in d.counts()["ranges"].values() for n in p.values()), 1, "requests for one range")
        m.close()


def test_a_reader_that_is_killed(t):
    """At each stage: while the shard index, a minishard's index or the data is on its way."""
    v = sharded(t, "3,2,1,gzip")
    for skip in range(3):
        m, d = t.mount_http(v)
        d.rules(dict(match="shard$", do="stall", at="head", skip=2 * skip))
        c = t.client(read_file, m.file(v.bounds()))
        t.until(lambda: d.counts()["faults"] > 0, "a request that stalls")
        c.kill()
        c.wait()
        m.until_idle()
        d.rules()
        m.check(v.bounds())
        m.close()


def interruptible(path):
    """Says whether the read ended by itself or by SIGINT."""
    def handler(*_):
        raise KeyboardInterrupt  # or Python would make the same call again
    signal.signal(signal.SIGINT, handler)
    try:
        read_file(path)
    except KeyboardInterrupt:
        return "interrupted"
    return "done"


def test_interrupted_while_an_index_stalls(t):
    v = sharded(t, "3,2,1,gzip")
    for options in ("eager=64M", "eager=0"):
        for skip in (0, 2):  # the shard index, a minishard's
            m, d = t.mount_http(v, options)
            d.rules(dict(match="shard$", do="stall", at="head", skip=skip))
            c = t.client(interruptible, m.file(v.bounds()))
            t.until(lambda: d.counts()["faults"] > 0, "a request that stalls")
            t.until(lambda: process_table().get(c.pid, (0, "S"))[1] in "SD", "the client sleeps")
            c.kill(signal.SIGINT)
            equal(c.result(10), "interrupted", options)
            m.until_stats("queue.inflight", 0)
            d.rules()
            m.check(v.bounds())
            m.close()


def test_unmount_while_an_index_stalls(t):
    v = sharded(t, "3,2,1,gzip")
    m, d = t.mount_http(v)
    d.rules(dict(match="shard$", do="stall", at="head"))
    c = t.client(read_file, m.file(v.bounds()))
    t.until(lambda: d.counts()["faults"] > 0, "a request that stalls")
    m.process.terminate()
    try:
        c.result()
        raise AssertionError("the read succeeded")
    except OSError as e:  # ENOENT: Python tries an EINTR again, and the mount is gone
        assert e.errno in (errno.EINTR, errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT), e
    m.finish()


# --- what is not there ---

HOLE = ((0, 32), (0, 32), (0, 32))
REST = ((32, 96), (0, 96), (0, 96))
CUBE = dict(size=(96, 96, 96), chunk=(32, 32, 32), kind="index")


def test_missing_chunk(t):
    for layout in ("6,0,0", "0,6,0,gzip", "0,0,6"):  # in its minishard's index, its minishard, its shard
        v = t.volume(**CUBE, drop=((0, 0, 0),), sharded=layout)
        m, d = t.mount_http(v)
        fails(errno.ENODATA, read_file, m.file(HOLE))
        assert "is not in the store" in why(m.file(HOLE)) and "0-32_0-32_0-32 of " in why(m.file(HOLE)), why(m.file(HOLE))
        m.check(REST)
        before = d.counts()["total"]
        fails(errno.ENODATA, read_file, m.file(((1, 5), (1, 5), (1, 5))))
        equal(d.counts()["total"], before, "requests for what is known to be missing")
        m.close()
        m = t.mount(v, "missing=fill")
        equal(set(m.read(HOLE)), {0})
        m.check(REST)
        m.close()


# --- damage ---

def damaged(t, how, layout="0,1,0", **more):
    v = t.copy(t.volume(**dict(CUBE, **more), sharded=layout))
    how(shard_file(v, 0))
    return v


def check_damage(t, how, words, layout="0,1,0", code=errno.EBADMSG, good=None, **more):
    """From files and over HTTP, twice: a failure is not sticky, and nothing is returned for the data."""
    v = damaged(t, how, layout, **more)
    for m in (t.mount(v), t.mount_http(v)[0]):
        for _ in range(2):
            fails(code, read_file, m.file(HOLE))
            said = why(m.file(HOLE))
            for word in words + ("chunk 0-32_0-32_0-32 of ", "/0.shard: "):
                assert word in said, said
            if good:
                m.check(good)
        m.close()


def test_cut_shard_index(t):
    check_damage(t, lambda p: os.truncate(p, 20), ("shorter than",))
    check_damage(t, lambda p: os.truncate(p, 0), ("shorter than",))


def test_cut_behind_the_index(t):
    check_damage(t, lambda p: os.truncate(p, 1000), ("not in the shard",))


def test_shard_index_that_points_outside(t):
    for start, end in ((1 << 62, (1 << 62) + 24), (2**64 - 24, 2**64 - 1), (5, 2**64 - 1), (100, 50), (0, 1 << 40)):
        check_damage(t, lambda p: patch(p, 0, struct.pack("<QQ", start, end)), ("minishard 0", "not in the shard"))


def leaf_of(path, minishard=0, base=32):
    """Where a raw minishard index stands, and its rows."""
    with open(path, "rb") as f:
        data = f.read()
    start, end = struct.unpack_from("<QQ", data, 16 * minishard)
    n = (end - start) // 24
    return base + start, list(struct.unpack_from("<%dQ" % (3 * n), data, base + start)), n


def edit_leaf(edit):
    def how(path):
        at, rows, n = leaf_of(path)
        edit(rows, n)
        patch(path, at, struct.pack("<%dQ" % len(rows), *rows))
    return how


def test_minishard_index_that_points_outside(t):
    def far(rows, n):
        rows[n] = 1 << 50

    def below(rows, n):
        rows[n] = 2**64 - 20

    def overflow(rows, n):
        rows[n] = 2**63 - 100

    def long(rows, n):
        rows[2 * n] = 2**64 - 5

    for edit in (far, below, overflow, long):
        check_damage(t, edit_leaf(edit), ("where the shard has no chunk",))


def test_chunk_of_an_impossible_length(t):
    def longer(rows, n):
        rows[2 * n] = 200000
    check_damage(t, edit_leaf(longer), ("bytes, more than the",))


def test_foreign_chunk_in_an_index(t):
    def foreign(rows, n):
        rows[0] = 1  # odd ids belong to the other minishard
    check_damage(t, edit_leaf(foreign), ("belongs to minishard 1",))


def can_be_read(path):
    try:
        read_file(path)
    except OSError:
        return False
    return True


def test_repaired_index(t):
    """Entries that lead nowhere are asked for again, and not remembered."""
    def far(rows, n):
        rows[n] = 1 << 50

    for how in (edit_leaf(far), lambda p: patch(p, 0, struct.pack("<QQ", 1 << 62, (1 << 62) + 24))):
        v = t.copy(t.volume(**CUBE, sharded="0,1,0"))
        path = shard_file(v, 0)
        with open(path, "rb") as f:
            good = f.read()
        for m in (t.mount(v), t.mount_http(v)[0]):
            how(path)
            fails(errno.EBADMSG, read_file, m.file(HOLE))
            patch(path, 0, good)
            # A wish that comes at the very moment may still be answered by the read that failed.
            t.until(lambda: can_be_read(m.file(HOLE)), "the index is read again")
            m.check(HOLE)
            m.check(v.bounds())
            m.close()


def test_short_chunk(t):
    def short(rows, n):
        rows[2 * n] -= 1
        rows[n + 1] += 1
    check_damage(t, edit_leaf(short), (), good=REST)


def test_unsorted_and_overlapping_indexes_are_read(t):
    def shuffle(path):
        at, rows, n = leaf_of(path)
        ids, ends, id_, pos = [], [], 0, 32
        for i in range(n):
            id_ += rows[i]
            pos += rows[n + i]
            ids.append((id_, pos, rows[2 * n + i]))
            pos += rows[2 * n + i]
        random.Random(5).shuffle(ids)
        rows, last_id, last_end = [[], [], []], 0, 32
        for id_, pos, length in ids:
            rows[0].append((id_ - last_id) % 2**64)
            rows[1].append((pos - last_end) % 2**64)
            rows[2].append(length)
            last_id, last_end = id_, pos + length
        patch(path, at, struct.pack("<%dQ" % (3 * n), *rows[0], *rows[1], *rows[2]))
    v = damaged(t, shuffle)
    for m in (t.mount(v), t.mount_http(v)[0]):
        m.check(v.bounds())


def append_leaf(data):
    """Puts another minishard index behind everything and points minishard 0 there."""
    def how(path):
        size = os.path.getsize(path)
        with open(path, "ab") as f:
            f.write(data)
        patch(path, 0, struct.pack("<QQ", size - 32, size - 32 + len(data)))
    return how


def test_gzip_bomb_in_an_index(t):
    bomb = gzip.compress(bytes(80 << 20), 9)
    check_damage(t, append_leaf(bomb), ("index of minishard 0", "inflates to more than"), layout="0,1,0,gzip")


def test_index_that_is_not_gzip(t):
    check_damage(t, append_leaf(b"no gzip at all"), ("index of minishard 0",), layout="0,1,0,gzip")
    check_damage(t, append_leaf(gzip.compress(bytes(25))), ("no multiple of 24",), layout="0,1,0,gzip")


def flip_data(path):
    with open(path, "rb") as f:
        f.seek(32 + 30)
        was = f.read(1)[0]
    patch(path, 32 + 30, bytes([was ^ 64]))


def test_flipped_bit_in_packed_data(t):
    check_damage(t, flip_data, ("gzip",), layout="0,1,0,gzip", good=REST)


def test_gzip_bomb_as_a_chunk(t):
    def bomb(path):
        data = gzip.compress(bytes(80 << 20), 9)
        size = os.path.getsize(path)
        with open(path, "ab") as f:
            f.write(data)
        leaf = gzip.compress(struct.pack("<QQQ", 0, size - 32, len(data)))
        append_leaf(leaf)(path)
    check_damage(t, bomb, (), layout="0,1,0,gzip")


def test_encoded_on_the_way(t):
    """A store that packs what it sends: a range of that means nothing."""
    v = t.volume(**CUBE, sharded="0,1,0")
    m, d = t.mount_http(v, "tries=2")
    d.rules(dict(match="shard$", do="encoding", value="gzip"))
    fails(errno.EBADMSG, read_file, m.file(HOLE))
    d.rules()
    m.check(v.bounds())


def test_wrong_range(t):
    v = t.volume(**CUBE, sharded="0,1,0")
    m, d = t.mount_http(v, "tries=2")
    d.rules(dict(match="shard$", do="range", value="bytes 5-36/500", body="x" * 32))
    fails(errno.EBADMSG, read_file, m.file(HOLE))
    d.rules()
    m.check(v.bounds())


# --- a shard that is replaced ---

def test_replaced_shard(t):
    """The index is kept, the object changes: what is read next is of the new one, never at the old one's offsets."""
    old = t.volume(**CUBE, seed=1, sharded="0,1,0,gzip")
    new = t.volume(**CUBE, seed=2, sharded="0,1,0,gzip", drop=((2, 2, 2),))
    for http in (False, True):
        v = t.copy(old)
        m = t.mount_http(v)[0] if http else t.mount(v)
        m.check(HOLE)
        shutil.copy(shard_file(new, 0), shard_file(v, 0) + ".new")
        os.rename(shard_file(v, 0) + ".new", shard_file(v, 0))
        m.check(((32, 64), (0, 96), (0, 96)), volume=new)
        os.unlink(shard_file(v, 0))
        fails(errno.ENODATA, read_file, m.file(((64, 96), (0, 32), (0, 32))))
        m.close()


def test_truncated_while_mounted(t):
    v = t.copy(t.volume(**CUBE, sharded="0,1,0"))
    m, d = t.mount_http(v)
    m.check(HOLE)
    os.truncate(shard_file(v, 0), 40)
    fails(errno.EBADMSG, read_file, m.file(REST))
