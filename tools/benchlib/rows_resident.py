# SPDX-License-Identifier: Apache-2.0
"""Boxes that are resident: what a hit costs, and whose memory it is."""
import os
import re
import subprocess

from benchlib.procs import Mount
from benchlib.table import Row, median

TWO_MIB = "0-128_0-128_0-128"
QUARTER = "0-1024_0-512_0-512"
WHOLE = "0-1024_0-1024_0-1024"


class ShmFile:
    """A native shared-memory file with the bytes of a box."""

    def __init__(self, stage, source):
        self.path = f"/dev/shm/voxfs-bench-{os.getpid()}-{id(self)}"
        self.stage = stage
        stage.add(self)
        with open(source, "rb", buffering=0) as src, open(self.path, "wb", buffering=0) as dst:
            while block := src.read(1 << 22):
                dst.write(block)

    def stop(self):
        os.unlink(self.path)
        self.stage.drop(self)

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        self.stop()


def hit(b):
    with Mount(b.stage, b.vol["grey"].url, cache="1G") as m, ShmFile(b.stage, m.box(TWO_MIB)) as shm:
        r = b.stage.tool("resident", a=m.box(TWO_MIB), b=shm, rounds=b.rounds * 4, n=200)["rounds"]
    ratio = median(x[0] / x[1] for x in r)
    yield Row("hit-2MiB", "resident 2 MiB: open, map, touch, unmap, close; /dev/shm", median(x[0] for x in r),
              median(x[1] for x in r), ratio, "<=", 0.35)


def dd_rate(path):
    r = subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=1M"], stderr=subprocess.PIPE, text=True, check=True,
                       env=os.environ | {"LC_ALL": "C"})
    size, seconds = re.search(r"(\d+) bytes.* ([\d.e-]+) s,", r.stderr).groups()
    return int(size) / float(seconds)


def pmd_mapped(pid, what):
    """(mapped by 2 MiB pages, size) of a mapping, in bytes."""
    inside, found = False, {}
    for line in open(f"/proc/{pid}/smaps", encoding="utf-8"):
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = what in line
        elif inside:
            key, value = line.split(":", 1)
            if key in ("Size", "ShmemPmdMapped", "FilePmdMapped"):
                found[key] = int(value.split()[0]) << 10
    return found.get("ShmemPmdMapped", 0) + found.get("FilePmdMapped", 0), found.get("Size", 0)


def big(b):
    """1 GiB: dd, and the share of 2 MiB pages."""
    tail = "0-1024_0-1024_0-101"
    with Mount(b.stage, b.vol["grey"].url, cache="2G", eager="2G") as m:
        with ShmFile(b.stage, m.box(WHOLE)) as shm:
            pairs = []
            for i in range(b.rounds):
                order = [m.box(WHOLE), shm] if i % 2 else [shm, m.box(WHOLE)]
                rates = {p: dd_rate(p) for p in order}
                pairs.append((rates[m.box(WHOLE)], rates[shm]))
        yield Row("dd-1GiB", "resident 1 GiB: dd; /dev/shm", median(p[0] for p in pairs), median(p[1] for p in pairs),
                  median(p[0] / p[1] for p in pairs), ">=", 1.2, "B/s")
        for name, box in (("pmd-1GiB", WHOLE), ("pmd-tail", tail)):
            with b.stage.running_tool("hold", path=m.box(box), n=1) as held:
                mapped, size = pmd_mapped(held["pids"][0], box)
            whole = size // (2 << 20) * (2 << 20)
            yield Row(name, f"mapping of 2 MiB pages (all but the tail), {size >> 10} KiB", mapped, whole,
                      mapped / whole if whole else 0, ">=", 1.0, "bytes")


def memory_of(pids):
    """Proportional share of all mappings, and page tables."""
    total = 0
    for pid in pids:
        for line in open(f"/proc/{pid}/smaps_rollup", encoding="utf-8"):
            if line.startswith("Pss:"):
                total += int(line.split()[1]) << 10
        for line in open(f"/proc/{pid}/status", encoding="utf-8"):
            if line.startswith(("VmPTE:", "VmPMD:")):
                total += int(line.split()[1]) << 10
    return total


def available():
    for line in open("/proc/meminfo", encoding="utf-8"):
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) << 10
    return 0


def many_maps(b):
    total, taken = {}, {}
    with Mount(b.stage, b.vol["grey"].url, cache="1G", eager="1G", warm=0) as m:
        before = available()
        for n in (1, 32, 1, 32):
            with b.stage.running_tool("hold", path=m.box(QUARTER), n=n) as held:
                total[n] = memory_of(held["pids"] + m.pids)
                taken[n] = before - available()
    yield Row("map-32", "32 processes map one 256 MiB box: sum of Pss and page tables, daemon too; one process",
              total[32], total[1], total[32] / total[1], "<=", 1.05, "bytes",
              f"MemAvailable fell by {taken[32] >> 20} and {taken[1] >> 20} MiB")


def mixed_fill(b):
    """Boxes of 64 KiB to 64 MiB: what the arena's tmpfs holds against what they serve."""
    boxes, served, z = [], 0, 0
    for bits in range(16, 27):
        for k in range(3):
            odd = 1 + 0.31 * k  # not only powers of two
            n = int(2 ** bits * odd)
            depth = max(1, n // (1024 * 1024))
            rows = min(1000, n // depth // 1000 + 1)
            boxes.append(f"0-1000_0-{rows}_{z}-{z + depth}")
            served += 1000 * rows * depth
            z = (z + depth) % 700
    with Mount(b.stage, b.vol["grey"].url, cache="2G", eager="128M", warm=0) as m:
        b.stage.tool("open", "\n".join(map(m.box, boxes)) + "\n")
        stats = m.stats()["cache"]
        held = arena_bytes(m.pid)
    yield Row("fill-mixed", f"{stats['objects']} boxes of 64 KiB to 64 MiB: bytes that the tmpfs holds; bytes served",
              held, served, held / served, "<=", 1.15, "bytes")


def arena_bytes(pid):
    """What the daemon's detached tmpfs holds: it is reached through the descriptor of its root."""
    most = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        if os.path.isdir(path) and os.readlink(path) == "/":
            s = os.statvfs(path)
            if s.f_blocks * s.f_frsize <= 4 << 30:
                most = max(most, (s.f_blocks - s.f_bfree) * s.f_frsize)
    return most
