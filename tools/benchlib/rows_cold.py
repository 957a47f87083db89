# SPDX-License-Identifier: Apache-2.0
"""Boxes that are not resident, against bare loops. Each round mounts anew, so that voxfs has nothing; the files lie in
the page cache for both."""
import random

from benchlib.procs import CONNECTIONS, Mount
from benchlib.table import Row, median

MIB = 1 << 20
WARM = 512 * MIB  # touched right before the clock starts: more than the box and what is kept for it
CUBE = "0-512_0-512_0-512"
THIN = "0-10000_0-1000_20-30"
POLICIES = ("affinity", "morton", "fifo")


def cold_read(b, url, box, prime=None, warm=WARM, **options):
    """Open to last byte of one box on a fresh mount, and the counters afterwards."""
    with Mount(b.stage, url, **({"cache": "2G", "eager": "2G"} | options)) as m:
        if prime:
            b.stage.tool("open", m.box(prime) + "\n")
        before = m.stats()
        seconds = b.stage.tool("open", m.box(box) + "\n", warm=warm)["files"][0][1]
        after = m.stats()
    return seconds, {g + "." + k: after[g][k] - before[g][k] for g in ("chunks", "store", "cache") for k in before[g]}


def in_turns(b, *measures):
    """Calls each once a round, in changing order; returns a list of results for each."""
    out = [[] for _ in measures]
    for i in range(b.rounds):
        for k in range(len(measures)):
            k = (k + i) % len(measures)
            b.stage.calm()
            out[k].append(measures[k]())
    return out


def ratios(ours, theirs):
    return median(t / o for o, t in zip(ours, theirs))


def speed_row(key, what, ours, theirs, target):
    """Theirs over ours: a rate against a rate."""
    return Row(key, what, median(ours), median(theirs), ratios(ours, theirs), ">=", target,
               best=min(theirs) / min(ours))


def time_row(key, what, ours, theirs, target, note=""):
    """Ours over theirs: a time against a time."""
    return Row(key, what, median(ours), median(theirs), 1 / ratios(ours, theirs), "<=", target, note=note,
               best=min(ours) / min(theirs))


def cold_file(b):
    v = b.vol["grey"]
    prime = "512-640_512-640_512-640"  # a mount that has been in use: its threads have their buffers
    ours, bare, fresh = in_turns(
        b, lambda: cold_read(b, v.url, CUBE, prime)[0],
        lambda: b.stage.tool("file", threads=b.stage.threads, **v.grid(CUBE))["seconds"],
        lambda: b.stage.tool("file", threads=b.stage.threads, fresh=1, **v.grid(CUBE))["seconds"])
    yield speed_row("cold-file", "cold 512^3 uint8, file://; pread + memcpy into touched memory", ours, bare, 0.8)
    yield speed_row("cold-file-fresh", "the same; pread + memcpy into fresh 2 MiB pages", ours, fresh, None)


def cold_http(b):
    v, server = b.vol["grey"], b.server()
    ours, bare = in_turns(
        b, lambda: cold_read(b, v.at(server.url), CUBE)[0],
        lambda: b.stage.tool("http", connections=CONNECTIONS, **v.grid(CUBE, v.at(server.url)))["seconds"])
    yield speed_row("cold-http", "cold 512^3 uint8 over nginx; libcurl multi, bytes dropped", ours, bare, 0.7)


def cold_http_gzip(b):
    v, server = b.vol["grey-gz"], b.server()
    ours, bare = in_turns(
        b, lambda: cold_read(b, v.at(server.url), CUBE)[0],
        lambda: b.stage.tool("inflate", threads=b.stage.threads, **v.grid(CUBE))["seconds"])
    yield speed_row("cold-http-gzip", "cold 512^3 uint8 gzip over nginx; inflating from disk alone", ours, bare, None)


def cold_cseg(b):
    v = b.vol["seg-gz"]
    ours, bare = in_turns(
        b, lambda: cold_read(b, v.url, THIN, "0-64_0-64_0-1", 2048 * MIB)[0],
        lambda: b.stage.tool("cseg", threads=b.stage.threads, **v.grid(THIN))["seconds"])
    yield speed_row("cold-cseg", "cold 10000x1000x10 uint64 cseg gzip; inflating and decoding whole chunks", ours, bare,
                    1.5)


def slabs_once(b, v):
    with Mount(b.stage, v.url, cache="2G") as m:
        paths = [m.box(f"0-1024_0-1024_{z}-{z + 1}") for z in range(64)]
        return b.stage.tool("open", "\n".join(paths) + "\n", warm=WARM)["seconds"]


def slabs(b):
    v = b.vol["grey-gz"]
    ours, bare = in_turns(b, lambda: slabs_once(b, v),
                          lambda: b.stage.tool("slabs", threads=b.stage.threads,
                                               **v.grid("0-1024_0-1024_0-64"))["seconds"])
    yield time_row("slabs", "64 slabs of 1024x1024x1 over gzip 64^3; inflating once and copying", ours, bare, 1.3)


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
        ours, bare = in_turns(b, lambda: cold_read(b, url, CUBE)[0],
                              lambda: b.stage.tool("http", connections=CONNECTIONS, **v.grid(CUBE, url))["seconds"])
    yield time_row("latency-50ms", f"512^3, 50 ms for each response; ceil(512 / {CONNECTIONS}) x 50 ms", ours,
                   [limit] * len(ours), 1.25, f"libcurl multi alone {median(bare):.3f} s")


def crowd(b):
    v, server = b.vol["grey"], b.server()
    fetched = []

    def once(n):
        with Mount(b.stage, v.at(server.url), cache="2G", eager="2G") as m:
            seconds = b.stage.tool("crowd", path=m.box(CUBE), n=n, warm=WARM)["seconds"]
            fetched.append(m.stats()["chunks"]["fetched"])
        return seconds

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
        opens, names = [], list(small_boxes(aligned, 300, b.rounds))

        def voxfs():
            with Mount(b.stage, v.url, cache="2G") as m:
                files = b.stage.tool("open", "\n".join(map(m.box, names)) + "\n", warm=WARM)["files"]
            opens.append(median(f[0] for f in files))
            return median(f[1] for f in files)

        ours, bare = in_turns(
            b, voxfs, lambda: median(b.stage.tool("boxes", "\n".join(names) + "\n", **v.grid("0-64_0-64_0-64"))["boxes"]))
        chunks = 1 if aligned else 8
        yield time_row(key, f"cold 64^3 box, file://, {chunks} chunks: open to last byte; 1 ms", ours,
                       [1e-3] * len(ours), 1.0, f"open alone {median(opens) * 1e6:.0f} us")
        yield time_row(key + "-x", "the same; pread + memcpy of its chunks", ours, bare, 3.0)


def policies(b):
    """For information: what each policy is worth where locality can matter."""
    for key, v, box in (("slabs", b.vol["grey-gz"], None), ("cube", b.vol["grey"], CUBE), ("thin", b.vol["seg-gz"], THIN)):
        def once(policy, v=v, box=box):
            if box:
                return cold_read(b, v.url, box, warm=2048 * MIB, policy=policy)[0]
            with Mount(b.stage, v.url, cache="2G", policy=policy) as m:
                paths = [m.box(f"0-1024_0-1024_{z}-{z + 1}") for z in range(16)]
                return b.stage.tool("open", "\n".join(paths) + "\n", warm=WARM)["seconds"]

        times = in_turns(b, *(lambda p=p: once(p) for p in POLICIES))
        for policy, t in list(zip(POLICIES, times))[:2]:
            yield time_row(f"{policy}-{key}", f"policy={policy}, {key}, file://; policy=fifo", t, times[2], None)
