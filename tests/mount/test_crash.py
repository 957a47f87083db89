# SPDX-License-Identifier: Apache-2.0
"""The server dies, at any instant and as often as it likes: no reader sees an error. VOXFS_KILLS=200 makes the storm the
long one that a release is tried with."""
import errno
import itertools
import json
import mmap
import os
import random
import select
import shutil
import signal
import time

from kit import equal, fails, needs, read_file, takes
from supervise import MNT_DETACH, umount
from volumes import box_name

VOLUME = dict(size=(256, 128, 64), chunk=(32, 32, 32), dtype="uint16", kind="grey")
SEGMENTS = dict(size=(256, 128, 64), chunk=(64, 64, 32), dtype="uint64", kind="labels",
                encoding="compressed_segmentation", pack="gzip")


def server_of(m):
    return m.stats("server.pid")


def kill_server(m, sig=signal.SIGKILL, wait=True):
    """Kills the server of a mount; returns when another serves."""
    before = m.stats("server.starts")
    fd = os.pidfd_open(server_of(m))
    signal.pidfd_send_signal(fd, sig)
    select.select([fd], [], [])
    os.close(fd)
    if wait:
        assert m.stats("server.starts") > before


def box(i):
    return ((32 * i, 32 * i + 32), (0, 96), (0, 64))


def both_modes(t, check):
    """Runs check(t, mount) with passthrough, where it can be had, and through the page cache."""
    v = t.volume(**VOLUME)
    for options in ("", "zerocopy=off"):
        check(t, v, t.mount(v, options))


def test_resident_boxes_stay(t):
    def check(t, v, m):
        whole = v.bytes(box(1))
        m.check(box(1))
        fd = os.open(m.file(box(1)), os.O_RDONLY)
        mapped = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
        first = server_of(m)
        kill_server(m)
        assert server_of(m) != first
        equal(m.stats("server.starts"), 2)
        equal(mapped[:], whole, "a map across the death")
        equal(os.pread(fd, len(whole), 0), whole, "an open file across the death")
        m.check(box(1))
        equal(m.stats("chunks.fetched"), 0, "chunks fetched by the new server")
        equal(m.stats("cache.objects"), 1)
        mapped.close()
        os.close(fd)
        m.until_stats("cache.pinned_bytes", 0)
        m.check(box(2))
    both_modes(t, check)


def test_names_stay(t):
    """Numbers that the kernel holds mean the same after the death; what was opened goes on."""
    def check(t, v, m):
        there = os.stat(m.file(box(1)))
        folder = os.open(os.path.join(m.path, "v"), os.O_RDONLY | os.O_DIRECTORY)
        os.chdir(folder)
        stats = os.open(os.path.join(m.path, ".voxfs", "stats.json"), os.O_RDONLY)
        some = os.pread(stats, 10, 0)
        kill_server(m)
        again = os.stat(m.file(box(1)))
        equal((again.st_ino, again.st_size, again.st_mtime_ns), (there.st_ino, there.st_size, there.st_mtime_ns))
        equal(read_file(box_name(box(1))), v.bytes(box(1)))
        assert "info.json" in os.listdir(folder)
        equal(os.pread(stats, 10, 0), some)
        json.loads(os.pread(stats, 1 << 20, 0))
        os.close(stats)
        os.chdir("/")
        os.close(folder)
    both_modes(t, check)


def list_for_ever(folder):
    while True:
        os.listdir(folder)


def name_for_ever(folder, first):
    """Names that nobody has asked for before: the server asks others back."""
    for i in itertools.count(first):
        x, y, z = i % 200, i // 200 % 100, i // 20000 % 60
        os.stat(os.path.join(folder, "%d-%d_%d-%d_%d-%d.raw" % (x, x + 1 + i // 1200000, y, y + 1, z, z + 1)))


def storm_of_names(t, m):
    folder = os.path.dirname(m.file("all.raw"))
    clients = [t.client(list_for_ever, folder) for _ in range(2)]
    clients += [t.client(name_for_ever, folder, i * 600000) for i in range(2)]
    t.until(lambda: m.stats("server.nodes") > 16384, "names are asked back", 60)
    return clients


@takes(240)
def test_names_asked_back_at_the_death(t):
    """A server may die while its thread waits, and cannot be interrupted, for the lock of a folder; who holds that waits
    for an answer, which only the next server will give."""
    m = t.mount(t.volume(**VOLUME))
    clients = storm_of_names(t, m)
    for _ in range(t.scaled(40, 10)):
        time.sleep(t.random.uniform(0, 0.1))  # how far they get is chance
        kill_server(m)
    for c in clients:
        c.kill()
    m.check(box(1))


@takes(240)
def test_names_asked_back_at_the_end(t):
    """The same when no other server will come: everybody is answered all the same."""
    for _ in range(t.scaled(6, 2)):
        m = t.mount(t.volume(**VOLUME))
        clients = storm_of_names(t, m)
        fd = os.pidfd_open(server_of(m))
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        m.process.send_signal(signal.SIGTERM)
        m.finish()
        os.close(fd)
        for c in clients:
            c.wait()
        equal(m.is_mounted(), False)


def read_lazily_across(m_path, name, pipe_in, pipe_out):
    fd = os.open(os.path.join(m_path, "v", name), os.O_RDONLY)
    first = os.pread(fd, 100000, 0)
    os.write(pipe_out, b"x")
    os.read(pipe_in, 1)
    return first + os.pread(fd, os.fstat(fd).st_size, 100000)


def test_lazy_files_go_on(t):
    v = t.volume(**VOLUME)
    m = t.mount(v, "eager=4K")
    fd = os.open(os.path.join(m.path, "v", "all.raw"), os.O_RDONLY)
    mapped = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    whole = v.bytes(v.bounds())
    equal(os.pread(fd, 5000, 70000), whole[70000:75000])
    for _ in range(3):
        kill_server(m)
        equal(os.pread(fd, 100000, 1234), whole[1234:101234])
    equal(mapped[:], whole)
    mapped.close()
    os.close(fd)


def test_blocked_opens_are_answered(t):
    """Those who wait when the server dies are served by the next one."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v)
    d.rules({"match": "/4_4_40/", "do": "stall", "at": "head"})
    waiting = [t.client(read_file, m.file(b)) for b in (box(1), box(1), box(3))]
    t.until(lambda: d.counts()["total"] >= 12, "the server is asked")
    kill_server(m, wait=False)
    d.rules()
    for c, b in zip(waiting, (box(1), box(1), box(3))):
        equal(c.result(), v.bytes(b))
    m.until_stats("cache.open_objects", 0)
    m.until_stats("cache.pinned_bytes", 0)


def test_interrupts_after_a_death(t):
    """A request that was sent twice can be interrupted like any other."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v, "stall=3600,tries=1")
    d.rules({"match": "/4_4_40/", "do": "stall", "at": "head"})
    c = t.client(read_file, m.file(box(1)))
    t.until(lambda: d.counts()["total"] >= 6, "the server is asked")
    before = d.counts()["total"]
    kill_server(m)
    t.until(lambda: d.counts()["total"] > before, "the new server asks too")
    c.kill()
    assert c.wait() != 0
    d.rules()
    m.check(box(1))


def churn(path, seed, jobs):
    """Reads random boxes of both volumes in all the ways there are, until told to stop; how many."""
    rng = random.Random(seed)
    done = 0
    stop = os.path.join(path, "..", "stop")
    while not os.path.exists(stop):
        name, want = rng.choice(jobs)
        file = os.path.join(path, name)
        way = rng.randrange(4)
        fd = os.open(file, os.O_RDONLY)
        try:
            size = os.fstat(fd).st_size
            if way == 0:
                m = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
                os.close(fd)
                fd = -1
                got = m[:]
                m.close()
            elif way == 1:
                got = b"".join(os.pread(fd, 50000, at) for at in range(0, size, 50000))
            else:
                got = b""
                while len(got) < size:
                    got += os.read(fd, size)
            if got != want:
                raise AssertionError("%s: %d bytes, wrong ones" % (file, len(got)))
        finally:
            if fd >= 0:
                os.close(fd)
        done += 1
    return done


def storm_jobs(volumes, rng):
    jobs = []
    for name, v in volumes:
        for _ in range(40):
            b = v.random_box(rng, most=1 << 19)
            jobs.append(("%s/%s" % (name, box_name(b)), v.bytes(b)))
        jobs.append((name + "/all.raw", v.bytes(v.bounds())))
    return jobs


@takes(900)
def test_storm(t):
    """Kills at random instants under readers of every kind, with a cache far too small."""
    kills = int(os.environ.get("VOXFS_KILLS", "12"))
    a, b = t.volume(**VOLUME), t.volume(**SEGMENTS)
    d = t.faultd(b.path)
    listed = t.name("list") + ".json"
    with open(listed, "w") as f:
        json.dump({"volumes": [{"source": "precomputed://file://" + a.path, "name": "a"},
                               {"source": d.url, "name": "b"}]}, f)
    d.rules({"match": "/4_4_40/", "do": "delay", "ms": 5})
    m = t.mount(listed, "eager=1M,tries=100", cache="4M")
    jobs = storm_jobs((("a", a), ("b", b)), t.random)
    readers = [t.client(churn, m.path, t.random.random(), jobs) for _ in range(6)]
    for _ in range(kills):
        time.sleep(t.random.uniform(0, 0.4))  # an instant nobody chose
        kill_server(m, wait=False)
    open(os.path.join(m.path, "..", "stop"), "w").close()
    assert sum(r.result(120) for r in readers) > kills
    equal(m.stats("server.starts"), kills + 1)
    equal(m.errors(), "")
    m.until_stats("cache.open_objects", 0)
    m.until_stats("cache.mapped_objects", 0)
    equal(m.stats("cache.pinned_bytes"), 0)
    s = m.stats()
    if s["zerocopy"]["mode"] == "passthrough":
        # What is registered are whole boxes and the few that were made ready; no number was lost by a death.
        equal(s["cache"]["shared_objects"], s["cache"]["objects"])
        equal(s["keeper"]["registered"], s["cache"]["shared_objects"])


def open_and_close(path, names):
    """Opens resident boxes until told to stop, and does nothing with them; how many."""
    done = 0
    while not os.path.exists(os.path.join(path, "..", "stop")):
        for name in names:
            os.close(os.open(name, os.O_RDONLY))
        done += len(names)
    return done


@takes(900)
def test_opens_count_once(t):
    """An open that a server has written down and not answered is sent again: it counts once, and so does its end."""
    v = t.volume(**VOLUME)
    m = t.mount(v)
    boxes = [((i, i + 8), (0, 8), (0, 8)) for i in range(20)]
    for b in boxes:
        m.check(b)
    clients = [t.client(open_and_close, m.path, [m.file(b) for b in boxes]) for _ in range(4)]
    kills = int(os.environ.get("VOXFS_KILLS", "12"))
    for _ in range(kills):
        time.sleep(t.random.uniform(0, 0.05))  # an instant nobody chose
        kill_server(m, wait=False)
    open(os.path.join(m.path, "..", "stop"), "w").close()
    assert all(c.result() > 0 for c in clients)
    equal(m.stats("server.starts"), kills + 1)
    m.until_stats("cache.open_objects", 0)
    m.until_stats("cache.pinned_bytes", 0)
    equal((m.stats("cache.objects"), m.stats("chunks.fetched")), (len(boxes), 0))


@takes(300)
def test_poisonous_chunk(t):
    """A chunk that servers die of is given up after the second death, whoever asks for it."""
    v = t.volume(size=(512, 512, 128), chunk=((512, 512, 128),), dtype="uint64", kind="labels", pack="gzip")
    m = t.mount(v, cache="600M")
    c = t.client(read_file, m.file(((0, 8), (0, 8), (0, 8))))
    kills = 0
    while c.running() and kills < 10:
        t.until(lambda: not c.running() or m.stats("chunks.fetched") > 0, "a worker unpacks it")
        if c.running():
            kill_server(m, signal.SIGABRT)  # sanitizers say much about other faults
            kills += 1
    fails(errno.EBADMSG, c.result)
    assert "servers have died of it" in m.errors(), m.errors()
    assert "died while it worked on chunk" in m.said(), m.said()
    fails(errno.EBADMSG, read_file, m.file(((8, 16), (0, 8), (0, 8))))


def test_upgrade(t):
    """A new server takes over a live mount: nobody notices."""
    v = t.volume(**VOLUME)
    m = t.mount(v, "eager=64K")
    m.check(((0, 32), (0, 32), (0, 16)))
    fd = os.open(os.path.join(m.path, "v", "all.raw"), os.O_RDONLY)
    whole = v.bytes(v.bounds())
    equal(os.pread(fd, 5000, 0), whole[:5000])
    first = server_of(m)
    r = t.run(t.settings.voxfs, "--upgrade", m.path)
    equal((r.returncode, r.stderr), (0, ""))
    assert server_of(m) != first
    equal(m.stats("server.starts"), 2)
    equal(os.pread(fd, 100000, 4000), whole[4000:104000])
    os.close(fd)
    m.check(((0, 32), (0, 32), (0, 16)))
    equal(m.stats("cache.objects"), 1)
    os.kill(m.pid, signal.SIGHUP)
    t.until(lambda: m.stats("server.starts") == 3, "another one")
    r = t.run(t.settings.voxfs, "--upgrade", t.top)
    equal(r.returncode, 32)


def test_refused_upgrade(t):
    """A program that cannot take over: who asked hears of it, and the old one serves on, also after a death."""
    v = t.volume(**VOLUME)
    program = shutil.copy(t.settings.voxfs, t.name("bin"))
    m = t.mount(v, executable=program)
    m.check(box(0))
    first = server_of(m)
    for i, kind in enumerate(("no program", "not there")):
        os.unlink(program)
        if kind == "no program":
            with open(program, "w") as f:
                f.write("#!/bin/false")
            os.chmod(program, 0o755)
        r = t.run(t.settings.voxfs, "--upgrade", m.path)
        equal(r.returncode, 32)
        assert "the new program cannot take over" in r.stderr, r.stderr
        equal(m.stats("keeper.refused"), i + 1)
        equal(server_of(m), first)
    kill_server(m)
    m.check(box(0))
    m.check(box(1))
    equal(m.stats("keeper.refused"), 0)
    shutil.copy(t.settings.voxfs, program)
    r = t.run(t.settings.voxfs, "--upgrade", m.path)
    equal((r.returncode, r.stderr), (0, ""))
    m.check(box(2))


def stop_server(t, m):
    """A process is not stopped as soon as it is told to."""
    pid = server_of(m)

    def stopped():
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/stat" % (pid, task)) as f:
                if f.read().rsplit(")", 1)[1].split()[0] != "T":
                    return False
        return True
    os.kill(pid, signal.SIGSTOP)
    t.until(stopped, "all threads are stopped")
    return pid


@takes(200)
def test_stopped_server(t):
    """A server that says nothing any more is taken for dead."""
    v = t.volume(**VOLUME)
    m = t.mount(v, "timeout=1")
    m.check(box(1))
    stop_server(t, m)
    m.check(box(2))
    equal(m.stats("server.starts"), 2)
    m.check(box(1))
    assert "the server has said nothing" in m.said(), m.said()


def test_unmounted_while_dead(t):
    """umount works whatever the server is doing, or whether there is one."""
    v = t.volume(**VOLUME)
    m = t.mount(v)
    server = stop_server(t, m)
    equal(umount(m.path, MNT_DETACH), 0)
    os.kill(server, signal.SIGKILL)
    m.finish()


def test_keeper_killed(t):
    """Without its keeper the server ends, and the mount with it; maps live."""
    v = t.volume(**VOLUME)
    m = t.mount(v)
    passthrough = m.passthrough()
    fd = os.open(m.file(box(0)), os.O_RDONLY)
    mapped = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    server = os.pidfd_open(server_of(m))
    m.process.kill()
    m.process.wait()
    m.abandon()
    assert select.select([server], [], [], t.seconds(20))[0], "the server goes on"
    os.close(server)
    fails(errno.ENOTCONN, os.listdir, m.path)
    fails(errno.ENOTCONN, os.open, m.file(box(1)), os.O_RDONLY)
    if passthrough:
        equal(mapped[:], v.bytes(box(0)), "the map after its server")
    mapped.close()
    os.close(fd)
    equal(umount(m.path, MNT_DETACH), 0)
