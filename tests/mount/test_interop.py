# SPDX-License-Identifier: Apache-2.0
"""Random volumes written by libraries from PyPI as they are today, and random boxes of them.

Each library has an environment of its own in ~/.cache/voxfs-test, shared by all builds and made when it is first needed;
where it cannot be installed, its test is skipped with the reason, and an hour later that is tried again.
VOXFS_TEST_SEED draws other volumes.
"""
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np

from kit import Skip, equal, read_file, takes
from volumes import box_name

HERE = os.path.dirname(os.path.abspath(__file__))
AGAIN_AFTER = 3600  # seconds
PACKAGES = {
    "zarr-python-3": ["zarr>=3"],
    "zarr-python-2": ["zarr<3", "numcodecs<0.16"],
    "tensorstore": ["tensorstore"],
    "zarrita": ["zarrita"],
    "z5py": ["z5py"],
}


def install(python, top, packages, seconds):
    for argv in ([python, "-m", "venv", top],
                 [top + "/bin/pip", "install", "-q", "--only-binary", ":all:", "--retries", "1", "--timeout", "10"] + packages):
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            return "%s takes too long" % argv[0]
        if done.returncode:
            return (done.stderr or done.stdout).strip()[-300:] or "status %d" % done.returncode
    return None


def failure(marker):
    """Why it could not be installed within the last hour, or None."""
    try:
        with open(marker) as f:
            if time.time() - os.fstat(f.fileno()).st_mtime < AGAIN_AFTER:
                return f.read()
    except FileNotFoundError:
        pass
    return None


def environment(t, library):
    """The Python that has the library."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    top = os.path.join(cache, "voxfs-test", "interop-" + library)
    os.makedirs(top, exist_ok=True)
    with open(top + "/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        why = failure(top + "/failed")
        if not os.path.exists(top + "/ready") and why is None:
            shutil.rmtree(top + "/venv", ignore_errors=True)
            why = install(sys.executable, top + "/venv", PACKAGES[library], t.seconds(150))
            with open(top + ("/failed" if why else "/ready"), "w") as f:
                f.write(why or "")
    if not os.path.exists(top + "/ready"):
        raise Skip("needs %s from PyPI: %s" % (" ".join(PACKAGES[library]), why.split("\n")[-1]))
    return top + "/venv/bin/python"


def served(data):
    """[(folder, array)] of what voxfs makes of an array without names of axes: the last is x."""
    while data.ndim < 3:
        data = data[None]
    if data.ndim == 5:
        return [("t%d" % i if len(data) > 1 else "", one) for i, one in enumerate(data)]
    return [("", data)]


def check_boxes(t, folder, data, what):
    z, y, x = data.shape[-3:]
    for i in range(6):
        cut = [(0, n) if i == 0 else sorted(t.random.sample(range(n + 1), 2)) for n in (x, y, z)]
        part = data[(...,) + tuple(slice(*c) for c in cut[::-1])]
        got = read_file(os.path.join(folder, box_name(tuple(map(tuple, cut)))))
        equal(got, np.ascontiguousarray(part, part.dtype.newbyteorder("<")).tobytes(), what)


def interop(t, library):
    python, top = environment(t, library), t.name("written")
    os.mkdir(top)
    done = t.run(python, os.path.join(HERE, "interop_write.py"), library, top,
                 os.environ.get("VOXFS_TEST_SEED", "1"), str(t.scaled(24, 4)))
    equal(done.returncode, 0, done.stderr[-2000:])
    with open(top + "/list.json") as f:
        listed = json.load(f)
    config = t.name("config") + ".json"
    with open(config, "w") as f:
        json.dump({"volumes": [{"name": v["name"], "source": "%s://%s/%s" % (v["scheme"], top, v["path"])}
                               for v in listed]}, f)
    for options in ("", "eager=0"):
        m = t.mount(config, options)
        for v in listed:
            for folder, data in served(np.load("%s/%s.npy" % (top, v["name"]))):
                check_boxes(t, os.path.join(m.path, v["name"], folder), data, "%s: %s" % (v["name"], v["what"]))
        m.unmount()
    for v in listed:
        print("%-18s %s" % (v["name"], v["what"]))


@takes(420)
def test_zarr_python_3(t):
    interop(t, "zarr-python-3")


@takes(420)
def test_zarr_python_2(t):
    interop(t, "zarr-python-2")


@takes(420)
def test_tensorstore(t):
    interop(t, "tensorstore")


@takes(420)
def test_zarrita(t):
    interop(t, "zarrita")


@takes(420)
def test_z5py(t):
    interop(t, "z5py")
