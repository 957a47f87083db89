# SPDX-License-Identifier: Apache-2.0
"""Files that are filled where they are read: boxes above eager= and all.raw."""
import hashlib
import json
import mmap
import os

from kit import equal, takes


def preads(t, m, v, path, box, mip, count, most):
    want = v.bytes(box, mip)
    fd = os.open(path, os.O_RDONLY)
    try:
        equal(os.fstat(fd).st_size, len(want), "size")
        for _ in range(count):
            at = t.random.randrange(len(want))
            n = t.random.choice((1, 3, 7, 100, 4096, most))
            equal(os.pread(fd, n, at), want[at:at + n], "%s, %d bytes at %d" % (path, n, at))
        equal(os.pread(fd, 10, len(want)), b"", "end of file")
        equal(os.pread(fd, 100, len(want) - 5), want[-5:], "last bytes")
    finally:
        os.close(fd)


def check_lazy(t, options="", **args):
    v = t.volume(**args)
    m = t.mount(v, "eager=0" + options)
    for mip in range(len(v.scales)):
        preads(t, m, v, m.file("all.raw", mip), v.bounds(mip), mip, t.scaled(60, 6), 300000)
        for _ in range(t.scaled(8, 2)):
            box = v.random_box(t.random, mip)
            preads(t, m, v, m.file(box, mip), box, mip, t.scaled(20, 3), 50000)
    return m


def test_random_reads(t):
    check_lazy(t, size=(150, 130, 70), dtype="uint8", scales=2, offset=(-75, 3, -9))


def test_random_reads_of_wide_voxels(t):
    """Offsets that are no multiple of a voxel."""
    check_lazy(t, size=(101, 77, 45), dtype="uint64", kind="labels", encoding="compressed_segmentation", pack="gzip")
    check_lazy(t, size=(101, 77, 45), dtype="float32", pack="zstd")


def test_random_reads_of_channels(t):
    check_lazy(t, size=(60, 50, 40), channels=3, dtype="uint16", pack="br", scales=2)
    check_lazy(t, size=(60, 50, 40), channels=4, dtype="uint32", kind="labels", encoding="compressed_segmentation")


def test_random_reads_of_page_cache_mount(t):
    check_lazy(t, ",zerocopy=off", size=(90, 70, 50), dtype="int16", channels=2)


def sequential(path, block):
    h = hashlib.sha256()
    with open(path, "rb", buffering=0) as f:
        while part := f.read(block):
            h.update(part)
    return h.hexdigest()


@takes(240)
def test_sequential_reads(t):
    """From front to back in several block sizes at once; nothing is fetched twice although all go on at their own pace."""
    v = t.volume(size=(256, 256, 96), chunk=(64, 64, 32), dtype="uint16", kind="index", pack="gzip")
    m = t.mount(v, "eager=0", cache="128M")
    want = hashlib.sha256(v.bytes(v.bounds())).hexdigest()
    answers = t.clients([(sequential, m.file("all.raw"), b) for b in (4096, 10000, 1 << 17, 1 << 20)], 120)
    equal(answers, [want] * 4, "sha256")
    equal(m.stats("chunks.fetched"), len(v.chunks(v.bounds())), "chunks.fetched")


def test_reads_ahead(t):
    """Of who reads on and on, forwards or backwards, but not of who jumps about."""
    v = t.volume(size=(256, 256, 256), chunk=(64, 64, 16), dtype="uint8", kind="index")  # 16 layers of 16 chunks, 1 MiB each
    whole = v.bytes(v.bounds())
    size = len(whole)
    for places, ahead in (([i << 17 for i in range(8)], True), ([size - (i + 1 << 17) for i in range(8)], True),
                          ([(i * 7 % 16 << 20) + 5 for i in range(6)], False)):
        m, d = t.mount_http(v, "eager=0", cache="256M")
        fd = os.open(m.file("all.raw"), os.O_RDONLY)
        for at in places:
            equal(os.pread(fd, 1 << 17, at), whole[at:at + (1 << 17)], "at %d" % at)
        os.close(fd)
        m.until_idle()
        touched = {z for at in places for z in (at >> 20, at + (1 << 17) - 1 >> 20)}
        beyond = {p for p in d.chunk_requests() if int(p.split("_")[-1].split("-")[0]) // 16 not in touched}
        equal((m.stats("chunks.prefetched") > 0, bool(beyond)), (ahead, ahead), "reading ahead, %r" % places)
        m.close()


def test_backward_reads(t):
    v = t.volume(size=(128, 128, 64), chunk=(32, 32, 32), dtype="uint8")
    m = t.mount(v, "eager=0")
    want = v.bytes(v.bounds())
    fd = os.open(m.file("all.raw"), os.O_RDONLY)
    try:
        for at in range(len(want) - 30000, -1, -30000):
            equal(os.pread(fd, 30000, at), want[at:at + 30000], "at %d" % at)
    finally:
        os.close(fd)


def fault_in(path, places):
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        return [m[p] for p in places]


def test_memory_map_of_all(t):
    """Page faults anywhere, from several processes at once."""
    v = t.volume(size=(200, 180, 90), chunk=(64, 64, 32), dtype="uint16", channels=2, kind="index", pack="zstd")
    m = t.mount(v)
    want = v.bytes(v.bounds())
    places = [[t.random.randrange(len(want)) for _ in range(t.scaled(300, 20))] for _ in range(4)]
    answers = t.clients([(fault_in, m.file("all.raw"), p) for p in places])
    equal(answers, [[want[i] for i in p] for p in places])


def test_volume_far_larger_than_memory(t):
    """100 TB are mapped and sampled; chunks that do not exist are zeros."""
    path = t.name("huge")
    os.makedirs(path + "/s0")
    info = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [
        {"key": "s0", "size": [100000, 100000, 10000], "voxel_offset": [0, 0, 0], "chunk_sizes": [[64, 64, 64]],
         "encoding": "raw", "resolution": [4, 4, 40]}]}
    with open(path + "/info", "w") as f:
        json.dump(info, f)
    ones = bytes([7]) * 64**3
    with open(path + "/s0/64000-64064_640-704_6400-6464", "wb") as f:
        f.write(ones)
    m = t.mount("precomputed://file://" + path, "missing=fill", cache="32M")
    size = os.stat(m.file("all.raw")).st_size
    equal(size, 10**14, "size")

    def at(x, y, z):
        return x + 100000 * (y + 100000 * z)
    places = [(at(64000, 640, 6400), 7), (at(64063, 703, 6463), 7), (at(63999, 640, 6400), 0), (at(0, 0, 0), 0),
              (at(99999, 99999, 9999), 0), (at(64064, 703, 6463), 0)]
    equal(t.client(fault_in, m.file("all.raw"), [p for p, _ in places]).result(), [w for _, w in places])
    assert m.stats("cache.bytes") <= m.stats("cache.limit")
