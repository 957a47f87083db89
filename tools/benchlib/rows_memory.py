# SPDX-License-Identifier: Apache-2.0
"""The daemon's own memory while it works: anonymous pages and page tables, less the chunks it keeps within its budget."""
import threading
import time

from benchlib.procs import Mount
from benchlib.rows_cold import CUBE, THIN
from benchlib.table import Row


def status(pid):
    found = {}
    for line in open(f"/proc/{pid}/status", encoding="utf-8"):
        key, _, value = line.partition(":")
        if key in ("RssAnon", "VmPTE"):
            found[key] = int(value.split()[0]) << 10
    return found["RssAnon"] + found["VmPTE"]


class Peak:
    """Samples until stopped. stats.json is read first, so that what is kept meanwhile counts against us."""

    def __init__(self, mount):
        self.mount, self.most, self.samples, self.going = mount, 0, 0, True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while self.going:
            kept = self.mount.stats()["cache"]["kept_bytes"]
            self.most = max(self.most, status(self.mount.pid) - kept)
            self.samples += 1
            time.sleep(0.002)

    def stop(self):
        self.going = False
        self.thread.join()


def beyond(b):
    limit = 64 << 20
    for key, url, box in (("memory-http", b.vol["grey"].at(b.server().url), CUBE),
                          ("memory-http-gzip", b.vol["grey-gz"].at(b.server().url), CUBE),
                          ("memory-cseg", b.vol["seg-gz"].url, THIN)):
        with Mount(b.stage, url, cache="2G", eager="2G") as m:
            peak = Peak(m)
            try:
                b.stage.tool("open", m.box(box) + "\n")
            finally:
                peak.stop()
        yield Row(key, f"daemon's memory beyond the cache, peak of {peak.samples} samples; 64 MiB", peak.most, limit,
                  peak.most / limit, "<=", 1.0, "bytes")
