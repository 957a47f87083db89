# SPDX-License-Identifier: Apache-2.0
"""test_voxgen.py VOXGEN TOOLS-DIR: every raw chunk that voxgen writes equals numpy's content."""
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    sys.exit(77)  # skipped

voxgen, tools = sys.argv[1:3]
sys.path.insert(0, tools)
from voxgen_content import content  # noqa: E402

NAME = re.compile(r"(-?\d+)-(-?\d+)_(-?\d+)-(-?\d+)_(-?\d+)-(-?\d+)(\.gz)?$")


def check(kind, dtype, channels, args, expect_missing=0):
    with tempfile.TemporaryDirectory() as top:
        where = os.path.join(top, "vol")
        said = subprocess.run(
            [voxgen, where, "--content", kind, "--dtype", dtype, "--channels", str(channels), "--seed", "7",
             "--size", "70,41,37", "--offset", "-13,5,-40", "--chunk", "32,16,20", "--json"] + args,
            check=True, capture_output=True, text=True).stdout
        assert json.loads(said)["dropped"] == expect_missing, said
        with open(os.path.join(where, "info")) as f:
            info = json.load(f)
        assert info["data_type"] == dtype and info["num_channels"] == channels
        voxels = 0
        for mip, scale in enumerate(info["scales"]):
            assert scale["size"] == [-(-s // 2**mip) for s in (70, 41, 37)]
            assert scale["voxel_offset"] == [o // 2**mip for o in (-13, 5, -40)]
            for name in os.listdir(os.path.join(where, scale["key"])):
                m = NAME.match(name)
                n = [int(g) for g in m.groups()[:6]]
                box = (n[0:2], n[2:4], n[4:6])
                with open(os.path.join(where, scale["key"], name), "rb") as f:
                    raw = f.read()
                if m[7]:
                    raw = gzip.decompress(raw)
                want = content(kind, 7, mip, box, channels, dtype)
                assert raw == np.ascontiguousarray(want).tobytes(), (kind, dtype, name)
                voxels += want[0].size
        whole = sum(int(np.prod(s["size"])) * len(s["chunk_sizes"]) for s in info["scales"])
        assert expect_missing or voxels == whole, (voxels, whole)


for kind in ("grey", "labels", "index"):
    for dtype in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32"):
        check(kind, dtype, 1, [])
    check(kind, "uint16", 3, ["--scales", "3", "--threads", "1"])
    check(kind, "uint64", 2, ["--chunk", "9,41,8", "--pack", "gzip"])
check("labels", "uint32", 1, ["--drop", "1,0,0", "--drop", "2,2,1"], 2)
check("labels", "uint32", 1, ["--drop", "1"], 18)
ids = content("labels", 0, 0, ((0, 256), (0, 256), (0, 64)), 1, "uint64")
assert ids.max() > 2**32 and (ids == 0).any()
