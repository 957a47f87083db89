# SPDX-License-Identifier: Apache-2.0
"""The daemon's memory while it works. All of it: anonymous pages, page tables, what its tmpfs holds. Two views: beyond
what it says it holds within its budget, and beyond the budget itself when the cache is full."""
import threading
import time

from benchlib.procs import Mount
from benchlib.rows_cold import CUBE, THIN
from benchlib.rows_resident import arena_bytes
from benchlib.table import Row

LIMIT = 64 << 20


def private(m):
    found = 0
    for pid in m.pids:
        for line in open(f"/proc/{pid}/status", encoding="utf-8"):
            key, _, value = line.partition(":")
            if key in ("RssAnon", "VmPTE"):
                found += int(value.split()[0]) << 10
    return found


class Peak:
    """Samples f() until stopped."""

    def __init__(self, f):
        self.f, self.most, self.samples, self.going = f, 0, 0, True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while self.going:
            self.most = max(self.most, self.f())
            self.samples += 1
            time.sleep(0.002)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.going = False
        self.thread.join()


def unaccounted(m):
    """stats.json is read first, so that what comes to be kept meanwhile counts against us. The arena's objects are left
    out on both sides; the next row has all."""
    s = m.stats()["cache"]
    return private(m) - s["kept_bytes"]


def beyond(b):
    for key, url, box in (("memory-http", b.vol["grey"].at(b.server().url), CUBE),
                          ("memory-http-gzip", b.vol["grey-gz"].at(b.server().url), CUBE),
                          ("memory-cseg", b.vol["seg-gz"].url, THIN)):
        with Mount(b.stage, url, cache="2G", eager="2G", warm=0) as m:  # nothing made ready: no buffers held for later
            with Peak(lambda: unaccounted(m)) as peak:
                b.stage.tool("open", m.box(box) + "\n")
        yield Row(key, f"daemon's private memory less kept chunks, peak of {peak.samples} samples; 64 MiB", peak.most,
                  LIMIT, peak.most / LIMIT, "<=", 1.0, "bytes")
    yield full_cache(b)


def full_cache(b):
    """A cache of 256 MiB, full, and boxes of 32 MiB that share chunks passing through it."""
    budget = 256 << 20
    boxes = [f"{x}-{x + 512}_{y}-{y + 512}_{z}-{z + 128}" for z in (20, 300) for x in (30, 330) for y in (40, 340)]
    with Mount(b.stage, b.vol["grey"].at(b.server().url), cache=budget, eager=budget) as m:
        m.wait_until_ready()
        with Peak(lambda: private(m) + arena_bytes(m.pid) - budget) as peak:
            for _ in range(2):
                b.stage.tool("open", "".join(m.box(x) + "\n" for x in boxes))
    return Row("memory-full", f"all the daemon's memory beyond a full cache of 256 MiB, peak of {peak.samples}; 64 MiB",
               peak.most, LIMIT, peak.most / LIMIT, "<=", 1.0, "bytes")
