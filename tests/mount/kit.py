# SPDX-License-Identifier: Apache-2.0
"""What a mount test works with: its context (directory, volumes, mounts, servers), mounts and clients.

A test is a function test_NAME(t). Everything it makes through `t` is ended when it returns, whatever happened. Clients
that may block or die are processes of their own: t.client(function, ...).
"""
import errno
import fcntl
import gzip
import json
import os
import pickle
import random
import select
import shutil
import signal
import subprocess
import time
import traceback
import zlib

import servers
import volumes
from supervise import Skip, mounts_below, process_table, umount, unshare_mounts, wait_status, MNT_DETACH

NOBODY = 65534
POLL = 0.005


class Settings:
    """The same for all tests of a run."""

    def __init__(self, build, run_dir):
        self.voxfs = os.path.join(build, "fs", "voxfs")
        self.run_dir = run_dir
        self.scale = float(os.environ.get("VOXFS_TEST_SCALE", "1"))
        self.slow = float(os.environ.get("VOXFS_TEST_SLOW", "1"))
        self.maker = volumes.Maker(os.path.join(build, "tools", "voxgen"), os.path.join(run_dir, "volumes"))
        for program in (self.voxfs, self.maker.voxgen):
            if not os.access(program, os.X_OK):
                raise SystemExit("%s is not built" % program)


def needs(*what):
    """Decorator: skips the test where something is absent. "root", or a program's name."""
    def decorate(function):
        def wrapped(t, *args):
            for w in what:
                if w == "root" and os.geteuid() != 0:
                    raise Skip("needs root")
                if w != "root" and not find_program(w):
                    raise Skip("needs " + w)
            return function(t, *args)
        wrapped.seconds = getattr(function, "seconds", 120)
        return wrapped
    return decorate


def takes(seconds):
    """Decorator: a deadline other than the runner's."""
    def decorate(function):
        function.seconds = seconds
        return function
    return decorate


def find_program(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:" + os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "voxfs-test", "bin"))  # tests/lib/interop


def kernel_has(option):
    """Whether the kernel was built with it, as far as it tells."""
    texts = (("/proc/config.gz", gzip.open), ("/boot/config-" + os.uname().release, open))
    for path, opened in texts:
        if os.path.exists(path):
            with opened(path, "rt") as f:
                return option + "=y\n" in f
    return False


def equal(got, want, what=""):
    if got != want:
        if isinstance(got, bytes) and isinstance(want, bytes):
            at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
            raise AssertionError("%s: %d bytes, should be %d; they differ from byte %d on" % (what, len(got), len(want), at))
        raise AssertionError("%s: is %r, should be %r" % (what, got, want))


def fails(code, function, *args):
    """The call must raise OSError with this errno."""
    try:
        function(*args)
    except OSError as e:
        got = errno.errorcode.get(e.errno)
    else:
        got = "success"
    equal(got, errno.errorcode[code], "%s%r" % (function.__name__, args))


def read_file(path, block=1 << 20):
    fd = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(fd, block):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


class Context:
    def __init__(self, top, settings, name=""):
        """`name`: of the test. What it draws is the same whichever other tests are run."""
        self.top, self.settings = top, settings
        self.random = random.Random(int(os.environ.get("VOXFS_TEST_SEED", "1")) ^ zlib.crc32(name.encode()))
        self.open = []  # what to close, last first
        self.count = 0
        san = "log_path=%s/san:halt_on_error=1" % top
        here = os.path.dirname(os.path.abspath(__file__))
        self.env = dict(os.environ, ASAN_OPTIONS=san + ":detect_leaks=1", UBSAN_OPTIONS=san + ":print_stacktrace=1",
                        TSAN_OPTIONS=san + ":second_deadlock_stack=1:suppressions=%s/tsan.supp" % here,
                        LSAN_OPTIONS="suppressions=%s/lsan.supp:print_suppressions=0" % here)

    def close(self):
        errors = []
        while self.open:
            try:
                self.open.pop().close()
            except Exception as e:
                errors.append(e)
        if errors:
            raise errors[0]

    def name(self, what):
        self.count += 1
        return os.path.join(self.top, "%s%d" % (what, self.count))

    def scaled(self, n, least=1):
        return max(least, int(n * self.settings.scale))

    def seconds(self, n):
        return n * self.settings.slow

    def until(self, condition, what, seconds=30):
        """Polls until condition() is true and returns its value."""
        deadline = time.monotonic() + self.seconds(seconds)
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError("waited in vain: " + what)
            time.sleep(POLL)

    def own_namespace(self):
        """From here on this test sees mounts of its own, and a /dev/fuse that everybody may open, as udev makes it."""
        unshare_mounts()
        dev = self.name("dev")
        os.mkdir(dev)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "none", dev], check=True)
        os.mknod(dev + "/fuse", 0o020666, os.makedev(10, 229))
        os.chmod(dev + "/fuse", 0o666)
        subprocess.run(["mount", "--bind", dev + "/fuse", "/dev/fuse"], check=True)

    # --- things that are ended with the test ---

    def volume(self, **args):
        return self.settings.maker.volume(**args)

    def copy(self, volume):
        """A private copy of a volume, to be damaged."""
        return volume.copied(self.name("copy"))

    def mount(self, source, options="", **more):
        m = Mount(self, source, options, **more)
        self.open.append(m)
        m.wait()
        return m

    def mount_fails(self, source, options=""):
        """What voxfs says when it cannot mount."""
        where = self.name("mnt")
        os.mkdir(where)
        r = self.run(self.settings.voxfs, source, where, "-f", "-o", ",".join(["name=x,cache=64M,warm=0"] + [options] * bool(options)))
        equal(r.returncode, 32, "exit status of a mount that must fail (%s)" % r.stderr[-500:])
        return r.stderr

    def mount_http(self, volume, options="", **more):
        """(mount, faultd) of a volume behind a server that can misbehave."""
        d = self.faultd(volume.path)
        return self.mount(d.url, options, volume=volume, **more), d

    def faultd(self, root, **more):
        s = servers.Faultd(self, root, **more)
        self.open.append(s)
        return s

    def nginx(self, root, **more):
        if not find_program("nginx"):
            raise Skip("needs nginx")
        s = servers.Nginx(self, root, **more)
        self.open.append(s)
        return s

    def cloudd(self, root):
        s = servers.Cloudd(self, root)
        self.open.append(s)
        return s

    def versitygw(self, root, key, secret):
        program = find_program("versitygw")
        if not program:
            raise Skip("needs versitygw (tests/lib/interop)")
        s = servers.Versitygw(self, program, root, key, secret)
        self.open.append(s)
        return s

    def client(self, function, *args, **more):
        c = Client(self, function, args, **more)
        self.open.append(c)
        return c

    def pipes(self):
        """Two pipes, to a client and back. Its ends are given to it by `keep`."""
        made = os.pipe(), os.pipe()
        for fd in made[0] + made[1]:
            self.open.append(os.fdopen(fd, "rb" if fd in (made[0][0], made[1][0]) else "wb", 0))
        return made

    def clients(self, jobs, seconds=60):
        """Runs [(function, *args)] at once, each in a process; their results in order."""
        all_of_them = [self.client(j[0], *j[1:]) for j in jobs]
        return [c.result(seconds) for c in all_of_them]

    def run(self, *argv, **more):
        """Runs a program to its end: subprocess.CompletedProcess with text."""
        more.setdefault("stdin", subprocess.DEVNULL)
        more.setdefault("env", self.env)
        return subprocess.run(argv, capture_output=True, text=more.pop("text", True), timeout=self.seconds(100), **more)


class Mount:
    """A mount in the foreground, with its log. `volume` is what read() and check() compare with."""

    def __init__(self, t, source, options="", volume=None, name="v", nobody=False, wait=True, cache="64M",
                 inside=False, **popen):
        """`inside`: started in the folder that is mounted on. `popen` goes to subprocess.Popen."""
        if isinstance(source, volumes.Volume):
            source, volume = "precomputed://file://" + source.path, source
        self.t, self.volume, self.name = t, volume, name
        self.path = t.name("mnt")
        self.log = t.name("voxfs") + ".log"
        self.status = None
        os.mkdir(self.path)
        self.options = [o for o in options.split(",") if o]
        self._default("warm", "0")
        self._default("cache", cache)
        self._default("wait", "60")
        self._default("hedge", "off")  # requests are counted
        if name and not source.endswith(".json"):
            self._default("name", name)
        argv = [t.settings.voxfs, source, self.path, "-f", "-o", ",".join(self.options)]
        if nobody:
            os.chown(self.path, NOBODY, NOBODY)
            argv[0] = shutil.copy(argv[0], t.name("bin"))  # the build may lie where nobody may look
            argv = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] + argv
        with open(self.log, "wb") as log:
            usual = dict(stdin=subprocess.DEVNULL, cwd=self.path if inside else "/")
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=t.env, start_new_session=True,
                                            **{**usual, **popen})
        self.pid = self.process.pid

    def _default(self, key, value):
        if not any(o.split("=")[0] == key for o in self.options):
            self.options.append("%s=%s" % (key, value))

    def is_mounted(self):
        return any(p == self.path for p, _, _ in mounts_below(self.t.top))

    def wait(self):
        def there():
            if self.process.poll() is not None:
                raise AssertionError("voxfs ended with status %d: %s" % (self.process.returncode, self.said()))
            return self.is_mounted()
        self.t.until(there, "the mount", 60)
        try:
            os.statvfs(self.path)  # answered once it serves
        except PermissionError:
            pass  # another user's

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    # --- names ---

    def file(self, box, mip=0, name=None):
        folder = os.path.join(self.path, name or self.name)
        if mip:
            folder = os.path.join(folder, "mip%d" % mip)
        return os.path.join(folder, volumes.box_name(box) if not isinstance(box, str) else box)

    # --- reading, from this process ---

    def read(self, box, mip=0, name=None):
        return read_file(self.file(box, mip, name))

    def check(self, box, mip=0, volume=None, name=None):
        v = volume or self.volume
        equal(self.read(box, mip, name), v.bytes(box, mip), self.file(box, mip, name))

    def stats(self, key=None):
        s = json.loads(read_file(os.path.join(self.path, ".voxfs", "stats.json")))
        if not key:
            return s
        group, field = key.split(".")
        return s[group][field]

    def errors(self):
        return read_file(os.path.join(self.path, ".voxfs", "errors")).decode()

    def until_stats(self, key, value, seconds=30):
        """RELEASE and FORGET arrive some time after close."""
        def there():
            seen.append(self.stats(key))
            del seen[:-1]
            return seen[0] == value
        seen = []
        try:
            self.t.until(there, "", seconds)
        except AssertionError:
            raise AssertionError("%s stays at %r, should become %r" % (key, seen[0], value)) from None

    def until_idle(self):
        """Nothing is being fetched or decoded any more, read-ahead included."""
        self.t.until(lambda: not any(self.stats()["queue"].values()), "idleness")

    def passthrough(self):
        return self.stats("zerocopy.mode") == "passthrough"

    def need_passthrough(self):
        """Skips the test on kernels without; where it can be had it must be."""
        if self.passthrough():
            return
        why = self.stats("zerocopy.reason")
        if os.geteuid() == 0 and kernel_has("CONFIG_FUSE_PASSTHROUGH"):
            raise AssertionError("no passthrough, though this kernel has it: " + why)
        raise Skip("no passthrough here: " + why)

    # --- the end ---

    def unmount(self):
        """As umount(8), once clients have let go: their RELEASEs may still be on their way."""
        def gone():
            code = umount(self.path)
            if code not in (0, errno.EBUSY, errno.EINVAL, errno.EPERM):
                raise AssertionError("umount: " + os.strerror(code))
            return not self.is_mounted()
        if self.is_mounted():
            self.t.until(gone, "umount of %s, which stays busy" % self.path)
        self.finish()

    def finish(self, status=0):
        """Waits for the daemon's end, which must be a good one."""
        if self.status is None:
            try:
                self.status = self.process.wait(self.t.seconds(30))
            except subprocess.TimeoutExpired:
                raise AssertionError("the daemon does not end") from None
        equal(self.status, status, "exit status of the daemon (%s)" % self.said()[-500:])

    def abandon(self):
        """From here on the test has ended it some other way."""
        self.status = 0

    def close(self):
        if self.status is None:
            try:
                self.unmount()
            finally:
                umount(self.path, MNT_DETACH)


class Client:
    """A process that runs function(*args) and hands back what it returns. It holds no file of its parent's."""

    def __init__(self, t, function, args, nobody=False, keep=()):
        self.t, self.status = t, None
        self.name = ("%s%r" % (function.__name__, args))[:150]
        self.fd, w = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._child(w, function, args, nobody, keep)
        os.close(w)

    def _child(self, w, function, args, nobody, keep):
        status = 1
        try:
            result = fcntl.fcntl(w, fcntl.F_DUPFD, 3)
            for fd in set(range(3, 4096)) - set(keep) - {result}:
                try:
                    os.close(fd)
                except OSError:
                    pass
            signal.set_wakeup_fd(-1)
            if nobody:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            try:
                answer = (True, function(*args))
            except OSError as e:
                answer = (False, e)
            with os.fdopen(result, "wb") as f:
                pickle.dump(answer, f)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def result(self, seconds=60):
        """What the function returned; raises the OSError that it raised."""
        parts, deadline = [], time.monotonic() + self.t.seconds(seconds)
        while select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
            parts.append(os.read(self.fd, 1 << 20))
            if not parts[-1]:
                break
        if self.wait(max(1, deadline - time.monotonic())) != 0:
            raise AssertionError("client %s ended with status %d" % (self.name, self.status))
        good, value = pickle.loads(b"".join(parts))
        if not good:
            raise value
        return value

    def wait(self, seconds=60):
        if self.status is None:
            self.status = wait_status(self.pid, self.t.seconds(seconds))
            if self.status is None:
                raise AssertionError("client %s does not end" % self.name)
        return self.status

    def running(self):
        if self.status is None:
            self.status = wait_status(self.pid, 0)
        return self.status is None

    def kill(self, sig=signal.SIGKILL):
        if self.status is None:
            os.kill(self.pid, sig)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self.running():
            self.kill()
            wait_status(self.pid, self.t.seconds(5))  # a stuck one is the supervisor's matter


def processes_named(name, below):
    """Descendants of a process by name, for daemons that have detached."""
    from supervise import descendants
    return [p for p, i in descendants(below).items() if i[2] == name and i[1] != "Z"]


__all__ = ["Client", "Context", "Mount", "NOBODY", "Settings", "Skip", "equal", "fails", "find_program", "needs",
           "process_table", "processes_named", "read_file", "takes"]
