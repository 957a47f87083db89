# SPDX-License-Identifier: Apache-2.0
"""The ways in which pages reach a reader: FUSE passthrough, the page cache, and what an ordinary user gets."""
import ctypes
import hashlib
import mmap
import os
import re

from kit import NOBODY, Skip, equal, needs

VOLUME = dict(size=(220, 180, 120), offset=(-10, 0, 5), chunk=(64, 64, 64), dtype="uint16", kind="index")


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def check_some(t, m, v, n=20):
    for _ in range(t.scaled(n, 4)):
        m.check(v.random_box(t.random))
    m.check(v.bounds())


def test_passthrough(t):
    v = t.volume(**VOLUME)
    m = t.mount(v)
    m.need_passthrough()
    assert m.stats("zerocopy.reason")
    before = m.stats("fuse.reads")
    box = ((-10, 200), (0, 170), (5, 100))
    m.check(box)
    m.check(box)
    # stats.json itself is read through the server, with at most two requests each time
    assert m.stats("fuse.reads") - before <= 4, "reads of a passthrough box reach the server"
    check_some(t, m, v)


def test_page_cache(t):
    v = t.volume(**VOLUME)
    m = t.mount(v, "zerocopy=off")
    equal(m.stats("zerocopy.mode"), "page-cache")
    assert "off" in m.stats("zerocopy.reason")
    check_some(t, m, v)


def test_page_cache_is_kept(t):
    """A second reading, after close and open, asks the server for next to nothing."""
    v = t.volume(**VOLUME)
    m = t.mount(v, "zerocopy=off")
    m.check(v.bounds())
    before = m.stats("fuse.read_bytes")
    m.check(v.bounds())
    again = m.stats("fuse.read_bytes") - before
    assert again < v.size(v.bounds()) // 20, again  # the kernel may have let go of a page


@needs("root", "setpriv", "fusermount3")
def test_ordinary_user(t):
    """nobody mounts through fusermount3: the same bytes, no passthrough, and stats say why."""
    v = t.volume(**VOLUME)
    t.own_namespace()
    m = t.mount(v, nobody=True)
    where = m.file(v.bounds())
    want = hashlib.sha256(v.bytes(v.bounds())).hexdigest()
    equal(t.client(digest, where, nobody=True).result(), want)
    for _ in range(t.scaled(10, 3)):
        box = v.random_box(t.random)
        equal(t.client(digest, m.file(box), nobody=True).result(), hashlib.sha256(v.bytes(box)).hexdigest())
    stats = t.client(m.stats, nobody=True).result()
    equal(stats["zerocopy"]["mode"], "page-cache")
    assert stats["zerocopy"]["reason"], stats
    with open("/proc/self/mountinfo") as f:
        line = next(s for s in f if m.path in s)
    assert "user_id=%d" % NOBODY in line, line


@needs("root", "setpriv")
def test_other_users(t):
    """Without allow_other only root sees the mount; with it everybody does, and still cannot write."""
    v = t.volume(**VOLUME)
    box = ((-10, 20), (0, 17), (5, 30))
    closed = t.mount(v)
    try:
        t.client(digest, closed.file(box), nobody=True).result()
        raise AssertionError("nobody reads root's mount")
    except PermissionError:
        pass
    shared = t.mount(v, "allow_other")
    equal(t.client(digest, shared.file(box), nobody=True).result(), hashlib.sha256(v.bytes(box)).hexdigest())


def smaps_of_map(path):
    """The smaps fields of a map of the whole file, every page touched: {name: bytes}."""
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    m = mmap.mmap(fd, size, prot=mmap.PROT_READ)
    total = sum(m[i] for i in range(0, size, 4096))
    assert total > 0
    fields, inside = {}, False
    with open("/proc/self/smaps") as f:
        for line in f:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                inside = line.rstrip("\n").endswith(os.path.basename(path)) or "shmem" in line or "memfd" in line
                inside = inside or " %d " % os.fstat(fd).st_ino in line
            elif inside and line.endswith("kB\n"):
                name, kb = line.split()[:2]
                fields[name[:-1]] = fields.get(name[:-1], 0) + int(kb) * 1024
    m.close()
    os.close(fd)
    return fields


def test_huge_pages(t):
    """A large box is mapped in 2 MiB pages, all but its tail."""
    v = t.volume(size=(512, 256, 160), chunk=(64, 64, 64))
    m = t.mount(v, cache="128M")
    m.need_passthrough()
    with open("/sys/kernel/mm/transparent_hugepage/shmem_enabled") as f:
        if "[deny]" in f.read():
            raise Skip("huge pages for tmpfs are denied on this machine")
    box = ((0, 512), (0, 256), (0, 152))
    size = v.size(box)
    fields = t.client(smaps_of_map, m.file(box)).result()
    huge = 2 << 20
    assert fields.get("ShmemPmdMapped", 0) + fields.get("FilePmdMapped", 0) >= size // huge * huge, fields


def writable_maps(pid):
    """What a server can write to through its memory, but for the table."""
    with open("/proc/%d/maps" % pid) as f:
        return [line for line in f if re.match(r"\S+ .w.s ", line) and "/memfd:voxfs-table" not in line]


@needs("root")
def test_server_lets_go_of_boxes(t):
    """A box that a client has had cannot be written by the server that filled it, not by mistake either."""
    v = t.volume(size=(512, 256, 160), chunk=(64, 64, 64))
    m = t.mount(v, cache="128M")
    m.need_passthrough()
    server = m.stats("server.pid")
    fd = os.open(m.file(((0, 512), (0, 256), (0, 152))), os.O_RDONLY)
    equal(writable_maps(server), [], "writable maps once a large box is open")
    os.close(fd)
    m.check(((0, 64), (0, 64), (0, 152)))
    m.check(((0, 64), (0, 64), (3, 9)))
    t.until(lambda: not writable_maps(server), "small boxes are unmapped after the answer")


def try_to_write(path):
    """Every way in which a reader might get a writable view; the ones that worked."""
    worked = []
    fd = os.open(path, os.O_RDONLY)
    try:
        mmap.mmap(fd, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_SHARED)
        worked.append("shared map")
    except OSError:
        pass
    for link in ("/proc/self/fd/%d" % fd, "/dev/fd/%d" % fd):
        try:
            os.close(os.open(link, os.O_RDWR))
            worked.append(link)
        except OSError:
            pass
    try:
        os.ftruncate(fd, 0)
        worked.append("ftruncate")
    except OSError:
        pass
    m = mmap.mmap(fd, 4096, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
    libc = ctypes.CDLL(None, use_errno=True)
    address = None
    with open("/proc/self/maps") as f:
        for line in f:
            if os.path.basename(path) in line:
                address = int(line.split("-")[0], 16)
    if address is None:
        worked.append("no map to be seen")
    elif libc.mprotect(ctypes.c_void_p(address), 4096, 3) == 0:
        worked.append("mprotect")
    for link in os.listdir("/proc/self/map_files") if os.geteuid() == 0 else ():
        full = "/proc/self/map_files/" + link
        try:
            if os.path.basename(path) in os.readlink(full):
                os.close(os.open(full, os.O_RDWR))
                worked.append("map_files")
        except OSError:
            pass
    m.close()
    return worked


def test_shared_boxes_cannot_be_written(t):
    v = t.volume(**VOLUME)
    m = t.mount(v)
    box = ((-10, 90), (0, 90), (5, 50))
    equal(t.client(try_to_write, m.file(box)).result(), [], "ways to write")
    m.check(box)
