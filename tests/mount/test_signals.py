# SPDX-License-Identifier: Apache-2.0
"""Clients that are blocked, interrupted and killed, and mounts that end under them. The server stalls for an hour, so
whatever returns in these tests was answered by voxfs."""
import errno
import mmap
import os
import signal

from kit import equal, fails, read_file, takes
from supervise import MNT_DETACH, MNT_FORCE, process_table, umount

VOLUME = dict(size=(256, 128, 32), chunk=(32, 32, 32), dtype="uint8", kind="index")
STALL = "stall=3600,tries=1"


def stalled(t, match="/4_4_40/", options=STALL):
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v, options)
    d.rules({"match": match, "do": "stall", "at": "head"})
    return v, m, d


def box(i):
    """The i-th chunk along x, as a box."""
    return ((32 * i, 32 * i + 32), (0, 32), (0, 32))


def interruptible(function, *args):
    """Says whether the call ended by itself or by SIGINT."""
    def handler(*_):
        raise KeyboardInterrupt  # or Python would make the same call again
    signal.signal(signal.SIGINT, handler)
    try:
        function(*args)
    except KeyboardInterrupt:
        return "interrupted"
    return "done"


def open_and_read(path, want=None):
    got = read_file(path)
    if want is not None:
        equal(got, want, path)


def read_lazily(path):
    fd = os.open(path, os.O_RDONLY)
    return len(os.pread(fd, 1000, 0))


def touch_map(path):
    fd = os.open(path, os.O_RDONLY)
    return mmap.mmap(fd, 4096, prot=mmap.PROT_READ)[0]


def blocked(t, d, function, path, before=None, n=1):
    """A client that is inside a request: the server has been asked for its chunk."""
    before = d.counts()["total"] if before is None else before
    c = t.client(interruptible, function, path)
    t.until(lambda: d.counts()["total"] >= before + n, "the server is asked")
    t.until(lambda: process_table().get(c.pid, (0, "S"))[1] in "SD", "the client sleeps")
    assert c.running()
    return c


def check_interrupt(t, function, name):
    v, m, d = stalled(t)
    c = blocked(t, d, function, m.file(name))
    c.kill(signal.SIGINT)
    equal(c.result(10), "interrupted", name)
    c = blocked(t, d, function, m.file(name))
    c.kill(signal.SIGKILL)
    equal(c.wait(10), -signal.SIGKILL, name)
    m.until_stats("queue.inflight", 0)  # nobody waits for it: the fetch stops
    m.until_stats("cache.bytes", 0)
    m.until_stats("cache.open_objects", 0)
    d.rules()
    m.check(box(0))
    m.check(v.bounds())


def test_interrupted_open(t):
    check_interrupt(t, open_and_read, "0-32_0-32_0-32.raw")


def test_interrupted_read(t):
    check_interrupt(t, read_lazily, "all.raw")


def test_killed_in_page_fault(t):
    """It dies at once. The kernel does not tell us, as it reads ahead for nobody in particular: the fetch goes on."""
    v, m, d = stalled(t, options="stall=2,tries=100")
    before = d.counts()["total"]
    c = t.client(touch_map, m.file("all.raw"))
    t.until(lambda: d.counts()["total"] > before, "the server is asked")
    c.kill()
    equal(c.wait(10), -signal.SIGKILL)
    d.rules()
    m.check(box(0))
    m.check(v.bounds())


def test_others_are_not_harmed(t):
    """Two wait for one box, one of them is interrupted: the other gets it."""
    v, m, d = stalled(t)
    d.rules({"match": "0-32_0-32_0-32", "do": "delay", "ms": 0, "held": True})
    name = m.file(box(0))
    first = blocked(t, d, open_and_read, name)
    second = t.client(read_file, name)
    m.until_stats("cache.joins", 1)
    first.kill(signal.SIGINT)
    equal(first.result(10), "interrupted")
    assert second.running()
    d.rules()
    equal(second.result(), v.bytes(box(0)))
    equal(d.chunk_requests()["/4_4_40/0-32_0-32_0-32"], 1, "requests")


def test_eleven_blocked_opens(t):
    """More blocked opens than anybody has threads: stat, df, listings and other opens are still answered."""
    v, m, d = stalled(t, "/(%s)_0-32_0-32" % "|".join("%d-%d" % (32 * i, 32 * i + 32) for i in range(6)))
    before = d.counts()["total"]
    names = [m.file(((32 * (i % 6), 32 * (i % 6) + 20 + i), (0, 32), (0, 32))) for i in range(11)]
    clients = [t.client(interruptible, open_and_read, n) for n in names]
    t.until(lambda: d.counts()["total"] >= before + 6, "the server is asked for all")
    m.until_stats("cache.misses", 11)
    equal(os.stat(m.file(((1, 2), (3, 4), (5, 6)))).st_size, 1)
    os.statvfs(m.path)
    os.listdir(os.path.dirname(m.file("all.raw")))
    m.check(((192, 256), (0, 128), (0, 32)))
    m.check(((200, 210), (0, 60), (3, 9)))
    assert all(c.running() for c in clients)
    for c in clients:
        c.kill(signal.SIGINT)
    equal([c.result(10) for c in clients], ["interrupted"] * 11)
    m.until_stats("cache.open_objects", 0)
    m.until_stats("queue.inflight", 0)


def test_slow_server_leaves_local_reads_alone(t):
    """What is resident is served while hundreds of transfers hang."""
    v = t.volume(**dict(VOLUME, size=(512, 256, 64), chunk=(16, 16, 16)))
    m, d = t.mount_http(v, STALL + ",connections=16")
    m.check(((0, 32), (0, 32), (0, 32)))
    d.rules({"match": "/4_4_40/", "do": "stall"})
    c = t.client(interruptible, open_and_read, m.file(((32, 512), (0, 256), (0, 64))))
    t.until(lambda: m.stats("queue.inflight") >= 16, "transfers hang")
    for _ in range(20):
        m.check(((0, 32), (0, 32), (0, 32)))
    c.kill()
    c.wait(10)
    m.until_stats("queue.inflight", 0)


def test_interrupt_storm(t):
    """Opens that are interrupted at any moment leave no trace, and the survivors get their bytes."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v)
    d.rules({"match": "/4_4_40/", "do": "delay", "ms": 20})
    for _ in range(t.scaled(12, 3)):
        boxes = [v.random_box(t.random) for _ in range(8)]
        clients = [t.client(interruptible, open_and_read, m.file(b), v.bytes(b)) for b in boxes]
        survivors = []
        for c in clients:
            if t.random.random() < 0.7:
                if t.random.random() < 0.5:
                    t.until(lambda: m.stats("queue.inflight") > 0 or not c.running(), "something to interrupt")
                c.kill(signal.SIGKILL if t.random.random() < 0.5 else signal.SIGINT)
            else:
                survivors.append(c)
        equal([c.result() for c in survivors], ["done"] * len(survivors))
        for c in clients:  # 1: interrupted before it could catch that
            assert c.wait() in (0, -signal.SIGKILL, 1, -signal.SIGINT), c.status
    m.until_stats("cache.open_objects", 0)
    m.until_stats("cache.pinned_bytes", 0)
    d.rules()
    m.check(v.bounds())


# --- the end of a mount ---

def keep_map(path, want, ready, go_on):
    """Holds a map over the end of the mount; True when its bytes are right then."""
    fd = os.open(path, os.O_RDONLY)
    m = mmap.mmap(fd, len(want), prot=mmap.PROT_READ)
    os.close(fd)
    first = m[:] == want
    open(ready, "w").close()
    while not os.path.exists(go_on):
        if m[:] != want:
            return False
    return first and m[:] == want


@takes(180)
def test_lazy_unmount_while_busy(t):
    """umount -l: maps keep their bytes, even after the daemon has gone."""
    v = t.volume(**VOLUME)
    m = t.mount(v)
    m.need_passthrough()  # through the page cache a map is the kernel's own copy
    ready, go_on = t.name("ready"), t.name("go")
    c = t.client(keep_map, m.file(v.bounds()), v.bytes(v.bounds()), ready, go_on)
    t.until(lambda: os.path.exists(ready), "the map")
    equal(umount(m.path, MNT_DETACH), 0)
    m.process.send_signal(signal.SIGTERM)
    m.finish()
    assert c.running()
    open(go_on, "w").close()
    equal(c.result(), True, "the map's bytes")


def test_terminated_while_busy(t):
    """SIGTERM with a reader inside: the daemon ends within its deadline, the reader keeps its map."""
    v = t.volume(**VOLUME)
    m = t.mount(v)
    m.need_passthrough()
    ready, go_on = t.name("ready"), t.name("go")
    c = t.client(keep_map, m.file(v.bounds()), v.bytes(v.bounds()), ready, go_on)
    t.until(lambda: os.path.exists(ready), "the map")
    m.process.send_signal(signal.SIGTERM)
    m.finish()
    equal(m.is_mounted(), False)
    open(go_on, "w").close()
    equal(c.result(), True, "the map's bytes")


def try_open(path):
    try:
        read_file(path)
        return "read"
    except OSError as e:
        return errno.errorcode[e.errno]


def test_terminated_with_blocked_clients(t):
    """SIGTERM while clients wait for a server that stalls: they get an error, at once, and the daemon ends."""
    v, m, d = stalled(t)
    before = d.counts()["total"]
    clients = [t.client(try_open, m.file(box(i))) for i in range(4)] + [t.client(try_open, m.file("all.raw"))]
    t.until(lambda: d.counts()["total"] >= before + 4, "the server is asked")
    m.process.send_signal(signal.SIGTERM)
    m.finish()
    for c in clients:
        said = c.result(20)  # ENOENT: Python tries an EINTR again, and the mount is gone
        assert said in ("EINTR", "ENOTCONN", "ECONNABORTED", "ESHUTDOWN", "EIO", "ENOENT"), said


def test_forced_unmount_with_blocked_clients(t):
    """umount -f: clients get ECONNABORTED, the daemon ends by itself."""
    v, m, d = stalled(t)
    before = d.counts()["total"]
    clients = [t.client(try_open, m.file(box(i))) for i in range(3)]
    t.until(lambda: d.counts()["total"] >= before + 3, "the server is asked")
    umount(m.path, MNT_FORCE)
    for c in clients:
        assert c.result(20) in ("ECONNABORTED", "ENOTCONN", "EINTR"), c
    t.until(lambda: umount(m.path, MNT_DETACH) in (0, errno.EINVAL), "umount")
    m.finish()


def test_busy_mount_is_not_unmounted(t):
    v = t.volume(**VOLUME)
    m = t.mount(v)
    fd = os.open(m.file(box(0)), os.O_RDONLY)
    equal(umount(m.path), errno.EBUSY, "umount of a busy mount")
    equal(os.read(fd, 32), v.bytes(box(0))[:32])
    os.close(fd)
    m.check(box(1))
