# SPDX-License-Identifier: Apache-2.0
"""One test under supervision: a process of its own, a private directory, a deadline, and nothing left behind.

The order at the end matters (a client inside a dead or stuck mount cannot be killed): first the mounts are aborted and
detached, then processes are killed and reaped, then the directory goes. Mounts are found in /proc/self/mountinfo and
never by stat, which could hang.
"""
import ctypes
import errno
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback

PASS, FAIL, SKIP = "ok", "FAIL", "skip"
SKIP_STATUS = 77
TROUBLE = re.compile(r"ERROR: \w*Sanitizer|runtime error:|WARNING: ThreadSanitizer|SUMMARY: \w*Sanitizer|"
                     r"[Aa]ssertion|VX_ASSERT|lock order|corrupted")
MNT_FORCE, MNT_DETACH, UMOUNT_NOFOLLOW = 1, 2, 8
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


class Skip(Exception):
    """Raised by a test that cannot run here; its text is the reason."""


def umount(path, flags=0):
    """0 or an errno. An ordinary user's own mount goes through fusermount3."""
    if _libc.umount2(os.fsencode(path), flags | UMOUNT_NOFOLLOW) == 0:
        return 0
    code = ctypes.get_errno()
    if code != errno.EPERM or os.geteuid() == 0:
        return code
    argv = ["fusermount3", "-q", "-u"] + (["-z"] if flags else []) + ["--", path]
    return 0 if subprocess.run(argv, stdin=subprocess.DEVNULL).returncode == 0 else errno.EBUSY


def unshare_mounts():
    """A mount namespace for this process and those it starts; it ends with the last of them."""
    if _libc.unshare(CLONE_NEWNS) or _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        raise Skip("no mount namespace: " + os.strerror(ctypes.get_errno()))


def mounts_below(top):
    """Mount points below a directory, innermost first: [(path, type, device)]."""
    found = []
    with open("/proc/self/mountinfo", "rb") as f:
        for line in f:
            words = line.split(b" ")
            path = re.sub(rb"\\(\d{3})", lambda m: bytes([int(m[1], 8)]), words[4])
            if path.startswith(os.fsencode(top) + b"/"):
                kind = words[words.index(b"-") + 1]
                found.append((os.fsdecode(path), kind.decode(), words[2].decode()))
    return found[::-1]


def process_table():
    """{pid: (parent, state, name)}; reads nothing that could wait for a stuck process."""
    table = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid) as f:
                text = f.read()
        except OSError:
            continue
        after = text[text.rindex(")") + 2:].split()
        table[int(pid)] = (int(after[1]), after[0], text[text.index("(") + 1:text.rindex(")")])
    return table


def descendants(top):
    table = process_table()
    found, grew = {top}, True
    while grew:
        more = {p for p, (parent, _, _) in table.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return {p: table[p] for p in found - {top} if p in table}


def describe(pid, info):
    lines = ["process %d %s, state %s" % (pid, info[2], info[1])]
    for name in ("wchan", "stack"):
        try:
            with open("/proc/%d/%s" % (pid, name)) as f:
                lines += ["    " + text for text in f.read().split("\n") if text]
        except OSError:
            pass
    return "\n".join(lines)


def wait_status(pid, seconds):
    """The exit status, or None when the time is over. Reaps the child."""
    fd = os.pidfd_open(pid)
    try:
        if not select.select([fd], [], [], seconds)[0]:
            return None
    finally:
        os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def bury():
    """Waits for children that are dead, orphans included: [(name, status)]."""
    dead = []
    try:
        while True:
            who = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if not who:
                return dead
            info = process_table().get(who.si_pid, (0, "", "?"))
            status = os.waitstatus_to_exitcode(os.waitpid(who.si_pid, 0)[1])
            dead.append((info[2], status))
    except ChildProcessError:
        return dead


def reap(deadline):
    """Kills all descendants and waits for them; those that do not die are returned."""
    while True:
        left = descendants(os.getpid())
        if not left:
            return {}
        for pid, info in left.items():
            if info[1] != "Z":
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        bury()
        if time.monotonic() > deadline:
            return descendants(os.getpid())
        time.sleep(0.01)


def look_for_trouble(top):
    """Lines of logs in which a sanitizer or an assertion speaks."""
    found = []
    for name in sorted(os.listdir(top)):
        if not (name.endswith(".log") or name.startswith("san.")):
            continue
        with open(os.path.join(top, name), errors="replace") as f:
            text = f.read()
        m = TROUBLE.search(text)
        if m:
            start = text.rfind("\n", 0, m.start()) + 1
            found.append("%s:\n%s" % (name, text[start:start + 2500]))
    return found


class Supervised:
    """What is known of a test that ran: verdict, reason (one line) and details for whoever looks into it."""

    def __init__(self):
        self.verdict, self.reason, self.details, self.seconds = FAIL, "", [], 0.0

    def fail(self, reason, *details):
        self.verdict = FAIL
        self.reason = self.reason or reason
        self.details += details


def _body(function, make_context, top):
    log = os.open(os.path.join(top, "test.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    status = 1
    context = make_context(top)
    try:
        try:
            function(context)
        finally:
            context.close()
        status = 0
    except Skip as why:
        with open(os.path.join(top, "reason"), "w") as f:
            f.write(str(why))
        status = SKIP_STATUS
    except BaseException as e:
        if e.__context__ and not e.__suppress_context__:  # what went wrong first; the rest is its consequence
            print("Then: %s: %s" % (type(e).__name__, str(e)[:200]), file=sys.stderr)
            e = e.__context__
        traceback.print_exception(e, chain=False)
        with open(os.path.join(top, "reason"), "w") as f:
            f.write(("%s: %s" % (type(e).__name__, e)).split("\n")[0][:300])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _read(path):
    try:
        with open(path, errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def _settle(result, top, timed_out):
    """Looks for what was left behind, reports it and takes it away."""
    ok = result.verdict == PASS
    deadline = time.monotonic() + (5 if ok else 0)
    left = descendants(os.getpid())
    orphans = []
    while left and time.monotonic() < deadline:  # a daemon may be in its last instructions
        orphans += bury()
        time.sleep(0.01)
        left = descendants(os.getpid())
    for name, status in orphans:
        # SIGKILL is what tests send; and the helper of a leak checker gets it when its server dies.
        if ok and name in ("voxfs", "voxfs-keeper") and status not in (0, 1, 32, -signal.SIGKILL):
            result.fail("a daemon ended with status %d" % status)
    if timed_out or (ok and left):
        result.details += [describe(p, i) for p, i in left.items()]
    mounts = mounts_below(top)
    if ok and mounts:
        result.fail("left mounted: " + ", ".join("%s (%s)" % m[:2] for m in mounts))
    if ok and left:
        result.fail("left running: " + ", ".join(i[2] for i in left.values()))
    for path, kind, _ in mounts:
        if kind.startswith("fuse"):
            umount(path, MNT_FORCE)  # aborts the connection, even where it says EBUSY
        umount(path, MNT_DETACH)
    stuck = reap(time.monotonic() + 20)
    if stuck:
        result.fail("cannot be killed: " + ", ".join(map(str, stuck)))
    for text in look_for_trouble(top):
        result.fail("a sanitizer or an assertion spoke", text)
    return not stuck


def supervise(function, make_context, top, seconds, keep):
    """Runs function(make_context(top)). Call it in a process that does nothing else."""
    result = Supervised()
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    interrupted = []
    signal.signal(signal.SIGTERM, lambda *_: interrupted.append(1))
    os.mkdir(top)
    os.chmod(top, 0o1777)  # daemons of other users log here too
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _body(function, make_context, top)
    status, timed_out = None, False
    while status is None and not interrupted and not timed_out:
        timed_out = time.monotonic() - start > seconds
        status = wait_status(pid, 0.5)
    if status == 0:
        result.verdict = PASS
    elif status == SKIP_STATUS:
        result.verdict, result.reason = SKIP, _read(os.path.join(top, "reason"))
    elif status is None:
        result.fail("interrupted" if interrupted else "not done after %d s" % seconds)
    else:
        result.fail(_read(os.path.join(top, "reason")) or "ended with status %d" % status)
    clean = _settle(result, top, status is None)
    result.seconds = time.monotonic() - start
    if result.verdict == FAIL:
        for name in sorted(os.listdir(top)):
            if name.endswith(".log"):
                result.details.append("%s:\n%s" % (name, _read(os.path.join(top, name))[-2500:]))
    if clean and not mounts_below(top) and not (keep and result.verdict == FAIL):
        shutil.rmtree(top, ignore_errors=True)
    return result
