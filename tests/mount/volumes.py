# SPDX-License-Identifier: Apache-2.0
"""Sample volumes made by voxgen, shared by the tests of a run, and what their boxes must hold."""
import fcntl
import hashlib
import json
import os
import shutil
import subprocess

import numpy as np
from voxgen_content import content

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32")


def box_name(box):
    (x0, x1), (y0, y1), (z0, z1) = box
    return "%d-%d_%d-%d_%d-%d.raw" % (x0, x1, y0, y1, z0, z1)


class Volume:
    """`spec` is voxgen's command line, `path` where it wrote."""

    def __init__(self, path, spec):
        self.path, self.spec = path, spec
        self.dtype, self.channels = spec["dtype"], spec["channels"]
        self.kind, self.seed = spec["content"], spec["seed"]
        with open(os.path.join(path, "info")) as f:
            self.info = json.load(f)
        self.scales = self.info["scales"]
        self._whole = {}

    def copied(self, to):
        shutil.copytree(self.path, to)
        return Volume(to, self.spec)

    def width(self):
        return np.dtype(self.dtype).itemsize

    def bounds(self, mip=0):
        s = self.scales[mip]
        return tuple((o, o + n) for o, n in zip(s["voxel_offset"], s["size"]))

    def size(self, box):
        return int(np.prod([b - a for a, b in box])) * self.channels * self.width()

    def array(self, box, mip=0):
        """The voxels of a box, (c, z, y, x)."""
        bounds = self.bounds(mip)
        if np.prod(self.scales[mip]["size"]) * self.channels > 8 << 20:
            return content(self.kind, self.seed, mip, box, self.channels, self.dtype)
        if mip not in self._whole:
            self._whole[mip] = content(self.kind, self.seed, mip, bounds, self.channels, self.dtype)
        x, y, z = (slice(a - o, b - o) for (a, b), (o, _) in zip(box, bounds))
        return self._whole[mip][:, z, y, x]

    def bytes(self, box, mip=0):
        return np.ascontiguousarray(self.array(box, mip)).tobytes()

    def chunks(self, box, mip=0, grid=0):
        """Boxes of the chunks that a box touches."""
        s = self.scales[mip]
        axes = []
        for (a, b), o, n, c in zip(box, s["voxel_offset"], s["size"], s["chunk_sizes"][grid]):
            axes.append([(o + i * c, min(o + (i + 1) * c, o + n)) for i in range((a - o) // c, (b - 1 - o) // c + 1)])
        return [(x, y, z) for z in axes[2] for y in axes[1] for x in axes[0]]

    def chunk_file(self, chunk, mip=0):
        """Where the chunk lies on disk, suffix included."""
        stem = os.path.join(self.path, self.scales[mip]["key"], box_name(chunk)[:-4])
        return next(p for p in (stem + s for s in ("", ".gz", ".br", ".zstd")) if os.path.exists(p))

    def random_box(self, random, mip=0, most=1 << 20):
        """Any box of at most `most` bytes, edges and chunk borders more often than chance has them."""
        while True:
            box = []
            for (lo, hi), c in zip(self.bounds(mip), self.scales[mip]["chunk_sizes"][0]):
                marks = [lo, hi] + [m for m in (lo + c * random.randrange(0, (hi - lo) // c + 1),) if lo <= m <= hi]
                ends = sorted(random.choice(marks) if random.random() < 0.4 else random.randint(lo, hi) for _ in "ab")
                if ends[0] == ends[1]:
                    ends = [min(ends[0], hi - 1), min(ends[0], hi - 1) + 1]
                box.append(tuple(ends))
            if self.size(box) <= most:
                return tuple(box)


class Maker:
    """Makes each volume once a run; tests in other processes wait for it."""

    def __init__(self, voxgen, top):
        self.voxgen, self.top = voxgen, top

    def volume(self, size=(150, 130, 70), offset=(0, 0, 0), chunk=((32, 32, 32),), dtype="uint8", channels=1,
               encoding="raw", pack="none", suffix=True, scales=1, kind="grey", seed=1, block=None, drop=(),
               sharded=None):
        chunks = (chunk,) if isinstance(chunk[0], int) else chunk
        spec = {"size": size, "offset": offset, "chunk": chunks, "dtype": dtype, "channels": channels,
                "encoding": encoding, "pack": pack, "suffix": "yes" if suffix else "no", "scales": scales,
                "content": kind, "seed": seed, "drop": drop, "block": block,
                "sharded": sharded}
        name = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]
        path = os.path.join(self.top, name)
        os.makedirs(self.top, mode=0o755, exist_ok=True)
        with open(path + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(path):
                self._make(path, spec)
        return Volume(path, spec)

    def _make(self, path, spec):
        argv = [self.voxgen, path + ".new", "--threads", "2"]
        for key, value in spec.items():
            many = value if key in ("chunk", "drop") else [] if value is None else [value]
            for one in many:
                text = ",".join(map(str, one)) if isinstance(one, (tuple, list)) else str(one)
                argv += ["--" + key, text]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
        os.rename(path + ".new", path)
