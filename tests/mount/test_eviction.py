# SPDX-License-Identifier: Apache-2.0
"""A full cache: what readers hold stays as it is, the limit holds, and nothing leaks."""
import errno
import mmap
import os
import signal

from kit import equal, fails, needs, read_file, takes

VOLUME = dict(size=(256, 256, 256), chunk=(64, 64, 64), dtype="uint8", kind="index")
MIB = ((0, 128), (0, 128), (0, 64))  # a box of 1 MiB


def mib_box(i):
    """The i-th of 16 boxes of 1 MiB that share nothing."""
    x, y, z = i % 2, i // 2 % 2, i // 4 % 4
    return ((128 * x, 128 * x + 128), (128 * y, 128 * y + 128), (64 * z, 64 * z + 64))


def hold(path, want, ready, go_on):
    """Maps a box and compares its bytes over and over until `go_on` ends; how often it was right."""
    fd = os.open(path, os.O_RDONLY)
    m = mmap.mmap(fd, len(want), prot=mmap.PROT_READ)
    os.close(fd)
    rounds = 0
    while True:
        if m[:] != want:
            raise OSError(errno.EILSEQ, "the bytes of a held map changed in round %d" % rounds)
        rounds += 1
        open(ready, "w").close()
        if os.path.exists(go_on):
            return rounds


def held(t, m, v, boxes):
    """Clients that hold maps of boxes; (clients, name of the file that ends them)."""
    end = t.name("end")
    ready = [t.name("ready") for _ in boxes]
    clients = [t.client(hold, m.file(b), v.bytes(b), r, end) for b, r in zip(boxes, ready)]
    for c, r in zip(clients, ready):
        t.until(lambda: os.path.exists(r) or not c.running(), "the map is held")
    return clients, end


def let_go(clients, end):
    open(end, "w").close()
    return [c.result() for c in clients]


@takes(240)
def test_maps_keep_their_bytes(t):
    """Readers hold maps in a small cache while others sweep through far more than fits."""
    v = t.volume(**VOLUME)
    for options in ("", "zerocopy=off"):
        m = t.mount(v, options, cache="8M")
        clients, end = held(t, m, v, [mib_box(0), mib_box(5), ((3, 120), (7, 100), (11, 60))])
        limit = m.stats("cache.limit")
        for i in range(t.scaled(8, 2)):
            for k in range(16):
                m.check(mib_box(k))
                m.check(v.random_box(t.random, 0, 500000))
                used = m.stats("cache.bytes")
                assert used <= limit, (used, limit)
        assert m.stats("cache.evictions") > 0
        assert min(let_go(clients, end)) > 1
        m.close()


@takes(240)
def test_many_sweepers(t):
    """Several processes fight for a cache that holds a fraction of what they read."""
    v = t.volume(**VOLUME)
    m = t.mount(v, "eager=2M", cache="8M")
    boxes = [[v.random_box(t.random, 0, 700000) for _ in range(t.scaled(60, 8))] for _ in range(6)]
    over = []
    clients = [t.client(read_all, [(m.file(b), v.bytes(b)) for b in some]) for some in boxes]
    while any(c.running() for c in clients):
        s = m.stats("cache.bytes")
        if s > 8 << 20:
            over.append(s)
    for c in clients:
        equal(c.result(), True)
    equal(over, [], "cache.bytes above the limit")
    m.until_stats("cache.open_objects", 0)


def read_all(pairs):
    for path, want in pairs:
        if read_file(path) != want:
            raise OSError(errno.EILSEQ, path)
    return True


def test_no_space_while_all_is_held(t):
    """ENOSPC within its bound; as soon as somebody lets go the next open works."""
    v = t.volume(**VOLUME)
    m = t.mount(v, "wait=1,eager=2M", cache="4M")
    clients, end = held(t, m, v, [mib_box(i) for i in range(3)])
    big = ((0, 128), (128, 256), (64, 192))  # 2 MiB
    fails(errno.ENOSPC, os.open, m.file(big), os.O_RDONLY)
    assert m.stats("cache.no_space") >= 1
    assert "ENOSPC" in m.errors(), m.errors()
    let_go(clients, end)
    m.check(big)


def test_opener_waits_for_space(t):
    """Within its bound an opener gets what others release meanwhile."""
    v = t.volume(**VOLUME)
    m = t.mount(v, "wait=60,eager=2M", cache="4M")
    clients, end = held(t, m, v, [mib_box(i) for i in range(3)])
    big = ((0, 128), (128, 256), (64, 192))
    waiting = t.client(read_file, m.file(big))
    t.until(lambda: m.stats("cache.misses") >= 4, "the open has arrived")
    assert waiting.running()
    let_go(clients, end)
    equal(waiting.result(), v.bytes(big))


def test_box_larger_than_the_cache(t):
    v = t.volume(**VOLUME)
    m = t.mount(v, "eager=100M", cache="4M")
    fails(errno.EFBIG, os.open, m.file(v.bounds()), os.O_RDONLY)
    assert "EFBIG" in m.errors(), m.errors()
    assert os.getxattr(m.file(v.bounds()), "user.voxfs.error")
    m.check(MIB)
    m.close()
    m = t.mount(v, "", cache="4M")  # with eager= left alone such a box is lazy
    m.check(((0, 256), (0, 256), (0, 100)))


def hold_for_ever(paths, ready):
    maps = []
    for p in paths:
        fd = os.open(p, os.O_RDONLY)
        maps.append((fd, mmap.mmap(fd, 0, prot=mmap.PROT_READ)))
        maps[-1][1][0]
    open(ready, "w").close()
    signal.pause()


def test_killed_readers_leak_nothing(t):
    v = t.volume(**VOLUME)
    for options in ("", "zerocopy=off"):
        m = t.mount(v, options, cache="16M")
        for _ in range(t.scaled(5, 2)):
            ready = [t.name("ready") for _ in range(4)]
            clients = [t.client(hold_for_ever, [m.file(mib_box(k)) for k in range(i, i + 3)], ready[i]) for i in range(4)]
            for c, r in zip(clients, ready):
                t.until(lambda: os.path.exists(r), "the maps are held")
            assert m.stats("cache.pinned_bytes") > 0
            for c in clients:
                c.kill()
            for c in clients:
                c.wait()
            m.until_stats("cache.open_objects", 0)
            m.until_stats("cache.pinned_bytes", 0)
        for k in range(16):
            m.check(mib_box(k))  # all that memory can be had again
        m.close()


def fill_pipe(path, how):
    """Puts the first bytes of a box into a pipe without copying; the pipe's reading end."""
    r, w = os.pipe()
    fd = os.open(path, os.O_RDONLY)
    if how == "splice":
        n = os.splice(fd, w, 32768)
    else:
        n = os.sendfile(w, fd, 0, 32768)
    os.close(fd)
    os.close(w)
    return r, n


def pipe_over_eviction(path, want, others, how):
    r, n = fill_pipe(path, how)
    for _ in range(2):
        for p, w in others:
            if read_file(p) != w:
                raise OSError(errno.EILSEQ, p)
    got = b""
    while len(got) < n:
        got += os.read(r, n - len(got))
    return n, got == want[:n]


def test_pipes_keep_their_bytes(t):
    """Pages in a pipe are seen by no count and no lease: the memory may be freed, never refilled."""
    v = t.volume(**VOLUME)
    for options in ("", "zerocopy=off"):
        m = t.mount(v, options, cache="4M")
        others = [(m.file(mib_box(k)), v.bytes(mib_box(k))) for k in range(1, 12)]
        for how in ("splice", "sendfile"):
            box = mib_box(12 if how == "splice" else 13)
            n, same = t.client(pipe_over_eviction, m.file(box), v.bytes(box), others, how).result()
            assert n > 0 and same, (how, n)
        assert m.stats("cache.evictions") > 0
        m.close()


def test_reopened_after_eviction(t):
    """The same name again and again, its content gone in between: never a stale or foreign byte."""
    v = t.volume(**VOLUME)
    m = t.mount(v, "eager=1M", cache="4M")
    for _ in range(t.scaled(6, 2)):
        for k in range(16):
            m.check(mib_box(k))
            m.check(mib_box(0))
    m.until_stats("cache.pinned_bytes", 0)


def arena_bytes(pid):
    """What lies in the arena of a server: a tmpfs that is mounted nowhere, of which it has the root open."""
    for fd in os.listdir("/proc/%d/fd" % pid):
        path = "/proc/%d/fd/%s" % (pid, fd)
        if os.readlink(path) == "/" and os.stat(path).st_dev != os.stat("/").st_dev:
            s = os.statvfs(path)
            return (s.f_blocks - s.f_bfree) * s.f_frsize
    raise AssertionError("the server has no arena")


def shmem():
    with open("/proc/meminfo") as f:
        return next(int(s.split()[1]) * 1024 for s in f if s.startswith("Shmem:"))


@needs("root")
def test_memory_is_given_back(t):
    """The arena grows with what is open, stays within its limit, and is gone with the mount."""
    v = t.volume(size=(512, 512, 256), chunk=(128, 128, 128), dtype="uint16")
    m = t.mount(v, cache="256M")
    server, limit = m.stats("server.pid"), m.stats("cache.limit")
    equal(arena_bytes(server) < 16 << 20, True, "an arena that is nearly empty")
    boxes = [((0, 512), (0, 512), (z, z + 64)) for z in range(0, 256, 64)]
    fds = [os.open(m.file(b), os.O_RDONLY) for b in boxes]
    size = v.size(v.bounds())
    used = arena_bytes(server)
    assert size <= used <= limit + (44 << 20), (size, used, limit)
    s = os.statvfs(m.path)
    assert (s.f_blocks - s.f_bfree) * s.f_frsize >= size, s
    peak = shmem()
    for fd in fds:
        os.close(fd)
    m.unmount()
    t.until(lambda: shmem() < peak - size // 2, "the machine's memory is given back")


def test_small_boxes_do_not_waste_memory(t):
    """A mix of small boxes stays near the bytes they hold."""
    v = t.volume(**VOLUME)
    m = t.mount(v, cache="256M")
    served = 0
    for i in range(t.scaled(60, 20)):
        x = i % 10 * 20
        y = i // 10 * 30
        box = ((x, x + 64 - i % 3), (y, y + 64 - i % 5), (i, i + 17 + i % 100))
        m.check(box)
        served += v.size(box)
    stats = m.stats()["cache"]
    assert stats["object_bytes"] <= 1.15 * served + stats["objects"] * 4096, (stats, served)
