# SPDX-License-Identifier: Apache-2.0
"""Whom files belong to and who may read them: uid=, gid=, umask= and allow_other, control files included."""
import errno
import os
import stat

from kit import NOBODY, equal, fails, needs

VOLUME = dict(size=(64, 64, 32), chunk=(32, 32, 32), dtype="uint8", kind="index")
BOX = ((3, 40), (5, 30), (1, 20))
OTHER = 12345  # a user without an entry


def visit(m, uid, gid):
    """What a process of (uid, gid) gets of each thing in the mount: its bytes or names, else the name of the errno."""
    def attempt(function, path):
        try:
            return function(path)
        except OSError as e:
            return errno.errorcode[e.errno]

    def read(path):
        with open(path, "rb") as f:
            return f.read()
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    folder = os.path.dirname(m.file(BOX))
    return {"root": attempt(os.listdir, m.path), "volume": attempt(os.listdir, folder),
            "control": attempt(os.listdir, m.path + "/.voxfs"), "box": attempt(read, m.file(BOX)),
            "lazy": attempt(lambda p: read(p)[:100], m.file("all.raw")), "info": attempt(read, folder + "/info.json"),
            "stats": attempt(read, m.path + "/.voxfs/stats.json"), "errors": attempt(read, m.path + "/.voxfs/errors"),
            "mtime": attempt(lambda p: os.utime(p), m.file(BOX))}


def may_read(t, m, uid, gid=OTHER):
    got = t.client(visit, m, uid, gid).result()
    assert not isinstance(got["box"], str) and not isinstance(got["lazy"], str), (got["box"][:20], got["lazy"][:20])
    equal(got["box"], m.volume.bytes(BOX), "the box")
    equal(got["lazy"], m.volume.bytes(m.volume.bounds())[:100], "all.raw")
    equal(sorted(got["control"]), ["errors", "stats.json"], "control files")
    assert ".voxfs" in got["root"] and "info.json" in got["volume"], got
    assert b"voxel" in got["info"] and b"server" in got["stats"] and isinstance(got["errors"], bytes), got
    assert got["mtime"] in ("EROFS", "EPERM"), got["mtime"]


def may_not(t, m, uid, gid=OTHER):
    got = t.client(visit, m, uid, gid).result()
    equal(set(got.values()), {"EACCES"}, "what another user gets: %r" % got)


def every_path(m):
    folder = os.path.dirname(m.file(BOX))
    files = [m.file(BOX), m.file("all.raw"), folder + "/info.json", m.path + "/.voxfs/stats.json", m.path + "/.voxfs/errors"]
    return [m.path, folder, m.path + "/.voxfs"], files


def shown(m, uid, gid, umask):
    for paths, mode in zip(every_path(m), (0o555, 0o444)):
        for p in paths:
            st = os.stat(p)
            equal((st.st_uid, st.st_gid, oct(stat.S_IMODE(st.st_mode))), (uid, gid, oct(mode & ~umask)), p)


@needs("root")
def test_mounting_user_alone(t):
    m = t.mount(t.volume(**VOLUME))
    shown(m, 0, 0, 0)
    may_not(t, m, NOBODY)
    may_not(t, m, OTHER)
    m.check(BOX)


@needs("root")
def test_allow_other(t):
    m = t.mount(t.volume(**VOLUME), "allow_other")
    shown(m, 0, 0, 0)
    may_read(t, m, NOBODY)
    may_read(t, m, OTHER)


@needs("root")
def test_umask(t):
    """allow_other opens the mount, the umask closes the files again: no one but their owner, and root."""
    m = t.mount(t.volume(**VOLUME), "allow_other,umask=077")
    shown(m, 0, 0, 0o077)
    may_not(t, m, NOBODY)
    m.check(BOX)


@needs("root")
def test_owner(t):
    """The owner that uid= names reads where nobody else may."""
    m = t.mount(t.volume(**VOLUME), "allow_other,umask=077,uid=%d,gid=%d" % (OTHER, OTHER + 1))
    shown(m, OTHER, OTHER + 1, 0o077)
    may_read(t, m, OTHER)
    may_not(t, m, OTHER + 2)
    may_not(t, m, OTHER + 2, OTHER + 1)


@needs("root")
def test_group(t):
    m = t.mount(t.volume(**VOLUME), "allow_other,umask=027,uid=nobody,gid=%d" % (OTHER + 1))
    shown(m, NOBODY, OTHER + 1, 0o027)
    may_read(t, m, NOBODY)
    may_read(t, m, OTHER, OTHER + 1)
    may_not(t, m, OTHER, OTHER)


@needs("root")
def test_a_mode_without_bits(t):
    """umask=0777 closes everything to everybody but root."""
    m = t.mount(t.volume(**VOLUME), "allow_other,umask=0777,uid=%d" % OTHER)
    shown(m, OTHER, 0, 0o777)
    may_not(t, m, OTHER)
    m.check(BOX)


@needs("root", "fusermount3", "setpriv")
def test_mounted_by_an_ordinary_user(t):
    """Its files are its own, for it alone, root not excepted."""
    t.own_namespace()
    m = t.mount(t.volume(**VOLUME), nobody=True)
    may_read(t, m, NOBODY, NOBODY)
    may_not(t, m, OTHER)
    may_not(t, m, NOBODY)  # the kernel looks at the group too
    fails(errno.EACCES, os.listdir, m.path)
    m.process.terminate()
    m.finish()


@needs("root")
def test_remote_source_needs_no_privileges(t):
    """The system's certificates are anybody's, and the keys that lie beside them nobody's."""
    t.env["HOME"] = t.name("home")
    os.mkdir(t.env["HOME"])
    m, _ = t.mount_http(t.volume(**VOLUME))
    s = m.stats("server.pid")
    with open("/proc/%d/status" % s) as f:
        uids = [line.split()[1:] for line in f if line.startswith("Uid:")][0]
    equal(uids, [str(NOBODY)] * 4, "the server's user")
    m.check(BOX)


@needs("root")
def test_new_disk_cache(t):
    """It is made for whoever the server is; and that is one who can reach it."""
    v = t.volume(**VOLUME)
    t.env["HOME"] = t.name("home")
    os.mkdir(t.env["HOME"])
    for mode, uid in ((0o755, NOBODY), (0o700, 0)):
        folder = t.name("folder")
        os.mkdir(folder)
        os.chmod(folder, mode)
        m, _ = t.mount_http(v, "diskcache=" + os.path.join(folder, "cache"))
        m.check(BOX)
        equal(m.stats("sandbox.uid"), uid, "%o" % mode)
        equal(os.stat(os.path.join(folder, "cache")).st_uid, uid)
        m.until_stats("diskcache.waiting_bytes", 0)
        assert m.stats("diskcache.stored") > 0
        m.unmount()
