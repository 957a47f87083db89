# SPDX-License-Identifier: Apache-2.0
"""What a server is, and what it cannot do even if it wants to: mounts with sandbox_probe try it."""
import os
import stat

from kit import NOBODY, equal, needs

VOLUME = dict(size=(64, 64, 64), chunk=(32, 32, 32))
BOX = ((3, 60), (1, 50), (5, 30))


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


def check_layers(s):
    """All that was tried was refused; layers that are not in force say why."""
    for layer in ("user", "capabilities", "no_new_privs", "seccomp", "landlock"):
        assert s[layer]["on"] or s[layer]["why"], (layer, s)
    if s["seccomp"]["on"] and s["landlock"]["on"]:
        assert len(s["probe"]) > 15, s
        equal([what for what, code in s["probe"].items() if code in ("0", "success", "OK")], [])
        for what in ("execve", "ptrace", "socket_unix", "mount", "fork"):
            equal(s["probe"][what], "EPERM", what)
        equal(s["probe"]["open_shadow"], "EACCES")
    else:
        assert "sanitizer" in s["seccomp"]["why"] or not s["seccomp"]["on"] or not s["landlock"]["on"]


@needs("root")
def test_nobody_serves(t):
    """Root's mount of what everybody may read is served by a nobody."""
    v = open_to_all(t, t.volume(**VOLUME))
    m, s = sandbox_of(t, v)
    equal((s["uid"], s["gid"]), (NOBODY, NOBODY))
    check_layers(s)
    with open("/proc/%d/status" % m.stats("server.pid")) as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    equal(status["Uid"].split(), [str(NOBODY)] * 4)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        equal(int(status[name], 16), 0, name)
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
    check_layers(m.stats()["sandbox"])
