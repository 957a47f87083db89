# SPDX-License-Identifier: Apache-2.0
"""peer_read.py PEER URL x0-x1_y0-y1_z0-z1: opens a volume, says "ready", reads the box when told to, and prints when
it began and ended (monotonic clock). Runs in the environment that has the peers."""
import json
import re
import sys
import time


def tensorstore_reader(url):
    import tensorstore as ts
    if url.startswith("file://"):
        store = {"driver": "file", "path": url[7:].rstrip("/") + "/"}
    else:
        store = {"driver": "http", "base_url": url.rstrip("/") + "/", "path": ""}
    v = ts.open({"driver": "neuroglancer_precomputed", "kvstore": store}, read=True).result()
    return lambda b: v[b[0]:b[1], b[2]:b[3], b[4]:b[5]].read().result()


def cloudvolume_reader(url):
    import logging
    logging.disable(logging.CRITICAL)
    from cloudvolume import CloudVolume
    v = CloudVolume("precomputed://" + url, mip=0, progress=False, fill_missing=False, cache=False)
    return lambda b: v[b[0]:b[1], b[2]:b[3], b[4]:b[5]]


def main():
    peer, url, box = sys.argv[1:]
    read = {"tensorstore": tensorstore_reader, "cloudvolume": cloudvolume_reader}[peer](url)
    b = [int(n) for n in re.fullmatch(r"(\d+)-(\d+)_(\d+)-(\d+)_(\d+)-(\d+)", box).groups()]
    read([b[0], b[0] + 8, b[2], b[2] + 8, b[4], b[4] + 8])
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.monotonic()
    read(b)
    print(json.dumps([begin, time.monotonic()]), flush=True)


main()
