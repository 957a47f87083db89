# SPDX-License-Identifier: Apache-2.0
"""Boxes that are not resident, against bare loops. Each round mounts anew, so that voxfs has nothing; the files lie in
the page cache for both."""
import itertools
import random
import time

from benchlib.procs import CONNECTIONS, Failed, Mount
from benchlib.table import Row, median

CUBE = "0-512_0-512_0-512"
THIN = "0-10000_0-1000_20-30"
POLICIES = ("affinity", "morton", "fifo")


def cold_open(b, m, boxes):
    """Opens and touches boxes one after another: the times of each, the seconds, the processor seconds of all."""
    m.wait_until_ready()
    b.warm_page_cache()
    b.stage.calm()
    before = m.cpu()
    r = b.stage.tool("open", "".join(m.box(x) + "\n" for x in boxes))
    return r | {"cpu": r["cpu"] + m.cpu() - before}


def cold_read(b, url, boxes, prime=None, **options):
    """The same on a fresh mount. `prime`: a box elsewhere, read before, as on a mount that has been in use."""
    with Mount(b.stage, url, **({"cache": "1G", "eager": "1G"} | options)) as m:
        if prime:
            b.stage.tool("open", m.box(prime) + "\n")
        return cold_open(b, m, boxes)


def in_turns(b, *measures):
    """Calls each once a round, in changing order; returns a list of results for each."""
    out = [[] for _ in measures]
    for i in range(b.rounds):
        for k in range(len(measures)):
            k = (k + i) % len(measures)
            b.stage.calm()
            out[k].append(measures[k]())
    return out


def column(results, name):
    return [r[name] for r in results]


def ratios(ours, theirs):
    return median(t / o for o, t in zip(ours, theirs))


def speed_row(key, what, ours, theirs, target):
    """Theirs over ours: a rate against a rate."""
    o, t = column(ours, "seconds"), column(theirs, "seconds")
    return Row(key, what, median(o), median(t), ratios(o, t), ">=", target, best=min(t) / min(o),
               cpu=ratios(column(ours, "cpu"), column(theirs, "cpu")))


def time_row(key, what, ours, theirs, target, note=""):
    """Ours over theirs: a time against a time."""
    o, t = column(ours, "seconds"), column(theirs, "seconds")
    cpu = 1 / ratios(column(ours, "cpu"), column(theirs, "cpu")) if "cpu" in theirs[0] else None
    return Row(key, what, median(o), median(t), 1 / ratios(o, t), "<=", target, note=note, best=min(o) / min(t),
               cpu=cpu)


def against(ours, seconds):
    """A baseline that is a figure."""
    return [{"seconds": seconds}] * len(ours)


def bare(b, command, v, box, base=None, **args):
    b.warm_page_cache()
    return b.stage.tool(command, **({"threads": b.stage.threads} | args | v.grid(box, base)))


def cold_file(b):
    v = b.vol["grey"]
    ours, touched, fresh = in_turns(b, lambda: cold_read(b, v.url, [CUBE], "512-640_512-640_512-640"),
                                    lambda: bare(b, "file", v, CUBE), lambda: bare(b, "file", v, CUBE, fresh=1))
    yield speed_row("cold-file", "cold 512^3 uint8, file://; pread + memcpy into touched memory", ours, touched, 0.8)
    yield speed_row("cold-file-fresh", "the same; pread + memcpy into fresh 2 MiB pages", ours, fresh, None)


def cold_http(b):
    v, base = b.vol["grey"], b.vol["grey"].at(b.server().url)
    ours, drop = in_turns(b, lambda: cold_read(b, base, [CUBE]),
                          lambda: bare(b, "http", v, CUBE, base, connections=CONNECTIONS))
    yield speed_row("cold-http", "cold 512^3 uint8 over nginx; libcurl multi, bytes dropped", ours, drop, 0.7)


def fill_disk_cache(b, url, options):
    """An octant at a time, each less than what may wait to be written."""
    with Mount(b.stage, url, cache="1G", eager="1G", **options) as m:
        for x, y, z in itertools.product((0, 256), repeat=3):
            b.stage.tool("open", m.box(f"{x}-{x + 256}_{y}-{y + 256}_{z}-{z + 256}") + "\n")
            while m.stats()["diskcache"]["waiting_bytes"]:
                time.sleep(0.01)
    with Mount(b.stage, url, cache="1G", eager="1G", **options) as m:
        b.stage.tool("open", m.box(CUBE) + "\n")
        if m.stats()["diskcache"]["misses"]:
            raise Failed("the disk did not take all chunks")


def disk_cache(b):
    """The baseline reads the same bytes from files that lie in the page cache too, and checks nothing."""
    v, base = b.vol["grey"], b.vol["grey"].at(b.server().url)
    options = {"diskcache": b.stage.path("diskcache"), "diskcache_size": "4G"}
    fill_disk_cache(b, base, options)
    ours, touched = in_turns(b, lambda: cold_read(b, base, [CUBE], **options), lambda: bare(b, "file", v, CUBE))
    yield speed_row("disk-cache", "512^3 uint8, all in the disk cache; pread + memcpy of the same bytes", ours, touched,
                    None)


def cold_http_gzip(b):
    v = b.vol["grey-gz"]
    ours, inflate = in_turns(b, lambda: cold_read(b, v.at(b.server().url), [CUBE]), lambda: bare(b, "inflate", v, CUBE))
    yield speed_row("cold-http-gzip", "cold 512^3 uint8 gzip over nginx; inflating from disk alone", ours, inflate,
                    None)


def cold_cseg(b):
    v = b.vol["seg-gz"]
    ours, drop, crop = in_turns(b, lambda: cold_read(b, v.url, [THIN], "0-64_0-64_0-1", cache="2G", eager="2G"),
                                lambda: bare(b, "cseg", v, THIN), lambda: bare(b, "cseg", v, THIN, crop=1))
    yield speed_row("cold-cseg", "cold 10000x1000x10 uint64 cseg gzip; inflating and decoding whole chunks", ours, drop,
                    1.5)
    yield speed_row("cold-cseg-crop", "the same; and copying the box out of them into fresh 2 MiB pages", ours, crop,
                    None)


def cold_zarr(b):
    for pack in ("blosc", "zstd"):
        v = b.vol[f"zarr-{pack}"]
        ours, loop = in_turns(b, lambda v=v: cold_read(b, v.url, [CUBE]), lambda v=v: bare(b, "unpack", v, CUBE))
        yield speed_row(f"cold-zarr-{pack}", f"cold 512^3 uint8 Zarr, {pack}, file://; the bare library and memcpy",
                        ours, loop, 0.9)


def chain(b):
    """Without a mount."""
    for pack in ("blosc", "zstd"):
        v = b.vol[f"zarr-{pack}"]
        ours, loop = in_turns(b, lambda v=v: bare(b, "chain", v, CUBE), lambda v=v: bare(b, "unpack", v, CUBE))
        yield speed_row(f"chain-{pack}", f"{pack} chain decode of 512^3 uint8; the bare decoder loop", ours, loop, 0.9)


def images(b):
    for encoding in ("jpeg", "png"):
        v = b.vol["grey-" + encoding]
        ours, loop = in_turns(b, lambda v=v: cold_read(b, v.url, [CUBE], "0-64_0-64_0-64"),
                              lambda v=v, e=encoding: bare(b, "images", v, CUBE, encoding=e))
        yield speed_row("cold-" + encoding, f"cold 512^3 uint8 {encoding}, file://; reading and decoding its chunks alone",
                        ours, loop, 0.9)


def slab_names(count):
    return [f"0-1024_0-1024_{z}-{z + 1}" for z in range(count)]


def slabs(b):
    v = b.vol["grey-gz"]
    ours, loop = in_turns(b, lambda: cold_read(b, v.url, slab_names(64)),
                          lambda: bare(b, "slabs", v, "0-1024_0-1024_0-64"))
    yield time_row("slabs", "64 slabs of 1024x1024x1 over gzip 64^3; inflating once and copying", ours, loop, 1.3)


def half(b):
    """The other half's chunks: those that the rest of the second box meets and the first does not hold."""
    v, server = b.vol["grey"], b.server()
    for key, first, second, chunks in (
            ("half-aligned", "0-512_0-512_0-256", "256-768_0-512_0-256", 4 * 8 * 4),
            ("half-unaligned", "10-522_20-532_30-286", "266-778_20-532_30-286", 5 * 9 * 5)):
        with Mount(b.stage, v.at(server.url), cache="2G") as m:
            b.stage.tool("open", m.box(first) + "\n")
            before = m.stats()["store"]["bytes"]
            b.stage.tool("open", m.box(second) + "\n")
            fetched = m.stats()["store"]["bytes"] - before
        base = chunks * 64 ** 3
        yield Row(key, "box half inside a resident one: bytes fetched; the other half's chunks", fetched, base,
                  fetched / base, "<=", 1.0, "bytes")


def latency(b):
    v = b.vol["grey"]
    limit = -(-512 // CONNECTIONS) * 0.05
    with b.stage.running_tool("serve", root=v.dir, delay_ms=50) as s:
        url = f"http://127.0.0.1:{s['port']}"
        ours, curl = in_turns(b, lambda: cold_read(b, url, [CUBE]),
                              lambda: bare(b, "http", v, CUBE, url, connections=CONNECTIONS))
    yield time_row("latency-50ms", f"512^3, 50 ms for each response; ceil(512 / {CONNECTIONS}) x 50 ms", ours,
                   against(ours, limit), 1.25, f"libcurl multi alone {median(column(curl, 'seconds')):.3f} s")


def crowd(b):
    base = b.vol["grey"].at(b.server().url)
    fetched = []

    def once(n):
        with Mount(b.stage, base, cache="1G", eager="1G") as m:
            m.wait_until_ready()
            b.warm_page_cache()
            b.stage.calm()
            r = b.stage.tool("crowd", path=m.box(CUBE), n=n)
            fetched.append(m.stats()["chunks"]["fetched"])
        return r

    many, one = in_turns(b, lambda: once(8), lambda: once(1))
    yield time_row("crowd-8", "8 processes read one cold 512^3 over HTTP; one process", many, one, 1.3)
    yield Row("crowd-fetched", "chunks fetched; chunks there are", max(fetched), 512, max(fetched) / 512, "<=", 1.0,
              "count")


def small_boxes(aligned, count, seed):
    """Boxes of 64^3 in random order that share no chunk."""
    at = [(x, y, z) for x in range(0, 1024, 128) for y in range(0, 1024, 128) for z in range(0, 1024, 128)]
    rng = random.Random(seed)
    rng.shuffle(at)
    for corner in at[:count]:
        o = (0, 0, 0) if aligned else [rng.randrange(1, 64) for _ in range(3)]
        yield "_".join(f"{c + d}-{c + d + 64}" for c, d in zip(corner, o))


def small(b):
    v = b.vol["grey"]
    for key, aligned in (("cold-64-aligned", True), ("cold-64-random", False)):
        names = list(small_boxes(aligned, 300, b.rounds))

        def voxfs(names=names):
            r = cold_read(b, v.url, names)
            return r | {"seconds": median(f[1] for f in r["files"]), "open": median(f[0] for f in r["files"])}

        def loop(names=names):
            b.warm_page_cache()
            r = b.stage.tool("boxes", "".join(n + "\n" for n in names), count=len(names),
                             **v.grid("0-64_0-64_0-64"))
            return r | {"seconds": median(r["boxes"])}

        ours, theirs = in_turns(b, voxfs, loop)
        chunks = 1 if aligned else 8
        yield time_row(key, f"cold 64^3 box, file://, {chunks} chunks: open to last byte; 1 ms", ours,
                       against(ours, 1e-3), 1.0, f"open alone {median(column(ours, 'open')) * 1e6:.0f} us")
        yield time_row(key + "-x", "the same; pread + memcpy of its chunks", ours, theirs, 3.0)


def policies(b):
    """For information: what each policy is worth where locality can matter."""
    for key, name, boxes in (("slabs", "grey-gz", slab_names(16)), ("cube", "grey", [CUBE]),
                             ("thin", "seg-gz", [THIN])):
        times = in_turns(b, *(lambda p=p: cold_read(b, b.vol[name].url, boxes, cache="2G", eager="2G", policy=p)
                              for p in POLICIES))
        for policy, t in list(zip(POLICIES, times))[:2]:
            yield time_row(f"{policy}-{key}", f"policy={policy}, {key}, file://; policy=fifo", t, times[2], None)
