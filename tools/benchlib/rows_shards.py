# SPDX-License-Identifier: Apache-2.0
"""Sharded volumes: what it costs to find chunks by indexes and byte ranges instead of by name, and how many requests a box
takes. The two volumes hold the same voxels in chunks of the same size."""
from benchlib.procs import Mount
from benchlib.rows_cold import CUBE, cold_read, in_turns, speed_row
from benchlib.table import Row


def requests_of(b, url, box):
    """Requests of one cold box, without the metadata's."""
    with Mount(b.stage, url, cache="1G", eager="1G") as m:
        before = m.stats()["store"]["requests"]
        b.stage.tool("open", m.box(box) + "\n")
        return m.stats()["store"]["requests"] - before


def sharded(b):
    base = b.server().url
    for key, name, plain in (("sharded-http", "grey-shard", "grey"), ("sharded-http-gzip", "grey-gz-shard", "grey-gz")):
        url, other = b.vol[name].at(base), b.vol[plain].at(base)
        ours, theirs = in_turns(b, lambda u=url: cold_read(b, u, [CUBE]), lambda u=other: cold_read(b, u, [CUBE]))
        yield speed_row(key, "cold 512^3 uint8 in 8 shards over nginx; the same, a file for each chunk", ours, theirs, 0.9)
        count, chunks = requests_of(b, url, CUBE), 512
        yield Row(key + "-requests", "requests of that box; chunks", count, chunks, count / chunks, "<=", 0.25, "count")
