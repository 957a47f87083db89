#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The mount tests: real mounts, real clients. See tests/README.md.

    run.py --build DIR [--jobs N] [--keep] [--delays] [--list] [NAME...]

NAME is a theme (boxes), a test (boxes.thin_axes) or a shell pattern. One line a test; the last line counts them.
Environment: VOXFS_TEST_SCALE (1) shrinks the amount of work, VOXFS_TEST_SLOW (1) stretches deadlines. With --delays the
threads of voxfs stop at random, VOXFS_DELAYS (30,2000) says how often and how long (lib/delays.c); sanitizers forbid it.
"""
import argparse
import fnmatch
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # this process forks
HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "tools")]
import kit  # noqa: E402
import supervise  # noqa: E402

SECONDS = 120


def find_tests(wanted):
    tests = []
    for file in sorted(os.listdir(HERE)):
        if not (file.startswith("test_") and file.endswith(".py")):
            continue
        theme = file[5:-3]
        module = importlib.import_module(file[:-3])
        for name, function in vars(module).items():
            if name.startswith("test_") and callable(function):
                tests.append((theme + "." + name[5:], function))
    if not wanted:
        return tests
    return [t for t in tests if any(w in (t[0], t[0].split(".")[0]) or fnmatch.fnmatch(t[0], w) for w in wanted)]


class Job:
    """A test in its process; `fd` has its result once it is ready to read."""

    def __init__(self, name, function, settings, top, keep):
        seconds = getattr(function, "seconds", SECONDS) * settings.slow
        self.name = name
        self.fd, w = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(w)
            return
        os.close(self.fd)
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner passes on what matters
        r = supervise.supervise(function, lambda d: kit.Context(d, settings, name), top, seconds, keep)
        os.write(w, json.dumps([r.verdict, r.reason, r.details, r.seconds]).encode())
        os._exit(0)

    def result(self):
        with os.fdopen(self.fd, "rb") as f:
            text = f.read()
        os.waitpid(self.pid, 0)
        return json.loads(text) if text else [supervise.FAIL, "its supervisor died", [], 0]


def run_all(tests, jobs, settings, run_dir, keep):
    import select
    counts = {supervise.PASS: 0, supervise.FAIL: 0, supervise.SKIP: 0}
    running, todo = {}, list(enumerate(tests))
    try:
        while todo or running:
            while todo and len(running) < jobs:
                i, (name, function) = todo.pop(0)
                job = Job(name, function, settings, os.path.join(run_dir, "%03d" % i), keep)
                running[job.fd] = job
            for fd in select.select(list(running), [], [])[0]:
                job = running.pop(fd)
                verdict, reason, details, seconds = job.result()
                counts[verdict] += 1
                print("%-4s %-40s %6.1f s%s" % (verdict, job.name, seconds, "  " + reason if reason else ""), flush=True)
                if verdict == supervise.FAIL:
                    print("\n".join("     | " + s for d in details for s in d.split("\n")), flush=True)
    finally:
        for job in running.values():
            os.kill(job.pid, signal.SIGTERM)
        for job in running.values():
            job.result()
    return counts


def main():
    p = argparse.ArgumentParser(description="mount tests of voxfs")
    p.add_argument("--build", default="build", help="meson build directory")
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--keep", action="store_true", help="keep the directories of failed tests")
    p.add_argument("--delays", action="store_true")
    p.add_argument("--list", action="store_true")
    p.add_argument("names", nargs="*")
    a = p.parse_args()
    tests = find_tests(a.names)
    if a.list:
        print("\n".join(name for name, _ in tests))
        return 0
    if a.names and not tests:
        p.error("no such test: " + " ".join(a.names))
    if a.delays:
        os.environ.setdefault("VOXFS_DELAYS", "30,2000")
        os.environ["LD_PRELOAD"] = os.path.join(os.path.abspath(a.build), "tests", "libdelays.so")
        os.environ.setdefault("VOXFS_TEST_SLOW", "6")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run_dir = tempfile.mkdtemp(prefix="voxfs-test-")
    os.chmod(run_dir, 0o755)  # some clients are nobody
    start = time.monotonic()
    try:
        settings = kit.Settings(os.path.abspath(a.build), run_dir)
        counts = run_all(tests, max(1, a.jobs), settings, run_dir, a.keep)
    except KeyboardInterrupt:
        return 130
    finally:
        if a.keep:
            print("kept: " + run_dir)
        elif not supervise.mounts_below(run_dir):
            shutil.rmtree(run_dir, ignore_errors=True)
    print("%.0f s" % (time.monotonic() - start))
    print("%d passed, %d failed, %d skipped" % tuple(counts[v] for v in (supervise.PASS, supervise.FAIL, supervise.SKIP)))
    return 1 if counts[supervise.FAIL] else 0


if __name__ == "__main__":
    sys.exit(main())
