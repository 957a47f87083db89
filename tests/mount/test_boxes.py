# SPDX-License-Identifier: Apache-2.0
"""Random boxes of every kind of volume, compared byte by byte with closed-form content."""
import json
import mmap
import os

import numpy as np
from kit import equal, read_file, takes
from volumes import DTYPES

PACKS = ("none", "gzip", "br", "zstd")


def kinds():
    """Everything that a volume may be, as arguments for voxgen, with a name."""
    for i, dtype in enumerate(DTYPES):
        for j, pack in enumerate(PACKS):
            yield "raw-%s-%s" % (dtype, pack), dict(
                size=(97, 83, 61), offset=(-40 + 11 * i, 13 - 9 * j, -7 * i), chunk=(32, 24 + j, 16 + i), dtype=dtype,
                channels=1 + (i + j) % 4, pack=pack, suffix=(i + j) % 2 == 0 or pack == "br", scales=2,
                kind=("grey", "index", "labels")[(i + j) % 3], seed=i * 4 + j)
    blocks = ((8, 8, 8), (4, 16, 2), (1, 1, 1), (16, 7, 5))
    for i, dtype in enumerate(("uint32", "uint64")):
        for j, pack in enumerate(PACKS):
            yield "cseg-%s-%s" % (dtype, pack), dict(
                size=(101, 77, 45), offset=(-50, 5 * j, -3 - i), chunk=(32, 20 + j, 16), dtype=dtype,
                channels=1 + (i + j) % 3, encoding="compressed_segmentation", block=blocks[(i + j) % 4], pack=pack,
                suffix=(i + j) % 2 == 1 or pack == "br", scales=2, kind="labels" if j != 2 else "index", seed=50 + i * 4 + j)
    for i, dtype in enumerate(("uint8", "uint16")):
        for channels in (1, 2, 3, 4):
            yield "png-%s-%d" % (dtype, channels), dict(
                size=(90, 71, 37), offset=(-20, 7 * i, channels), chunk=(32, 25, 16 + channels), dtype=dtype,
                channels=channels, encoding="png", pack=PACKS[channels % 2], scales=2, kind=("grey", "index")[i],
                seed=70 + 4 * i + channels)


def read_some_way(path, random):
    """The whole file, by one of the ways in which programs read."""
    way = random.randrange(3)
    if way == 0:
        return read_file(path, random.choice((1000, 65536, 1 << 20)))
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        if way == 1:
            return os.pread(fd, size + 1, 0)
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as m:
            return m[:]
    finally:
        os.close(fd)


def check_config(t, base, options="", boxes=40):
    """Mounts every kind of volume from `base` at once by a JSON file and reads random boxes of each."""
    made = {name: t.volume(**args) for name, args in kinds()}
    config = t.name("config") + ".json"
    with open(config, "w") as f:
        json.dump({"volumes": [{"name": n, "source": base + "/" + os.path.basename(v.path)}
                               for n, v in made.items()]}, f)
    m = t.mount(config, options)
    n = t.scaled(boxes, 4)
    for name, v in made.items():
        for i in range(n):
            mip = 1 if i % 5 == 4 else 0
            box = v.random_box(t.random, mip, 200000)
            path = m.file(box, mip, name)
            equal(read_some_way(path, t.random), v.bytes(box, mip), path)
    equal(m.errors(), "", ".voxfs/errors")
    return m


def volumes_dir(t):
    t.volume()
    return t.settings.maker.top


def test_jpeg_is_near(t):
    """What jpeg loses is noise: each channel of each box is near what was written, and nearest to its own place."""
    for channels in (1, 3):
        v = t.volume(size=(70, 50, 40), offset=(-9, 4, 0), chunk=(32, 20, 16), channels=channels, encoding="jpeg")
        m = t.mount(v)
        for box in (v.bounds(), ((-8, 60), (5, 41), (1, 30)), ((20, 21), (4, 54), (0, 40))):
            want = v.array(box).astype(int)
            got = np.frombuffer(m.read(box), "uint8").reshape(want.shape).astype(int)
            loss = np.abs(got - want).mean(axis=(1, 2, 3))
            assert loss.max() < 6, (channels, box, loss)


@takes(300)
def test_every_kind_from_files(t):
    check_config(t, "precomputed://file://" + volumes_dir(t), boxes=100)


@takes(300)
def test_every_kind_through_nginx(t):
    check_config(t, "precomputed://" + t.nginx(volumes_dir(t)).url, boxes=40)


@takes(300)
def test_every_kind_through_faultd(t):
    check_config(t, t.faultd(volumes_dir(t)).url, boxes=30)


@takes(300)
def test_every_kind_through_page_cache(t):
    m = check_config(t, "precomputed://file://" + volumes_dir(t), "zerocopy=off", boxes=30)
    equal(m.stats("zerocopy.mode"), "page-cache")


@takes(300)
def test_every_kind_lazily(t):
    check_config(t, "precomputed://file://" + volumes_dir(t), "eager=0,cache=16M", boxes=20)


@takes(300)
def test_every_kind_with_a_tiny_cache(t):
    """Everything is evicted all the time."""
    check_config(t, "precomputed://file://" + volumes_dir(t), "cache=2M,eager=1M", boxes=15)


def check_volume(t, options="", boxes=150, **args):
    v = t.volume(**args)
    m = t.mount(v, options)
    for mip in range(len(v.scales)):
        m.check(v.bounds(mip), mip)
        for _ in range(t.scaled(boxes, 5)):
            m.check(v.random_box(t.random, mip), mip)
    return m


def test_single_voxels(t):
    """1 x 1 x 1 boxes at corners and beside chunk borders."""
    v = t.volume(size=(70, 41, 37), offset=(-33, 5, -20), chunk=(32, 16, 20), dtype="uint16", channels=3)
    m = t.mount(v)
    for x in (-33, -2, -1, 0, 31, 36):
        for y in (5, 20, 21, 45):
            for z in (-20, -1, 0, 16):
                m.check(((x, x + 1), (y, y + 1), (z, z + 1)))


def test_thin_axes(t):
    """Volumes and chunks that are one voxel thick along an axis."""
    for size, chunk in (((300, 200, 1), (64, 64, 1)), ((1, 200, 90), (1, 33, 90)), ((200, 1, 90), (64, 64, 64)),
                        ((1, 1, 1), (64, 64, 64)), ((500, 1, 1), (1, 1, 1))):
        check_volume(t, size=size, chunk=chunk, dtype="uint32", boxes=40, offset=(-5, 3, -1))


def test_tiny_chunks(t):
    check_volume(t, size=(21, 17, 13), chunk=(1, 2, 3), dtype="int16", channels=2, boxes=60)
    check_volume(t, size=(40, 33, 20), chunk=(3, 3, 3), dtype="uint64", kind="labels", boxes=60,
                 encoding="compressed_segmentation", block=(2, 2, 2), pack="gzip")


def test_chunk_larger_than_the_volume(t):
    check_volume(t, size=(50, 40, 30), chunk=(128, 64, 64), dtype="float32", channels=2, offset=(-25, 0, 7))
    check_volume(t, size=(50, 40, 30), chunk=(128, 64, 64), dtype="uint32", kind="labels", offset=(-25, 0, 7),
                 encoding="compressed_segmentation", pack="zstd")


def test_several_chunk_sizes(t):
    """Boxes come from whichever copy of the data costs least; every one holds the same voxels."""
    check_volume(t, size=(130, 110, 60), chunk=((64, 64, 4), (16, 16, 60), (130, 4, 4)), dtype="uint16", pack="gzip",
                 scales=3, channels=2)
    check_volume(t, "eager=0", size=(130, 110, 60), chunk=((64, 64, 4), (16, 16, 60), (130, 4, 4)), dtype="uint16",
                 pack="gzip", scales=3, channels=2, boxes=30)


def test_many_scales(t):
    check_volume(t, size=(200, 150, 100), scales=7, offset=(-64, 128, 0), dtype="uint8", boxes=30)


def test_far_away(t):
    """Coordinates beyond 32 bits."""
    check_volume(t, size=(40, 40, 40), offset=(3 << 40, -(1 << 39), (1 << 33) + 1), dtype="uint32", kind="index", boxes=40)


def test_one_chunk_boxes(t):
    """Boxes that are exactly a chunk, and exactly the union of some."""
    v = t.volume(size=(130, 100, 70), chunk=(32, 32, 32), dtype="uint64", kind="labels", encoding="compressed_segmentation")
    m = t.mount(v)
    for chunk in v.chunks(v.bounds()):
        m.check(chunk)
    m.check(((32, 96), (0, 64), (32, 64)))


@takes(240)
def test_large_box(t):
    """Beyond several huge pages, with a tail that is no whole page."""
    v = t.volume(size=(301, 257, 203), chunk=(64, 64, 64), dtype="uint16", kind="index")
    m = t.mount(v, cache="256M")
    m.check(v.bounds())
    m.check(((1, 300), (1, 256), (1, 202)))
