# SPDX-License-Identifier: Apache-2.0
"""Rows: what was measured, against what, and whether that is enough."""
import json
import os
import statistics
import time

median = statistics.median


class Row:
    """`ratio` is compared with `target` as `sense` says ("<=" or ">="); no target: for information."""

    def __init__(self, key, what, voxfs, base, ratio, sense=None, target=None, unit="s", note="", best=None,
                 cpu=None):
        self.cpu = cpu  # the ratio of processor seconds: what it would be if both used all processors all the time
        self.best = best  # the ratio of the best rounds: what it would be on a machine with nothing else to do
        self.key, self.what, self.voxfs, self.base, self.ratio = key, what, voxfs, base, ratio
        self.sense, self.target, self.unit, self.note = sense, target, unit, note

    @property
    def verdict(self):
        if self.target is None:
            return "-"
        return "ok" if (self.ratio <= self.target if self.sense == "<=" else self.ratio >= self.target) else "MISS"

    def as_json(self):
        return {k: getattr(self, k) for k in
                ("key", "what", "voxfs", "base", "unit", "ratio", "best", "cpu", "sense", "target", "verdict", "note")}


def show(value, unit):
    if value is None:
        return "-"
    if unit == "s":
        for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "us")):
            if value >= scale:
                return f"{value / scale:.3g} {name}"
        return f"{value * 1e6:.3g} us"
    if unit == "bytes":
        return f"{value / 2 ** 20:.4g} MiB"
    if unit == "B/s":
        return f"{value / 1e9:.3g} GB/s"
    return f"{value:.4g}"


HEAD = f"{'row':<22} {'voxfs':>10} {'baseline':>10} {'ratio':>7} {'best':>6} {'cpu':>6} {'target':>8} {'':<5} what"


def print_row(r):
    target = f"{r.sense} {r.target:g}" if r.target is not None else ""
    ratio = f"{r.ratio:.3f}" if r.ratio is not None else "-"
    best, cpu = (f"{x:.3f}" if x is not None else "" for x in (r.best, r.cpu))
    print(f"{r.key:<22} {show(r.voxfs, r.unit):>10} {show(r.base, r.unit):>10} {ratio:>7} {best:>6} {cpu:>6} "
          f"{target:>8} {r.verdict:<5} {r.what}{'; ' + r.note if r.note else ''}", flush=True)


def machine():
    """What the figures came from."""
    model = memory = ""
    virtual = False
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
        virtual |= line.startswith("flags") and " hypervisor" in line
    for line in open("/proc/meminfo", encoding="utf-8"):
        if line.startswith("MemTotal"):
            memory = int(line.split()[1]) << 10
    return {"processor": model, "processors": os.cpu_count(), "memory_bytes": memory, "virtual": virtual,
            "kernel": os.uname().release, "load": os.getloadavg()[0], "time": int(time.time())}


def write_json(path, rows, extra):
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"machine": machine(), "rows": [r.as_json() for r in rows]} | extra, f, indent=1)
        f.write("\n")
