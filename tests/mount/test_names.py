# SPDX-License-Identifier: Apache-2.0
"""What names exist, what they refuse, and what looking at them costs."""
import ctypes
import errno
import json
import os
import struct

from kit import Skip, equal, fails, read_file

VOLUME = dict(size=(150, 130, 70), offset=(-75, 3, 0), chunk=(32, 32, 32), dtype="uint16", scales=3)


def lookup_fails(m, name, mip=0):
    fails(errno.ENOENT, os.stat, m.file(name, mip))
    fails(errno.ENOENT, os.open, m.file(name, mip), os.O_RDONLY)


def test_one_spelling(t):
    m = t.mount(t.volume(**VOLUME))
    equal(os.stat(m.file("-75-0_3-10_0-5.raw")).st_size, 75 * 7 * 5 * 2)
    for name in ("-75--0_3-10_0-5.raw", "-075-0_3-10_0-5.raw", "-75-+1_3-10_0-5.raw", "-75-0_03-10_0-5.raw",
                 "-75-0_3-10_-0-5.raw", "-75-0_3-10_0-5", "-75-0_3-10_0-5.RAW", "-75-0_3-10_0-5.raw ", " -75-0_3-10_0-5.raw",
                 "-75-0_3-10.raw", "-75-0_3-10_0-5_0-1.raw", "-75-0-3-10-0-5.raw", "-75-0_3-10_0-5.raw.raw", "0x1-2_3-10_0-5.raw",
                 "1e1-20_3-10_0-5.raw", "-75-0_3-10_0-99999999999999999999.raw", "-9223372036854775809-0_3-10_0-5.raw",
                 "_3-10_0-5.raw", ".raw", "..raw", "-75-0_3-10_0-.raw", "info", "all", "all.RAW", "mip0", "mip3", "mip01",
                 "mip-1", "mip1 ", "-75-0_3-10_0-5.raw\n", "\u0661-2_3-10_0-5.raw", "a" * 255):
        lookup_fails(m, name)
    for name in ("w", "V", "v ", ".voxfs2", "info.json"):
        fails(errno.ENOENT, os.stat, os.path.join(m.path, name))
    fails(errno.ENOENT, os.stat, os.path.join(m.path, ".voxfs", "nothing"))


def test_out_of_bounds(t):
    m = t.mount(t.volume(**VOLUME))
    for name in ("-76-0_3-10_0-5.raw", "-75-76_3-10_0-5.raw", "-75-0_2-10_0-5.raw", "-75-0_3-134_0-5.raw",
                 "-75-0_3-10_-1-5.raw", "-75-0_3-10_0-71.raw", "200-300_3-10_0-5.raw"):
        lookup_fails(m, name)
    for name in ("0--75_3-10_0-5.raw", "0-0_3-10_0-5.raw", "-75-0_10-3_0-5.raw", "-75-0_3-10_5-5.raw"):
        lookup_fails(m, name)
    os.stat(m.file("-75-75_3-133_0-70.raw"))
    lookup_fails(m, "-75-75_3-133_0-70.raw", 1)
    os.stat(m.file("-38-37_1-66_0-35.raw", 1))


def test_looking_fetches_nothing(t):
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v)
    before = d.counts()["total"]
    for mip in range(3):
        for _ in range(t.scaled(50, 5)):
            box = v.random_box(t.random, mip)
            s = os.stat(m.file(box, mip))
            equal((s.st_size, s.st_mode), (v.size(box), 0o100444), str(box))
        equal(os.stat(m.file("all.raw", mip)).st_size, v.size(v.bounds(mip)))
    os.listdir(os.path.dirname(m.file("all.raw")))
    os.statvfs(m.path)
    read_file(m.file("info.json"))
    equal(m.stats("chunks.fetched"), 0, "chunks.fetched")
    equal(d.counts()["total"], before, "requests")


def test_names_are_remembered(t):
    """What a name means never changes: the kernel asks once, also for names that are none."""
    m = t.mount(t.volume(**VOLUME))
    there, absent = m.file("-75-0_3-10_0-5.raw"), m.file("-75-0_3-10_0-99.raw")
    os.stat(there)
    fails(errno.ENOENT, os.stat, absent)
    before = m.stats("fuse.lookups")
    for _ in range(50):
        os.stat(there)
        fails(errno.ENOENT, os.stat, absent)
    assert m.stats("fuse.lookups") - before < 10, "the kernel asks for names again"


def test_directories(t):
    m = t.mount(t.volume(**VOLUME))
    volume = os.path.join(m.path, "v")
    for path in (m.path, volume, os.path.join(volume, "mip1"), os.path.join(m.path, ".voxfs")):
        equal(os.stat(path).st_mode, 0o40555, path)
        fails(errno.EISDIR, read_file, path)
    fails(errno.ENOTDIR, os.listdir, m.file("all.raw"))
    fails(errno.ENOTDIR, os.stat, m.file("all.raw") + "/x")
    fails(errno.ENOENT, os.stat, os.path.join(volume, "mip1", "mip1"))
    equal(sorted(os.listdir(m.path)), [".voxfs", "v"])
    equal(sorted(os.listdir(os.path.join(m.path, ".voxfs")))[:1], ["errors"])
    equal(sorted(os.listdir(volume)), ["all.raw", "info.json", "mip1", "mip2"])


def test_nothing_is_writable(t):
    m = t.mount(t.volume(**VOLUME))
    for path in (m.file("0-9_3-9_0-9.raw"), m.file("all.raw"), m.file("info.json"), m.path + "/.voxfs/stats.json"):
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_APPEND):
            fails(errno.EROFS, os.open, path, flags)
        fails(errno.EROFS, os.truncate, path, 0)
        fails(errno.EROFS, os.chmod, path, 0o600)
        fails(errno.EROFS, os.utime, path)
        fails(errno.EROFS, os.unlink, path)
        fails(errno.EROFS, os.rename, path, path + "2")
        fails(errno.EROFS, os.link, path, path + "2")
        fails(errno.EROFS, os.setxattr, path, "user.x", b"1")
        equal(os.access(path, os.W_OK), False, "access")
    volume = os.path.join(m.path, "v")
    fails(errno.EROFS, os.open, volume + "/new", os.O_CREAT | os.O_WRONLY)
    fails(errno.EROFS, os.mkdir, volume + "/mip9")
    fails(errno.EROFS, os.rmdir, volume + "/mip1")
    fails(errno.EROFS, os.symlink, "x", volume + "/link")
    fails(errno.EROFS, os.open, m.file("1-9_3-9_0-9.raw"), os.O_CREAT | os.O_RDWR)


def test_listing_shows_resident_boxes(t):
    v = t.volume(**VOLUME)
    m = t.mount(v)
    boxes = [((-75, 0), (3, 10), (0, 5)), ((0, 10), (20, 40), (0, 70)), ((-1, 1), (3, 133), (9, 10))]
    for box in boxes:
        m.check(box)
    folder = os.path.dirname(m.file("all.raw"))
    names = set(os.listdir(folder))
    want = {os.path.basename(m.file(b)) for b in boxes}
    equal(names - {"all.raw", "info.json", "mip1", "mip2"}, want, "ls")
    m.check(((-38, 0), (1, 66), (0, 35)), 1)
    equal("-38-0_1-66_0-35.raw" in os.listdir(os.path.join(folder, "mip1")), True, "ls mip1")
    equal("-38-0_1-66_0-35.raw" in os.listdir(folder), False, "ls")
    for e in os.scandir(folder):
        equal(e.is_dir(follow_symlinks=False), e.name.startswith("mip"), e.name)


def test_listing_of_many(t):
    """More entries than fit into one READDIR, and read by halves."""
    v = t.volume(size=(64, 64, 16), chunk=(64, 64, 16))
    m = t.mount(v)
    n = t.scaled(700, 150)
    boxes = [((i % 60, i % 60 + 1), (i // 60, i // 60 + 1), (0, 1)) for i in range(n)]
    for box in boxes:
        m.read(box)
    names = os.listdir(os.path.dirname(m.file("all.raw")))
    want = {os.path.basename(m.file(b)) for b in boxes} | {"all.raw", "info.json"}
    equal(sorted(want - set(names)), [], "entries left out")
    equal(len(names), n + 2, "entries")
    equal(len(set(names)), n + 2, "different entries")


def schema(name):
    try:
        import jsonschema
    except ImportError:
        raise Skip("needs python3-jsonschema") from None
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.path.join(here, "..", "..", "tools", name)
    if not os.path.exists(path):
        raise Skip("tools/%s is not there" % name)
    with open(path) as f:
        s = json.load(f)
    checker = jsonschema.validators.validator_for(s)
    checker.check_schema(s)

    def validate(doc):
        for e in checker(s).iter_errors(doc):
            raise AssertionError("%s: %s" % ("/".join(map(str, e.absolute_path)), e.message))
    return validate


def test_info_json(t):
    validate = schema("info.schema.json")
    for args in (VOLUME, dict(size=(9, 8, 7), dtype="float32", channels=3, chunk=((4, 4, 4), (9, 9, 1))),
                 dict(size=(33, 32, 31), dtype="uint64", kind="labels", encoding="compressed_segmentation", pack="gzip")):
        v = t.volume(**args)
        m = t.mount(v)
        for mip, s in enumerate(v.scales):
            doc = json.loads(read_file(m.file("info.json", mip)))
            validate(doc)
            equal(doc["dtype"], v.dtype)
            equal(doc["channels"], v.channels)
            equal([doc["shape"][a] for a in "xyz"], s["size"])
            equal(doc["voxel_offset"], s["voxel_offset"])
            equal(doc["chunk_sizes"], s["chunk_sizes"])
            equal(doc["bytes"], os.stat(m.file("all.raw", mip)).st_size)
            equal(len(doc["scales"]), len(v.scales))


def test_stats_json(t):
    validate = schema("stats.schema.json")
    v = t.volume(**VOLUME)
    for options in ("", "zerocopy=off,cache=2M,missing=fill"):
        m = t.mount(v, options)
        validate(m.stats())
        for _ in range(5):
            m.check(v.random_box(t.random))
        stats = m.stats()
        validate(stats)
        equal(stats["keeper"]["pid"], m.pid)
        assert stats["store"]["requests"] >= 1 and stats["store"]["bytes"] > 0
        assert stats["cache"]["bytes"] <= stats["cache"]["limit"]


def test_statfs(t):
    v = t.volume(**VOLUME)
    m = t.mount(v, cache="32M")
    s = os.statvfs(m.path)
    equal(s.f_blocks * s.f_frsize, 32 << 20, "size")
    m.check(v.bounds())
    s = os.statvfs(m.path)
    equal((s.f_blocks - s.f_bfree) * s.f_frsize, m.stats("cache.bytes") // s.f_frsize * s.f_frsize, "used")


def test_mount_flags(t):
    m = t.mount(t.volume(**VOLUME), "rw,suid,dev,exec")
    with open("/proc/self/mountinfo") as f:
        line = next(s.split() for s in f if s.split()[4] == m.path)
    for flag in ("ro", "nosuid", "nodev", "noexec"):
        assert flag in line[5].split(","), line
    assert "fuse.voxfs" in line and "default_permissions" in line[-1], line


GETDENTS64 = 217  # of x86-64


def entries_from(path, offset):
    """What the kernel says of a directory from an offset on, read raw: [(offset of the next, name)]."""
    fd, buf, found = os.open(path, os.O_RDONLY | os.O_DIRECTORY), ctypes.create_string_buffer(4096), []
    try:
        os.lseek(fd, offset, os.SEEK_SET)
        while (n := ctypes.CDLL(None).syscall(GETDENTS64, fd, buf, len(buf))) > 0:
            at = 0
            while at < n:
                _, after, size, _ = struct.unpack_from("<QQHB", buf.raw, at)
                found.append((after, buf.raw[at + 19:at + size].split(b"\0")[0].decode()))
                at += size
        assert n == 0, "getdents64 fails at offset %d" % offset
        return found
    finally:
        os.close(fd)


def test_seeking_in_a_listing(t):
    """A client may seek anywhere, also to where no entry begins."""
    if os.uname().machine != "x86_64":
        raise Skip("knows the number of the system call on x86-64 only")
    m = t.mount(t.volume(size=(64, 64, 64)))
    everything = entries_from(m.path, 0)
    assert {name for _, name in everything} >= {".", "..", "v"}, everything
    begins = [0] + [after for after, _ in everything]
    for offset in range(begins[-1] + 20):
        first = next((i for i, b in enumerate(begins) if b >= offset), len(everything))
        equal(entries_from(m.path, offset), everything[first:], "from %d on" % offset)
