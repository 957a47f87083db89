# SPDX-License-Identifier: Apache-2.0
"""The ways in which volumes are mounted: by hand, by mount(8) and fstab, detached, from a list, under many spellings."""
import errno
import fcntl
import json
import os
import signal
import subprocess

from kit import Skip, equal, fails, needs, read_file
from supervise import MNT_DETACH, descendants, mounts_below, umount

SMALL = dict(size=(64, 50, 40), offset=(-8, 0, 3), dtype="uint16")


def daemons():
    """Processes of voxfs that descend from this test, its supervisor included."""
    return sorted(p for p, i in descendants(os.getppid()).items() if i[2] in ("voxfs", "voxfs-keeper") and i[1] != "Z")


def gone(t, path):
    """Unmounts and waits for the daemon to end."""
    def unmounted():
        code = umount(path)
        assert code in (0, errno.EBUSY), os.strerror(code)
        return code == 0
    t.until(unmounted, "umount")
    t.until(lambda: not daemons(), "the daemon's end")


def check_at(v, path, name="v"):
    box = ((-3, 40), (1, 49), (5, 30))
    equal(read_file(os.path.join(path, name, "-3-40_1-49_5-30.raw")), v.bytes(box), path)


def point(t):
    path = t.name("mnt")
    os.mkdir(path)
    return path


def test_detached(t):
    """The command returns when the mount works, with nothing of it left in the foreground."""
    v, p = t.volume(**SMALL), point(t)
    r = t.run(t.settings.voxfs, "precomputed://file://" + v.path, p, "-o", "name=v,cache=16M,warm=0", cwd="/")
    equal((r.returncode, r.stdout, r.stderr), (0, "", ""))
    check_at(v, p)  # at once
    stats = json.loads(read_file(p + "/.voxfs/stats.json"))
    keeper, server = stats["keeper"]["pid"], stats["server"]["pid"]
    equal(daemons(), sorted([keeper, server]))
    for pid in keeper, server:
        equal(os.getsid(pid), keeper, "session of the daemons")
        equal(os.readlink("/proc/%d/cwd" % pid), "/")
        for fd in (0, 1, 2):
            equal(os.readlink("/proc/%d/fd/%d" % (pid, fd)), "/dev/null")
    gone(t, p)


def test_locks_of_the_caller(t):
    """A script that holds a lock, mounts and ends does not leave it to the daemon."""
    v, p, path = t.volume(**SMALL), point(t), t.name("lock")
    script = "exec 9>%s 200>&9; flock -x 9; exec %s precomputed://file://%s %s -o name=v,cache=16M,warm=0" % (
        path, t.settings.voxfs, v.path, p)
    r = t.run("bash", "-c", script, cwd="/")
    equal((r.returncode, r.stdout, r.stderr), (0, "", ""))
    with open(path) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    check_at(v, p)
    gone(t, p)


def test_detached_failure(t):
    """What goes wrong after the fork still reaches the caller."""
    p = point(t)
    r = t.run(t.settings.voxfs, "precomputed://file:///nowhere", p)
    equal(r.returncode, 32)
    assert "nowhere" in r.stderr, r.stderr
    t.until(lambda: not daemons(), "the daemon's end")


def test_relative_mount_point(t):
    v, p = t.volume(**SMALL), point(t)
    r = t.run(t.settings.voxfs, v.path, os.path.basename(p), "-o", "name=v,cache=16M,warm=0", cwd=t.top)
    equal((r.returncode, r.stderr), (0, ""))
    check_at(v, p)
    gone(t, p)


def test_terminated(t):
    """SIGTERM unmounts and ends well."""
    v = t.volume(**SMALL)
    for sig in (signal.SIGTERM, signal.SIGINT):
        m = t.mount(v)
        m.check(v.bounds())
        m.process.send_signal(sig)
        m.finish()
        equal(m.is_mounted(), False, "mounted")


def test_spellings(t):
    v = t.volume(**SMALL)
    d = t.faultd(v.path)
    web = d.url.replace("precomputed://", "")
    for source in ("precomputed://file://" + v.path, "file://" + v.path, v.path, v.path + "/",
                   "precomputed://file://" + v.path + "/", "precomputed://" + web, web, web + "/", "precomputed://" + web + "/"):
        m = t.mount(source, volume=v)
        check_at(v, m.path)
        m.close()


def test_default_name(t):
    v = t.volume(**SMALL)
    m = t.mount("precomputed://file://" + v.path + "/", name=None)
    equal(sorted(os.listdir(m.path)), [".voxfs", os.path.basename(v.path)])


def test_list_of_volumes(t):
    """Several volumes in one mount, each with its own way of treating missing chunks, sharing one cache."""
    v = t.volume(**SMALL)
    holes = t.volume(**dict(SMALL, chunk=(16, 16, 16), drop=((0, 0, 0),)))
    path = t.name("config") + ".json"
    with open(path, "w") as f:
        json.dump({"volumes": [{"source": "precomputed://file://" + v.path, "name": "v"},
                               {"source": holes.path, "name": "holes"},
                               {"source": "file://" + holes.path, "name": "filled", "missing": "fill"}]}, f)
    m = t.mount(path, "cache=32M")
    equal(sorted(os.listdir(m.path)), [".voxfs", "filled", "holes", "v"])
    check_at(v, m.path)
    hole = "-8-0_0-8_3-9.raw"
    fails(errno.ENODATA, read_file, m.file(hole, 0, "holes"))
    equal(set(read_file(m.file(hole, 0, "filled"))), {0})
    box = ((10, 50), (20, 50), (20, 43))
    m.check(box, 0, holes, "holes")
    m.check(box, 0, holes, "filled")


def install_helper(t):
    """Gives mount(8), which resets PATH, our helper in /usr/sbin: in an overlay that only this test sees."""
    t.own_namespace()
    tmp = t.name("overlay")
    os.mkdir(tmp)
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp], check=True)
    for name in ("upper", "work"):
        os.mkdir(tmp + "/" + name)
    layers = "lowerdir=/usr/sbin,upperdir=%s/upper,workdir=%s/work" % (tmp, tmp)
    r = t.run("mount", "-t", "overlay", "none", "-o", layers, "/usr/sbin")
    if r.returncode:
        raise Skip("no overlay filesystem: " + r.stderr.strip())
    for name in ("mount.fuse.voxfs", "voxfs"):
        os.symlink(t.settings.voxfs, "/usr/sbin/" + name)


def mount8(t, *argv):
    r = t.run("mount", *argv, cwd="/")
    equal((r.returncode, r.stderr), (0, ""), "mount " + " ".join(argv))


def mount_options(path):
    with open("/proc/self/mountinfo") as f:
        return next(s.split()[5].split(",") for s in f if s.split()[4] == path)


@needs("root", "mount")
def test_mount8(t):
    """mount -t fuse.voxfs through our own helper, with what mount(8) adds by itself."""
    install_helper(t)
    v = t.volume(**SMALL)
    for options in ("name=v,cache=16M,warm=0", "ro,name=v,cache=16M,warm=0,allow_other,nosuid,nodev,noexec,noatime",
                    "defaults,name=v,cache=16M,warm=0,_netdev,nofail,x-systemd.automount,user,comment=mine"):
        p = point(t)
        mount8(t, "-t", "fuse.voxfs", "precomputed://file://" + v.path, p, "-o", options)
        check_at(v, p)
        for flag in ("ro", "nosuid", "nodev", "noexec"):
            assert flag in mount_options(p), (flag, mount_options(p))
        r = t.run("umount", p)
        equal((r.returncode, r.stderr), (0, ""))
        t.until(lambda: not daemons(), "the daemon's end")


@needs("root", "mount")
def test_mount8_errors(t):
    install_helper(t)
    v, p = t.volume(**SMALL), point(t)
    r = t.run("mount", "-t", "fuse.voxfs", v.path, p, "-o", "colour=blue")
    assert r.returncode != 0 and "colour" in r.stderr, r
    r = t.run("mount", "-t", "fuse.voxfs", "/nowhere", p)
    equal(r.returncode, 32, r.stderr)
    equal(mounts_below(t.top + "/mnt"), [])
    r = t.run("mount", "-f", "-t", "fuse.voxfs", v.path, p)  # fake
    equal(r.returncode, 0, r.stderr)
    equal([m for m in mounts_below(t.top) if m[0] == p], [])


@needs("root", "mount")
def test_fstab(t):
    install_helper(t)
    v, p = t.volume(**SMALL), point(t)
    table = t.name("fstab")
    with open(table, "w") as f:
        f.write("precomputed://file://%s %s fuse.voxfs ro,_netdev,nofail,name=v,cache=16M,warm=0,allow_other,x-a.b=c 0 0\n"
                % (v.path, p))
    mount8(t, "-T", table, p)
    check_at(v, p)
    gone(t, p)
    mount8(t, "-T", table, "-a")
    check_at(v, p)
    gone(t, p)


@needs("root", "mount.fuse3")
def test_mount_fuse3(t):
    """The helper of libfuse, which runs voxfs by a shell and adds rw,dev,suid."""
    install_helper(t)
    v, p = t.volume(**SMALL), point(t)
    r = t.run("mount.fuse3", "precomputed://file://" + v.path, p, "-t", "voxfs", "-o",
              "nodev,nosuid,defaults,x-gvfs-hide,comment=zz,name=v,cache=16M,warm=0")
    equal((r.returncode, r.stderr), (0, ""))
    check_at(v, p)
    gone(t, p)


def test_names_with_commas(t):
    v = t.volume(**SMALL)
    for text in (r"name=a\,b", 'name="a,b"'):
        m = t.mount(v, text, name=None)
        equal(sorted(os.listdir(m.path)), [".voxfs", "a,b"])
        m.close()


def test_two_mounts_of_one_volume(t):
    v = t.volume(**SMALL)
    a, b = t.mount(v), t.mount(v)
    check_at(v, a.path)
    check_at(v, b.path)
    a.close()
    check_at(v, b.path)


def test_dead_mount_is_named(t):
    """Over a mount whose server was killed: the message says what to do."""
    v = t.volume(**SMALL)
    m = t.mount(v)
    m.process.kill()
    m.process.wait()
    m.abandon()
    r = t.run(t.settings.voxfs, v.path, m.path, "-o", "name=v")
    equal(r.returncode, 32, r.stderr)
    assert "umount" in r.stderr, r.stderr
    equal(umount(m.path, MNT_DETACH), 0, "umount -l")
