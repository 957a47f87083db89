# SPDX-License-Identifier: Apache-2.0
"""CloudVolume and TensorStore on the same volumes in the same run, each read in a process of its own that has imported
its libraries, opened the volume and read a little of it before the clock starts. What cannot be installed is skipped by
name."""
import json
import os
import subprocess
import sys

from benchlib import rows_cold
from benchlib.procs import CONNECTIONS, Failed, Mount, undisturbed
from benchlib.table import median, show

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = (("tensorstore", "tensorstore"), ("cloud-volume", "cloudvolume"))


def interpreter(data):
    """A Python that has what could be installed, and which of the peers those are."""
    venv = os.path.join(data, "venv")
    python = os.path.join(venv, "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", venv], check=False, stdout=subprocess.DEVNULL)
    found = []
    for package, module in PEERS:
        if not can_import(python, module):
            subprocess.run([python, "-m", "pip", "install", "-q", package], check=False, stderr=subprocess.DEVNULL)
        if can_import(python, module):
            found.append(module)
        else:
            print(f"{package}: cannot be installed, skipped", flush=True)
    return python, found


def can_import(python, module):
    try:
        r = subprocess.run([python, "-c", f"import {module}"], stderr=subprocess.DEVNULL, check=False)
        return r.returncode == 0
    except OSError:
        return False


def once(python, peer, url, box, processes=1):
    """Seconds from the first process's start of reading to the last one's end."""
    line = [python, os.path.join(HERE, "peer_read.py"), peer, url, box]
    readers = [subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                text=True, preexec_fn=undisturbed) for _ in range(processes)]
    try:
        for r in readers:
            if r.stdout.readline() != "ready\n":
                raise Failed(f"{peer} cannot read {url}")
        for r in readers:
            r.stdin.write("go\n")
            r.stdin.flush()
        times = [json.loads(r.stdout.readline() or "null") for r in readers]
    finally:
        for r in readers:
            r.kill()
            r.wait()
    if None in times:
        raise Failed(f"{peer} failed on {url}")
    return max(t[1] for t in times) - min(t[0] for t in times)


def crowd(b, url):
    with Mount(b.stage, url, cache="1G", eager="1G") as m:
        m.wait_until_ready()
        return b.stage.tool("crowd", path=m.box(rows_cold.CUBE), n=8)["seconds"]


def cases(b, slow):
    """name, url, box, processes"""
    grey, gz, seg, base = b.vol["grey"], b.vol["grey-gz"], b.vol["seg-gz"], b.server().url
    cube, thin = rows_cold.CUBE, rows_cold.THIN
    return [
        ("512^3 from disk", grey.url, cube, 1), ("512^3 over HTTP", grey.at(base), cube, 1),
        ("512^3 gzip over HTTP", gz.at(base), cube, 1), ("thin cseg gzip from disk", seg.url, thin, 1),
        ("thin cseg gzip over HTTP", seg.at(base), thin, 1), ("512^3, 50 ms latency", slow, cube, 1),
        ("512^3 over HTTP, 8 processes", grey.at(base), cube, 8),
    ]


def run(b):
    python, found = interpreter(b.data)
    if not found:
        return []
    out = []
    print(f"\n{'peers, seconds':<30} {'voxfs':>10}" + "".join(f" {p:>12} {'ratio':>6}" for p in found))
    with b.stage.running_tool("serve", root=b.vol["grey"].dir, delay_ms=50) as s:
        for name, url, box, processes in cases(b, f"http://127.0.0.1:{s['port']}"):
            case = compare(b, python, found, url, box, processes) | {"case": name}
            out.append(case)
            print_case(case, found)
    return out


def print_case(case, found):
    line = f"{case['case']:<30} {show(case['voxfs'], 's'):>10}"
    for p in found:
        times = f"{case[p] / case['voxfs']:.1f}" if case[p] and case["voxfs"] else "-"
        line += f" {show(case[p], 's'):>12} {times:>6}"
    print(line, flush=True)


def compare(b, python, found, url, box, processes):
    times = {p: [] for p in ["voxfs"] + found}
    for i in range(max(2, b.rounds // 2)):
        for p in (sorted(times) if i % 2 else sorted(times, reverse=True)):
            b.stage.calm()
            try:
                if p != "voxfs":
                    times[p].append(once(python, p, url, box, processes))
                elif processes > 1:
                    times[p].append(crowd(b, url))
                else:
                    times[p].append(rows_cold.cold_read(b, url, [box], cache="2G", eager="2G")["seconds"])
            except Failed as e:
                print(f"skipped: {e}", flush=True)
    return {p: median(t) if t else None for p, t in times.items()} | {"connections": CONNECTIONS}
