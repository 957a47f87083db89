# SPDX-License-Identifier: Apache-2.0
"""What the keeper is started with, and what it does with a server or a mount that is not as it should be."""
import ctypes
import fcntl
import os
import select
import shutil
import signal
import socket
import subprocess
import termios

from kit import NOBODY, equal, needs, read_file
from supervise import MNT_DETACH, mounts_below, umount
from test_crash import VOLUME, box, kill_server, server_of

MNT_FORCE = 1
PIDFD_GETFD = 438


def state_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def uid_of(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Uid:"))


def survives(m):
    """The server is killed, and another serves."""
    m.check(box(1))
    kill_server(m)
    m.check(box(2))


# --- what it is started with ---

def test_open_files_stay_behind(t):
    """What the caller had open is not a server's to read."""
    secret = t.name("secret")
    with open(secret, "w") as f:
        f.write("secret")
    fd = os.open(secret, os.O_RDONLY)
    m = t.mount(t.volume(**VOLUME), pass_fds=[fd], stdin=fd)
    os.close(fd)
    for _ in range(2):
        there = "/proc/%d/fd" % server_of(m)
        held = [os.readlink(os.path.join(there, f)) for f in os.listdir(there)]
        assert secret not in held, held
        survives(m)


def test_children_ignored(t):
    """Started by somebody who ignores SIGCHLD, which a program inherits."""
    survives(t.mount(t.volume(**VOLUME), preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)))


def test_folder_removed(t):
    where = t.name("folder")
    os.mkdir(where)
    m = t.mount(t.volume(**VOLUME), cwd=where)
    os.rmdir(where)
    survives(m)


def test_started_inside(t):
    """Mounted over the working directory: its name leads into the mount from then on."""
    survives(t.mount(t.volume(**VOLUME), inside=True))


def test_what_the_mount_would_hide(t):
    """A later server could not reach it but through the mount, and would wait for itself."""
    v, where = t.volume(**VOLUME), t.name("mnt")
    inside, link = where + "/volume", t.name("link")
    os.mkdir(where)
    v.copied(inside)
    os.symlink(where, link)
    for source, cache, at in ((inside, "", where), (inside, "", inside), (link + "/volume", "", where), (inside, "", link),
                              (v.path, where + "/cache", where)):
        r = t.run(t.settings.voxfs, "precomputed://file://" + source, at, "-f", "-o",
                  "name=v,cache=64M,warm=0" + (cache and ",diskcache=" + cache))
        equal((r.returncode, "below the mount point" in r.stderr), (32, True), r.stderr)


def test_relative_names(t):
    """Names mean the same to a later server."""
    v = t.volume(**VOLUME)
    config, folder = t.name("config") + ".json", t.name("folder")
    with open(config, "w") as f:
        f.write('{"volumes": [{"name": "v", "source": "precomputed://file://%s"}]}' % v.path)
    os.mkdir(folder)
    m = t.mount("../" + os.path.basename(config), "diskcache=cache", volume=v, cwd=folder)
    survives(m)
    equal(os.listdir(folder), ["cache"])


def test_no_standard_files(t):
    """Without stdin, stdout and stderr it mounts, says so, and comes back."""
    v, where = t.volume(**VOLUME), t.name("mnt")
    os.mkdir(where)
    r = t.run("sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', t.settings.voxfs, "precomputed://file://" + v.path, where,
              "-o", "name=v,cache=64M,warm=0")
    try:
        equal(r.returncode, 0, "exit status")
        equal(read_file(os.path.join(where, ".voxfs", "stats.json"))[:1], b"{")
    finally:
        umount(where, MNT_DETACH)


@needs("root")
def test_limit_stays(t):
    """A share of the machine's memory is that of the day of the mount: the arena cannot grow."""
    t.own_namespace()
    with open("/proc/self/cgroup") as f:
        group = next(line[3:].strip() for line in f if line.startswith("0::"))
    subprocess.run(["mount", "-t", "tmpfs", "none", "/sys/fs/cgroup"], check=True)
    os.makedirs("/sys/fs/cgroup" + group, exist_ok=True)
    for limit in (128 << 20, 512 << 20):
        with open("/sys/fs/cgroup%s/memory.max" % group, "w") as f:
            f.write("%d\n" % limit)
        if limit == 128 << 20:
            m = t.mount(t.volume(**VOLUME), cache="25%")
    survives(m)
    equal(m.stats("cache.limit"), 32 << 20)


def test_caller_gives_up(t):
    """Who waits for the mount is ended, by Ctrl-C say: then there is to be none."""
    where = t.name("mnt")
    os.mkdir(where)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        caller = subprocess.Popen([t.settings.voxfs, "precomputed://http://127.0.0.1:%d/v" % silent.getsockname()[1], where,
                                   "-o", "name=v,cache=64M,warm=0"], env=t.env)
        silent.settimeout(t.seconds(30))
        asked, _ = silent.accept()
        with open("/proc/%d/task/%d/children" % (caller.pid, caller.pid)) as f:
            keeper = os.pidfd_open(int(f.read()))
        caller.send_signal(signal.SIGTERM)
        equal(caller.wait(), -signal.SIGTERM)
        ended = select.select([keeper], [], [], t.seconds(20))[0]
        asked.close()
    os.close(keeper)
    assert ended, "the keeper goes on"
    equal(any(path == where for path, _, _ in mounts_below(t.top)), False)


# --- what a server can do to it ---

def shut(pid, how):
    """Shuts the server's sockets to the keeper, from outside."""
    libc, pidfd, n = ctypes.CDLL(None, use_errno=True), os.pidfd_open(pid), 0
    for name in os.listdir("/proc/%d/fd" % pid):
        if not os.readlink("/proc/%d/fd/%s" % (pid, name)).startswith("socket:"):
            continue
        fd = libc.syscall(PIDFD_GETFD, pidfd, int(name), 0)
        assert fd >= 0, os.strerror(ctypes.get_errno())
        with socket.socket(fileno=fd) as s:
            if s.family == socket.AF_UNIX and s.type == socket.SOCK_SEQPACKET:
                s.shutdown(how)
                n += 1
    os.close(pidfd)
    equal(n, 2, "links")


@needs("root")
def test_speechless_server(t):
    """One that has closed its end of the links keeps nobody busy, and can be ended."""
    m = t.mount(t.volume(**VOLUME))
    shut(server_of(m), socket.SHUT_WR)
    t.until(lambda: all(state_of(m.pid) == "S" for _ in range(500)), "the keeper's sleep")
    os.kill(m.pid, signal.SIGTERM)
    m.finish()


@needs("root")
def test_identity_stays(t):
    """Later servers are who the first one was, whatever has become of the permissions: what is resident is theirs."""
    v, cache = t.copy(t.volume(**VOLUME)), t.name("cache")
    m = t.mount(v, "diskcache=" + cache)
    equal(uid_of(server_of(m)), NOBODY)
    m.check(box(1))
    os.mkdir(cache + "/x", 0)
    os.chown(cache + "/x", NOBODY, NOBODY)
    subprocess.run(["chown", "-R", "1234:1234", v.path], check=True)
    os.chmod(v.path, 0o700)
    kill_server(m)
    equal(uid_of(server_of(m)), NOBODY)
    m.check(box(1))
    equal(m.stats("chunks.fetched"), 0)
    os.chmod(v.path, 0o755)
    m.check(box(2))


def test_ready_memory_of_later_servers(t):
    """It is made, in the sandbox too, and not before what is there has been taken over."""
    v = t.volume(size=(64, 64, 64 * 40), chunk=(64, 64, 64), dtype="uint8")
    m = t.mount(v, "warm=24M", cache="64M")

    def ready():
        return m.stats("cache.ready_bytes") > 16 << 20

    for kill in range(3):
        t.until(ready, "ready memory")
        for i in range(kill * 12, kill * 12 + 12):
            m.check(((0, 64), (0, 64), (64 * i, 64 * i + 64)))
        kill_server(m)


# --- mounts that are not as they should be ---

@needs("root", "setpriv", "fusermount3")
def test_failure_after_the_mount(t):
    """What is found out only when the kernel has been asked is a failure to mount all the same."""
    t.own_namespace()
    where, v = t.name("mnt"), t.volume(**VOLUME)
    program = shutil.copy(t.settings.voxfs, t.name("bin"))
    os.mkdir(where)
    os.chown(where, NOBODY, NOBODY)
    for more in (["-f"], []):
        r = t.run("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", program, "precomputed://file://" + v.path,
                  where, "-o", "name=v,cache=64M,warm=0,zerocopy=passthrough", *more)
        equal((r.returncode, "is not to be had" in r.stderr), (32, True), r.stderr)
        t.until(lambda: not any(path == where for path, _, _ in mounts_below(t.top)), "the mount's end")


@needs("root")
def test_foreign_mount_is_left(t):
    """Its own mount is gone from the name, another one is there: that is not taken away."""
    t.own_namespace()
    m = t.mount(t.volume(**VOLUME))
    with open(m.file(box(1)), "rb"):
        umount(m.path, MNT_DETACH)
        subprocess.run(["mount", "-t", "tmpfs", "none", m.path], check=True)
        os.kill(m.pid, signal.SIGTERM)
        m.finish()
    kinds = [kind for path, kind, _ in mounts_below(t.top) if path == m.path]
    umount(m.path)
    equal(kinds, ["tmpfs"])


@needs("root")
def test_forced_umount_of_a_busy_one(t):
    """umount -f ends the connection even where it says EBUSY: then the mount goes too."""
    m = t.mount(t.volume(**VOLUME))
    with open(m.file(box(1)), "rb"):
        umount(m.path, MNT_FORCE)
        m.finish()
        equal(m.is_mounted(), False)


def test_upgrade_from_elsewhere(t):
    """The mount point was named relative to somewhere else."""
    v, folder = t.volume(**VOLUME), t.name("folder")
    os.makedirs(folder + "/here")
    r = t.run(t.settings.voxfs, "precomputed://file://" + v.path, "here", "-o", "name=v,cache=64M,warm=0", cwd=folder)
    try:
        equal(r.returncode, 0, r.stderr)
        r = t.run(t.settings.voxfs, "--upgrade", folder + "/here", cwd="/")
        equal((r.returncode, r.stderr), (0, ""))
    finally:
        umount(folder + "/here", MNT_DETACH)


def test_terminal_goes(t):
    """In the foreground of a terminal that is closed, it ends; it does not take that for a wish to upgrade."""
    master, slave = os.openpty()

    def take_terminal():
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    m = t.mount(t.volume(**VOLUME), preexec_fn=take_terminal, pass_fds=[slave])
    os.close(slave)
    os.close(master)
    m.finish()
    equal(m.is_mounted(), False)
