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


class Repacked(Volume):
    """An array of Zarr v2 with the chunks of a raw volume's first corner."""

    def __init__(self, name, source, size, pack):
        super().__init__(name, size, [], source.width, source.chunk)
        self.source, self.pack = source, pack

    def make(self, voxbench, data):
        self.dir = os.path.join(data, self.name)
        if not os.path.exists(os.path.join(self.dir, ".zarray")):  # written last
            shutil.rmtree(self.dir, ignore_errors=True)
            print(f"making {self.name} {'x'.join(map(str, self.size))} ...", flush=True)
            args = self.source.grid("_".join(f"0-{n}" for n in self.size))
            args |= {"bounds": args["box"], "to": self.dir, "pack": self.pack, "threads": os.cpu_count()}
            subprocess.run([voxbench, "repack"] + [f"{k}={v}" for k, v in args.items()], check=True,
                           stdout=subprocess.DEVNULL)
        return self

    @property
    def url(self):
        return "zarr://file://" + self.dir

    def grid(self, box, base=None):
        return super().grid(box, base) | {"dir": self.dir, "pack": self.pack}


def all_volumes(tools, data):
    os.makedirs(data, exist_ok=True)
    voxgen, voxbench = os.path.join(tools, "voxgen"), os.path.join(tools, "voxbench")
    volumes = [
        Volume("grey", (1024, 1024, 1024), []),
        Volume("grey-gz", (1024, 1024, 512), ["--pack", "gzip"], suffix=".gz"),
        Volume("seg-gz", (10000, 1000, 64), ["--dtype", "uint64", "--encoding", "compressed_segmentation",
                                             "--content", "labels", "--pack", "gzip"], width=8, suffix=".gz"),
        Volume("grey-jpeg", (512, 512, 512), ["--encoding", "jpeg"]),
        Volume("grey-png", (512, 512, 512), ["--encoding", "png"]),
        Volume("grey-shard", (512, 512, 512), ["--sharded", "6,0,3"]),
        Volume("grey-gz-shard", (512, 512, 512), ["--sharded", "6,0,3,gzip"]),
    ]
    made = {v.name: v.make(voxgen, data) for v in volumes}
    for pack in ("blosc", "zstd"):
        v = Repacked(f"zarr-{pack}", made["grey"], (512, 512, 512), pack)
        made[v.name] = v.make(voxbench, data)
    return made
