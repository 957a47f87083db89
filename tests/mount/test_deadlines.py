# SPDX-License-Identifier: Apache-2.0
"""timeout=: nobody waits for ever. The server stalls for an hour and transfers are given an hour, so whatever fails in
these tests was ended by the deadline, not by the fetcher."""
import errno
import os
import signal

from kit import equal, fails, read_file, takes

VOLUME = dict(size=(256, 128, 32), chunk=(32, 32, 32), dtype="uint8", kind="index")
PATIENT = "stall=3600,tries=1,timeout=1"


def box(i):
    """The i-th chunk along x, as a box."""
    return ((32 * i, 32 * i + 32), (0, 32), (0, 32))


def read_lazily(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, 30, 0)
    finally:
        os.close(fd)


def outcome(function, path):
    try:
        return function(path)
    except OSError as e:
        return errno.errorcode[e.errno]


def stalled(t, match="/4_4_40/", options=PATIENT):
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v, options)
    d.rules({"match": match, "do": "stall", "at": "head"})
    return v, m, d


def test_open_and_read_end(t):
    v, m, d = stalled(t)
    for path, function in ((m.file(box(0)), read_file), (m.file("all.raw"), read_lazily)):
        fails(errno.ETIMEDOUT, function, path)
        sentence = os.getxattr(path, "user.voxfs.error").decode()
        assert "within 1 s" in sentence and "timeout=" in sentence, sentence
        line = m.errors().rstrip("\n").split("\n")[-1]
        assert sentence in line and "ETIMEDOUT" in line and os.path.basename(path) in line, line
        assert sentence in m.said(), m.said()
    equal(m.stats("fuse.timeouts"), 2, "fuse.timeouts")
    equal(m.stats("fuse.interrupts"), 0, "fuse.interrupts")
    m.until_stats("cache.open_objects", 0)
    m.until_stats("queue.inflight", 0)  # nobody wants it any more: the transfer is stopped
    m.until_stats("cache.bytes", 0)
    d.rules()
    m.check(box(0))
    equal(read_lazily(m.file("all.raw")), v.bytes(v.bounds())[:30], "all.raw")
    fails(errno.ENODATA, os.getxattr, m.file(box(0)), "user.voxfs.error")


def test_everybody_who_waits(t):
    """Eight on the same box, eight on others: each is told once; what does not wait is served meanwhile."""
    v, m, d = stalled(t, "/(%s)_0-32_0-32" % "|".join("%d-%d" % (32 * i, 32 * i + 32) for i in range(6)))
    names = [m.file(box(0))] * 8 + [m.file(((32 * (i % 6), 32 * (i % 6) + 20 + i), (0, 32), (0, 32))) for i in range(8)]
    clients = [t.client(outcome, read_file, n) for n in names]
    m.check(((192, 256), (0, 128), (0, 32)))
    equal([c.result() for c in clients], ["ETIMEDOUT"] * 16, "answers")
    equal(m.stats("fuse.timeouts"), 16, "fuse.timeouts")
    m.until_stats("cache.open_objects", 0)
    d.rules()
    m.check(v.bounds())


@takes(240)
def test_race_of_three(t):
    """Answers that come when the deadline does, and signals besides: each request has one answer, a right one."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v, "stall=3600,tries=1,timeout=0.1,eager=32K")
    d.rules({"match": "/4_4_40/", "do": "delay", "ms": 99})
    for _ in range(t.scaled(12, 3)):
        boxes = [((x, x + t.random.randint(1, 32)), (y, y + 9), (0, 32))
                 for x, y in ((t.random.randrange(220), t.random.randrange(110)) for _ in range(8))]
        clients = [t.client(outcome, read_file, m.file(b)) for b in boxes] + [t.client(outcome, read_lazily, m.file("all.raw"))]
        wanted = [v.bytes(b) for b in boxes] + [v.bytes(v.bounds())[:30]]
        clients[0].kill(signal.SIGKILL)
        clients[0].wait()
        for c, want in list(zip(clients, wanted))[1:]:
            got = c.result()
            assert got in ("ETIMEDOUT", want), (got if isinstance(got, str) else got[:50], want[:50])
    m.until_stats("cache.open_objects", 0)
    m.until_stats("cache.pinned_bytes", 0)
    m.until_stats("queue.inflight", 0)
    d.rules()
    t.until(lambda: outcome(read_lazily, m.file("all.raw")) == v.bytes(v.bounds())[:30], "an undisturbed read")


def test_no_deadline_for_the_quick(t):
    """What is answered in time never hears of it, however many there are."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v, "timeout=60")
    d.rules({"match": "/4_4_40/", "do": "delay", "ms": 5})
    m.check(v.bounds())
    equal(m.stats("fuse.timeouts"), 0, "fuse.timeouts")
    equal(m.errors(), "", "errors")
