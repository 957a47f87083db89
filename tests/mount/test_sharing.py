# SPDX-License-Identifier: Apache-2.0
"""Nothing is fetched twice: the daemon's counter and the server's own count of requests must agree on that."""
import hashlib

from kit import equal, read_file, takes

VOLUME = dict(size=(256, 192, 128), offset=(-64, 0, 10), chunk=(64, 64, 32), dtype="uint16", kind="index", pack="gzip")


def each_once(m, d, chunks):
    """Each of these chunks was asked for exactly once, and no other."""
    requests = d.chunk_requests()
    equal(sorted(set(requests.values())), [1], "requests for one chunk")
    equal(len(requests), chunks, "chunks requested")
    equal(m.stats("chunks.fetched"), chunks, "chunks.fetched")


def digest(path):
    return hashlib.sha256(read_file(path)).hexdigest()


def digest_many(paths):
    return [digest(p) for p in paths]


def wanted(v, boxes):
    return [hashlib.sha256(v.bytes(b)).hexdigest() for b in boxes]


def touched(v, boxes):
    return len({c for b in boxes for c in v.chunks(b)})


@takes(240)
def test_overlapping_boxes_at_once(t):
    """Many processes, several times."""
    v = t.volume(**VOLUME)
    for _ in range(t.scaled(4)):
        m, d = t.mount_http(v, cache="256M")
        lists = [[v.random_box(t.random) for _ in range(t.scaled(12, 3))] for _ in range(8)]
        answers = t.clients([(digest_many, [m.file(b) for b in boxes]) for boxes in lists])
        for boxes, got in zip(lists, answers):
            equal(got, wanted(v, boxes))
        each_once(m, d, touched(v, [b for boxes in lists for b in boxes]))
        m.close()


def test_one_cold_box_from_eight(t):
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v)
    box = ((-60, 180), (5, 180), (12, 130))
    equal(t.clients([(digest, m.file(box))] * 8), wanted(v, [box]) * 8)
    each_once(m, d, touched(v, [box]))
    stats = m.stats()["cache"]
    equal(stats["misses"] + stats["joins"] + stats["hits"], 8, "opens")
    equal(stats["misses"], 1, "cache.misses")


def test_half_inside_a_resident_box(t):
    """Only the other half's chunks are fetched."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v)
    first, second = ((-64, 64), (0, 128), (10, 74)), ((0, 128), (0, 128), (10, 74))
    m.check(first)
    before = set(d.chunk_requests())
    m.check(second)
    after = d.chunk_requests()
    each_once(m, d, touched(v, [first, second]))
    equal(len(set(after) - before), touched(v, [((64, 128), (0, 128), (10, 74))]), "chunks fetched for the second")


def test_half_inside_an_unaligned_box(t):
    """The same where the first box took only a part of the chunks between them."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v)
    boxes = [((-50, 40), (9, 120), (15, 70)), ((0, 100), (9, 120), (15, 70)), ((-50, 100), (0, 192), (15, 70))]
    for box in boxes:
        m.check(box)
    each_once(m, d, touched(v, boxes))


def test_slabs_of_one_layer(t):
    """Thin slabs one after another fetch each chunk once."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v)
    for z in range(10, 42):
        m.check(((-64, 192), (0, 192), (z, z + 1)))
    each_once(m, d, touched(v, [((-64, 192), (0, 192), (10, 42))]))


def test_union_of_slabs(t):
    """What lies in 64 resident slabs needs no fetch, though none of them holds it all."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v, cache="256M")
    for z in range(64):
        m.check(((-20, 100), (30, 130), (20 + z, 21 + z)))
    before = d.counts()["total"]
    m.check(((-20, 100), (30, 130), (20, 84)))
    equal(d.counts()["total"], before, "requests")


def test_slabs_at_once(t):
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v)
    boxes = [((-64, 192), (0, 192), (z, z + 1)) for z in range(10, 42)]
    equal(t.clients([(digest, m.file(b)) for b in boxes]), wanted(v, boxes))
    each_once(m, d, touched(v, boxes))


def test_kept_chunks_serve_later_boxes(t):
    """Of a chunk only a corner was wanted; its other parts need no second request."""
    for args in (VOLUME, dict(VOLUME, dtype="uint64", kind="labels", encoding="compressed_segmentation")):
        v = t.volume(**args)
        m, d = t.mount_http(v)
        m.check(((-64, -60), (0, 4), (10, 14)))
        for _ in range(20):
            x, y, z = (t.random.randrange(n) for n in (60, 60, 28))
            m.check(((x - 64, x - 60), (y, y + 4), (z + 10, z + 14)))
        each_once(m, d, 1)
        assert m.stats("chunks.kept_hits") + m.stats("chunks.copied") > 0


def test_whole_chunks_are_not_kept_twice(t):
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v)
    m.check(((-64, 64), (0, 64), (10, 42)))
    equal(m.stats("cache.kept_chunks"), 0, "cache.kept_chunks")
    m.check(((-60, 60), (3, 60), (12, 40)))
    each_once(m, d, 2)


def test_lazy_and_eager_share(t):
    """all.raw draws on the chunks of boxes, and boxes on those of all.raw."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v, "eager=4M")
    m.check(((-64, 192), (0, 192), (10, 42)))
    part = t.client(read_some, m.file("all.raw"), 0, 100000).result()
    equal(part, v.bytes(v.bounds())[:100000])
    each_once(m, d, touched(v, [((-64, 192), (0, 192), (10, 42))]))


def read_some(path, at, n):
    with open(path, "rb", buffering=0) as f:
        f.seek(at)
        data = b""
        while len(data) < n and (part := f.read(n - len(data))):
            data += part
        return data


def test_missing_chunks_are_asked_for_once(t):
    v = t.volume(**dict(VOLUME, drop=((1, 1, 1),)))
    m, d = t.mount_http(v, "missing=fill")
    hole = ((0, 64), (64, 128), (42, 74))
    for box in (hole, ((10, 20), (70, 80), (50, 60)), ((0, 64), (64, 128), (42, 50))):
        equal(set(m.read(box)), {0}, "bytes of a missing chunk")
    equal(sum(d.chunk_requests().values()), 1, "requests")


def test_policies(t):
    """Each order of work gives the same bytes and fetches each chunk once."""
    v = t.volume(**VOLUME)
    for policy in ("affinity", "morton", "fifo"):
        m, d = t.mount_http(v, "policy=" + policy)
        boxes = [v.random_box(t.random) for _ in range(12)]
        equal(t.clients([(digest, m.file(b)) for b in boxes]), wanted(v, boxes), policy)
        each_once(m, d, touched(v, boxes))
        m.close()
