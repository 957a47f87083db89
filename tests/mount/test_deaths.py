# SPDX-License-Identifier: Apache-2.0
"""Servers that die at awkward moments: while they start, while the mount ends, under thousands of open files, with a store
that misbehaves, or for an ordinary user. test_crash.py has the plain cases, and the storm."""
import errno
import json
import os
import random
import resource
import select
import signal
import time

from kit import equal, fails, needs, read_file, takes
from supervise import MNT_DETACH, process_table, umount
from test_crash import box, kill_server, server_of, stop_server, VOLUME
from volumes import box_name

PACKED = dict(size=(256, 128, 64), chunk=(32, 32, 32), dtype="uint16", kind="grey", pack="gzip")


def servers_below(keeper):
    """Every server there is: the keeper's children."""
    try:
        with open("/proc/%d/task/%d/children" % (keeper, keeper)) as f:
            return [int(p) for p in f.read().split()]
    except FileNotFoundError:
        return []


def kill_any(keeper):
    """Kills whatever server there is, started or not; how many."""
    n = 0
    for pid in servers_below(keeper):
        try:
            os.kill(pid, signal.SIGKILL)
            n += 1
        except ProcessLookupError:
            pass
    return n


@needs("root", "setpriv", "fusermount3")
def test_ordinary_user(t):
    """A mount of nobody's survives as root's does, with what is resident."""
    v = t.volume(**VOLUME)
    t.own_namespace()
    m = t.mount(v, nobody=True)

    def stats():
        return t.client(m.stats, nobody=True).result()

    for i in (1, 2):
        equal(t.client(read_file, m.file(box(i)), nobody=True).result(), v.bytes(box(i)))
    for kills in range(1, 4):
        before = stats()["server"]["pid"]
        os.kill(before, signal.SIGKILL)
        for i in (1, 2):
            equal(t.client(read_file, m.file(box(i)), nobody=True).result(), v.bytes(box(i)))
        now = stats()
        assert now["server"]["pid"] != before
        equal(now["server"]["starts"], kills + 1)
        equal(now["chunks"]["fetched"], 0)
        equal(now["cache"]["objects"], 2)
    equal(t.client(read_file, m.file(box(3)), nobody=True).result(), v.bytes(box(3)))


def test_killed_while_starting(t):
    """Each server is killed as soon as it is there, again and again; the one that is left alone serves."""
    v = t.volume(**VOLUME)
    m = t.mount(v)
    m.check(box(1))
    kills = 0
    for _ in range(t.scaled(5, 2)):
        waiting = t.client(read_file, m.file(box(2)))
        seen = set()
        while len(seen) < 8:
            for pid in servers_below(m.pid):
                for _ in range(t.random.randrange(0, 2000)):  # an instant nobody chose
                    pass
                try:
                    os.kill(pid, signal.SIGKILL)
                    seen.add(pid)
                except ProcessLookupError:
                    pass
        kills += len(seen)
        equal(waiting.result(), v.bytes(box(2)))
        m.check(box(1))
    assert m.stats("server.starts") <= kills + 1
    equal(m.stats("cache.open_objects"), 0)
    m.until_stats("cache.pinned_bytes", 0)
    equal(m.errors(), "")


def test_killed_while_unmounting(t):
    """umount ends the mount, and the keeper ends well, whether the server lives, dies or starts."""
    v = t.volume(**VOLUME)
    for i in range(t.scaled(12, 4)):
        m = t.mount(v)
        m.check(box(1))
        if i % 3 == 0:
            equal(umount(m.path, MNT_DETACH), 0)
            kill_any(m.pid)
        elif i % 3 == 1:
            kill_any(m.pid)
            equal(umount(m.path, MNT_DETACH), 0)
        else:
            server = server_of(m)
            os.kill(server, signal.SIGKILL)
            t.until(lambda: any(p != server for p in servers_below(m.pid)), "another server")
            equal(umount(m.path, MNT_DETACH), 0)
            kill_any(m.pid)
        m.finish()
        assert not m.is_mounted()


def test_ended_while_dead(t):
    """SIGTERM to the keeper while there is no server, or one that has just begun."""
    v = t.volume(**VOLUME)
    for i in range(t.scaled(9, 3)):
        m = t.mount(v)
        m.check(box(1))
        server = server_of(m)
        if i % 3 == 0:
            os.kill(m.pid, signal.SIGSTOP)  # it hears of both at once
            os.kill(server, signal.SIGKILL)
            os.kill(m.pid, signal.SIGTERM)
            os.kill(m.pid, signal.SIGCONT)
        elif i % 3 == 1:
            os.kill(server, signal.SIGKILL)
            t.until(lambda: any(p != server for p in servers_below(m.pid)), "another server")
            os.kill(m.pid, signal.SIGTERM)
        else:
            os.kill(server, signal.SIGKILL)
            os.kill(m.pid, signal.SIGTERM)
        m.finish()
        assert not m.is_mounted()


def test_upgrade_asked_while_nobody_serves(t):
    """It is begun as soon as somebody does."""
    m = t.mount(t.volume(**VOLUME))
    dead = server_of(m)
    os.kill(dead, signal.SIGKILL)
    t.until(lambda: dead not in process_table(), "the server is gone")
    os.kill(m.pid, signal.SIGHUP)
    m.until_stats("server.starts", 3)
    m.check(box(1))


def test_waiters_when_all_ends(t):
    """Who waits when the mount is ended while no server lives hears of it."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v)
    d.rules({"match": "/4_4_40/", "do": "stall", "at": "head"})
    c = t.client(read_file, m.file(box(1)))
    t.until(lambda: d.counts()["total"] >= 6, "the server is asked")
    os.kill(server_of(m), signal.SIGSTOP)
    os.kill(m.pid, signal.SIGTERM)
    try:
        c.result()
        raise AssertionError("read in spite of the end")
    except OSError as e:
        assert e.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EINTR, errno.ENODEV), e
    m.finish()


def test_stopped_server(t):
    """A server that stands still keeps those waiting who ask it, and nobody else; it goes on where it stood."""
    v = t.volume(**VOLUME)
    m = t.mount(v)
    m.check(box(1))
    fd = os.open(m.file(box(1)), os.O_RDONLY)
    passthrough = m.passthrough()
    server = stop_server(t, m)
    c = t.client(read_file, m.file(box(2)))
    if passthrough:
        equal(t.client(os.pread, fd, 100, 50, keep=[fd]).result(), v.bytes(box(1))[50:150])
    t.until(lambda: process_table().get(c.pid, (0, "?"))[1] in "SD", "who asks waits")
    assert c.running()
    os.kill(server, signal.SIGCONT)
    equal(c.result(), v.bytes(box(2)))
    equal(server_of(m), server)
    os.kill(server, signal.SIGSTOP)
    c = t.client(read_file, m.file(box(3)))
    os.kill(server, signal.SIGKILL)
    equal(c.result(), v.bytes(box(3)))
    os.close(fd)


def test_deadline_of_one_that_waits_through_deaths(t):
    """A store that never answers, servers that die: the open still ends with ETIMEDOUT."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v, "timeout=2,stall=3600,tries=1")
    d.rules({"match": "/4_4_40/", "do": "stall", "at": "head"})
    c = t.client(read_file, m.file(box(1)))
    t.until(lambda: d.counts()["total"] >= 6, "the server is asked")
    kill_server(m)
    fails(errno.ETIMEDOUT, c.result)
    d.rules()
    m.check(box(1))


def hold_many(files, wants, ready, go):
    """Opens each file many times, waits, and reads a little of each."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
    fds = [os.open(f, os.O_RDONLY) for f in files]
    os.write(ready, b"x")
    os.read(go, 1)
    for i, fd in enumerate(fds):
        at = i * 37 % (len(wants[i]) - 64)
        if os.pread(fd, 64, at) != wants[i][at:at + 64]:
            raise AssertionError("%s: wrong bytes" % files[i])
    for fd in fds:
        os.close(fd)
    return len(fds)


@takes(300)
def test_many_open_files(t):
    """Thousands of open files of fifty boxes, and of lazy ones, across deaths."""
    many = t.scaled(5000, 500)
    v = t.volume(**VOLUME)
    for options in ("", "zerocopy=off"):
        m = t.mount(v, options)
        boxes = [((i, i + 16), (0, 16), (0, 16)) for i in range(50)]
        files = [m.file(boxes[i % 50]) if i % 100 else m.file("all.raw") for i in range(many)]
        wants = [v.bytes(boxes[i % 50]) if i % 100 else v.bytes(v.bounds())[:8192] for i in range(many)]
        ready, go = t.pipes()
        c = t.client(hold_many, files, wants, ready[1], go[0], keep=(ready[1], go[0]))
        t.until(lambda: select.select([ready[0]], [], [], 0)[0] or not c.running(), "all files are open", 100)
        kill_server(m)
        kill_server(m)
        equal(m.stats("cache.open_objects"), 50)
        os.write(go[1], b"x")
        equal(c.result(), many)
        m.until_stats("cache.open_objects", 0)
        m.until_stats("cache.pinned_bytes", 0)
        for b in boxes[:5]:
            m.check(b)


def test_source_vanishes(t):
    """What is known of a volume outlives its directory: a server comes up without it, and what is resident is served."""
    v = t.copy(t.volume(**VOLUME))
    m = t.mount(v)
    m.check(box(1))
    os.rename(v.path, v.path + ".gone")
    kill_server(m)
    m.check(box(1))
    try:
        m.read(box(2))
        raise AssertionError("read what is not there")
    except OSError as e:
        equal(errno.errorcode[e.errno], "EHOSTUNREACH")
    os.rename(v.path + ".gone", v.path)
    kill_server(m)
    m.check(box(2))
    equal(m.stats("server.starts"), 3)


def held_list(pid):
    """The list of volumes as a server has it, open for writing."""
    folder = "/proc/%d/fd" % pid
    for n in os.listdir(folder):
        if "voxfs-list" in os.readlink(os.path.join(folder, n)):
            return os.open(os.path.join(folder, n), os.O_RDWR)
    raise AssertionError("the server has no list")


def test_list_changes(t):
    """The list of volumes is what it was when the mount was made: boxes of one volume are never taken for another's."""
    a, b = t.volume(seed=1, **VOLUME), t.volume(seed=2, **VOLUME)
    listed = t.name("list") + ".json"

    def write(*volumes):
        with open(listed, "w") as f:
            json.dump({"volumes": [{"source": "precomputed://file://" + v.path, "name": n} for n, v in volumes]}, f)

    write(("a", a), ("b", b))
    m = t.mount(listed)
    m.check(box(1), volume=a, name="a")
    fd = os.open(m.file(box(1), name="a"), os.O_RDONLY)
    write(("b", b), ("a", a))
    kill_server(m)
    for name, v in (("a", a), ("b", b)):
        m.check(box(1), volume=v, name=name)
        m.check(box(2), volume=v, name=name)
    os.unlink(listed)
    kill_server(m)
    for name, v in (("a", a), ("b", b)):
        m.check(box(1), volume=v, name=name)
        m.check(box(3), volume=v, name=name)
    equal(os.pread(fd, 1 << 20, 0), a.bytes(box(1)))
    os.close(fd)
    held = held_list(m.stats("server.pid"))  # nor can a server tell the next one another list
    fails(errno.EPERM, os.write, held, b"{}")
    fails(errno.EPERM, os.ftruncate, held, 0)
    os.close(held)
    equal(sorted(n for n in os.listdir(m.path) if not n.startswith(".")), ["a", "b"])


ALLOWED = (errno.EIO, errno.EBADMSG, errno.ETIMEDOUT, errno.EHOSTUNREACH)


def churn_through_faults(path, seed, jobs):
    """Reads until told to stop: right bytes, or an errno that a bad store explains. (good, bad)."""
    rng = random.Random(seed)
    good = bad = 0
    stop = os.path.join(path, "..", "stop")
    while not os.path.exists(stop):
        name, want = rng.choice(jobs)
        try:
            got = read_file(os.path.join(path, name))
        except OSError as e:
            if e.errno not in ALLOWED:
                raise AssertionError("%s: %s" % (name, e)) from None
            bad += 1
            continue
        if got != want:
            raise AssertionError("%s: %d bytes, wrong ones" % (name, len(got)))
        good += 1
    return good, bad


@takes(900)
def test_storm_with_faults(t):
    """Kills while the store delays, cuts off, lies, spoils and refuses: right bytes, or the errno that says so."""
    kills = int(os.environ.get("VOXFS_KILLS", "8"))
    v = t.volume(**PACKED)
    m, d = t.mount_http(v, "eager=1M,tries=2,stall=2,timeout=20", cache="4M")
    faults = [
        {"do": "delay", "ms": 20},
        {"do": "cut"},
        {"do": "lie", "delta": 5},
        {"do": "lie", "delta": -5},
        {"do": "garbage", "where": "body"},
        {"do": "garbage"},
        {"do": "reset"},
        {"do": "reset", "after": 100},
        {"do": "nolength"},
        {"do": "encoding"},
        {"do": "oversize", "bytes": 100},
        {"do": "status", "status": 503},
        {"do": "stall"},
    ]
    jobs = []
    for _ in range(40):
        b = v.random_box(t.random, most=1 << 18)
        jobs.append(("v/" + box_name(b), v.bytes(b)))
    readers = [t.client(churn_through_faults, m.path, t.random.random(), jobs) for _ in range(4)]
    for _ in range(kills):
        d.rules(*({"match": "/4_4_40/", "times": 2, "skip": t.random.randrange(20), **f}
                  for f in t.random.sample(faults, 4)))
        time.sleep(t.random.uniform(0.05, 0.5))  # an instant nobody chose
        kill_server(m, wait=False)
    open(os.path.join(m.path, "..", "stop"), "w").close()
    results = [r.result(200) for r in readers]
    assert sum(good for good, _ in results), results
    d.rules()
    for name, want in jobs[:10]:
        equal(read_file(os.path.join(m.path, name)), want, name)
    equal(m.stats("server.starts"), kills + 1)
    m.until_stats("cache.open_objects", 0)
    m.until_stats("cache.pinned_bytes", 0)


def churn_gently(path, seed, jobs):
    good, bad = churn_through_faults(path, seed, jobs)
    equal(bad, 0, "errors")
    return good


def upgraded(m, there):
    """Whether a server has been started beside those: one that has only just begun to serve is not replaced."""
    os.kill(m.pid, signal.SIGHUP)
    return set(servers_below(m.pid)) - set(there)


@takes(300)
def test_upgrades_in_a_storm(t):
    """Servers are replaced and killed at once: nobody notices, and in the end another takes over as ever."""
    v = t.volume(**PACKED)
    m = t.mount(v, "eager=1M", cache="4M")
    jobs = []
    for _ in range(20):
        b = v.random_box(t.random, most=1 << 18)
        jobs.append(("v/" + box_name(b), v.bytes(b)))
    readers = [t.client(churn_gently, m.path, t.random.random(), jobs) for _ in range(3)]
    for i in range(t.scaled(6, 2)):
        if i % 2:
            t.until(lambda: len(servers_below(m.pid)) == 1, "one server is left")
            there = servers_below(m.pid)
            t.until(lambda: upgraded(m, there), "a second server")
        else:
            os.kill(m.pid, signal.SIGHUP)
        time.sleep(t.random.uniform(0, 0.15))  # an instant nobody chose
        pids = servers_below(m.pid)
        if pids:
            try:
                os.kill(t.random.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                pass
        m.stats()
    open(os.path.join(m.path, "..", "stop"), "w").close()
    assert sum(r.result(120) for r in readers) > 0
    t.until(lambda: len(servers_below(m.pid)) == 1, "one server is left")
    before = m.stats("server.starts")
    r = t.run(t.settings.voxfs, "--upgrade", m.path)
    equal((r.returncode, r.stderr), (0, ""))
    assert m.stats("server.starts") > before
    m.until_stats("cache.open_objects", 0)
    m.until_stats("cache.pinned_bytes", 0)
    s = m.stats()
    if s["zerocopy"]["mode"] == "passthrough":
        equal(s["keeper"]["registered"], s["cache"]["shared_objects"])
