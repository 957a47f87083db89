# SPDX-License-Identifier: Apache-2.0
"""The volumes of the benchmark, made once by voxgen into a folder that stays."""
import json
import os
import shutil
import subprocess


class Volume:
    def __init__(self, name, size, options, width=1, chunk=(64, 64, 64), suffix=""):
        self.name, self.size, self.options = name, size, options
        self.width, self.chunk, self.suffix = width, chunk, suffix
        self.dir = self.scale = None

    def make(self, voxgen, data):
        """Writes it unless it is there; the options it was made with are kept beside it."""
        line = ["--size", ",".join(map(str, self.size)), "--chunk", ",".join(map(str, self.chunk))] + self.options
        self.dir = os.path.join(data, self.name)
        made = os.path.join(self.dir, ".made")
        if not os.path.exists(made) or open(made, encoding="utf-8").read() != json.dumps(line):
            shutil.rmtree(self.dir, ignore_errors=True)
            print(f"making {self.name} {'x'.join(map(str, self.size))} ...", flush=True)
            subprocess.run([voxgen, self.dir] + line, check=True, stdout=subprocess.DEVNULL)
            with open(made, "w", encoding="utf-8") as f:
                f.write(json.dumps(line))
        with open(os.path.join(self.dir, "info"), encoding="utf-8") as f:
            self.scale = json.load(f)["scales"][0]["key"]
        return self

    @property
    def url(self):
        return "file://" + self.dir

    def at(self, server):
        return f"{server}/{self.name}"

    def grid(self, box, base=None):
        """voxbench's arguments for the chunks of a box, from disk or below the URL `base`."""
        bounds = "_".join(f"0-{n}" for n in self.size)
        return {"dir": f"{base or self.dir}/{self.scale}", "suffix": "" if base else self.suffix, "bounds": bounds,
                "chunk": ",".join(map(str, self.chunk)), "box": box, "width": self.width}

    def warm_page_cache(self):
        for folder, _, files in os.walk(self.dir):
            for name in files:
                with open(os.path.join(folder, name), "rb", buffering=0) as f:
                    while f.read(1 << 22):
                        pass


def all_volumes(voxgen, data):
    os.makedirs(data, exist_ok=True)
    volumes = [
        Volume("grey", (1024, 1024, 1024), []),
        Volume("grey-gz", (1024, 1024, 512), ["--pack", "gzip"], suffix=".gz"),
        Volume("seg-gz", (10000, 1000, 64), ["--dtype", "uint64", "--encoding", "compressed_segmentation",
                                             "--content", "labels", "--pack", "gzip"], width=8, suffix=".gz"),
        Volume("grey-shard", (512, 512, 512), ["--sharded", "6,0,3"]),
        Volume("grey-gz-shard", (512, 512, 512), ["--sharded", "6,0,3,gzip"]),
    ]
    return {v.name: v.make(voxgen, data) for v in volumes}
