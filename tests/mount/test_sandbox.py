# SPDX-License-Identifier: Apache-2.0
"""What a server is, and what it cannot do even if it wants to: mounts with sandbox_probe try it."""
import ctypes
import os
import stat

from kit import NOBODY, equal, needs

VOLUME = dict(size=(64, 64, 64), chunk=(32, 32, 32))
BOX = ((3, 60), (1, 50), (5, 30))
LANDLOCK_CREATE_RULESET = 444  # on every machine
# Which layer refuses what the server tries; bind is Landlock's from its version 4 on.
BY_SECCOMP = {"execve", "fork", "socket_unix", "socket_packet", "socket_vsock", "socket_raw", "listen", "ptrace", "mount", "bpf",
              "io_uring", "unshare", "kill_init", "kill_parent", "setuid", "map_code"}
BY_LANDLOCK = {"open_shadow", "list_root_home", "read_memory_of_init", "list_everything", "create_outside", "write_source"}


def sandbox_of(t, v, options="", **more):
    m = t.mount(v, "sandbox_probe" + options, **more)
    m.check(BOX)
    return m, m.stats()["sandbox"]


def open_to_all(t, v):
    """A copy of the volume that every user can read."""
    copy = t.copy(v)
    folder = os.path.dirname(copy.path)
    while folder != "/":
        os.chmod(folder, os.stat(folder).st_mode | stat.S_IXOTH | stat.S_IROTH)
        folder = os.path.dirname(folder)
    return copy


def kernel_has():
    """What is to be had here, asked by other means than the server's: (version of Landlock's ABI or 0, filters)."""
    abi = ctypes.CDLL(None).syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    return max(abi, 0), os.path.exists("/proc/sys/kernel/seccomp/actions_avail")


def check_layers(s, local=True):
    """All that was tried was refused; what is not in force says why, and is in force wherever it can be."""
    probe, (abi, filters) = s["probe"], kernel_has()
    assert set(probe) == BY_SECCOMP | BY_LANDLOCK | {"bind"}, sorted(probe)
    for layer in ("user", "capabilities", "no_new_privs", "seccomp", "landlock"):
        equal("reason" in s[layer], not s[layer]["on"], layer)
    equal((s["user"]["on"], s["capabilities"]["on"], s["no_new_privs"]["on"]), (s["uid"] != 0, True, True))
    if "sanitizers" in s["seccomp"].get("reason", ""):
        return
    equal((s["seccomp"]["on"], s["landlock"]["on"], s["landlock"]["abi"]), (filters, abi > 0, abi))
    if filters:
        equal({what: probe[what] for what in BY_SECCOMP}, dict.fromkeys(BY_SECCOMP, "EPERM"))
    if abi:
        want = dict.fromkeys(BY_LANDLOCK, "EACCES")
        if not local and probe["write_source"] == "ENOENT":  # it has none, or a folder of credentials that is not there
            want["write_source"] = "ENOENT"
        equal({what: probe[what] for what in BY_LANDLOCK}, want)
    if abi >= 4:
        equal(probe["bind"], "EACCES", "bind")


@needs("root")
def test_nobody_serves(t):
    """Root's mount of what everybody may read is served by a nobody."""
    v = open_to_all(t, t.volume(**VOLUME))
    m, s = sandbox_of(t, v, extra_groups=[4, 100])
    equal((s["uid"], s["gid"]), (NOBODY, NOBODY))
    check_layers(s)
    with open("/proc/%d/status" % m.stats("server.pid")) as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    equal(status["Uid"].split(), [str(NOBODY)] * 4)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        equal(int(status[name], 16), 0, name)
    equal(status["Groups"].split(), [])
    equal(status["NoNewPrivs"], "1")


@needs("root")
def test_the_owner_serves(t):
    """What only its owner may read is served by the owner; when that is root, by a root without capabilities."""
    v = open_to_all(t, t.volume(**VOLUME))
    os.chmod(v.path, 0o700)
    m, s = sandbox_of(t, v)
    equal((s["uid"], s["capabilities"]["on"]), (0, True))
    check_layers(s)
    for folder, _, files in os.walk(v.path):
        os.chown(folder, 1234, 1234)
        for name in files:
            os.chown(os.path.join(folder, name), 1234, 1234)
    m, s = sandbox_of(t, v)
    equal(s["uid"], 1234)


@needs("root")
def test_runas(t):
    v = open_to_all(t, t.volume(**VOLUME))
    m, s = sandbox_of(t, v, ",runas=daemon:games")
    equal((s["uid"], s["gid"]), (1, 60))
    check_layers(s)


@needs("root", "setpriv")
def test_ordinary_user(t):
    v = t.volume(**VOLUME)
    t.own_namespace()
    m = t.mount(v, "sandbox_probe", nobody=True)
    s = t.client(m.stats, nobody=True).result()["sandbox"]
    equal(s["uid"], NOBODY)
    check_layers(s)


def test_http_in_the_sandbox(t):
    """Names are resolved and servers reached from inside."""
    v = t.volume(**VOLUME)
    d = t.faultd(v.path)
    m = t.mount(d.url.replace("127.0.0.1", "localhost"), "sandbox_probe", volume=v)
    m.check(BOX)
    check_layers(m.stats()["sandbox"], local=False)
