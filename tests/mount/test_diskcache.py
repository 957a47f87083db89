# SPDX-License-Identifier: Apache-2.0
"""The disk cache: what remote stores sent, found again by later and other mounts, and never wrong."""
import errno
import os
import select
import shutil
import signal

import arrays
from kit import equal, fails, needs, read_file, takes
from supervise import MNT_DETACH, umount

BOX = ((0, 96), (0, 96), (0, 64))  # 3 x 3 x 2 chunks
CHUNKS = 18
OTHER = ((96, 128), (0, 32), (0, 32))


def some_volume(t, **more):
    more.setdefault("pack", "gzip")
    return t.volume(size=(150, 130, 70), chunk=(32, 32, 32), **more)


def cached(t, directory, *more):
    return ",".join(["diskcache=" + directory, "tries=1"] + list(more))


def entries(directory):
    """Paths of all entries."""
    return sorted(os.path.join(d, f) for d, _, names in os.walk(directory) for f in names
                  if len(os.path.basename(d)) == 2)


def size_of(directory):
    return sum(-(-os.path.getsize(p) // 4096) * 4096 for p in entries(directory))


def written(m):
    m.until_stats("diskcache.waiting_bytes", 0)


def test_without_the_server(t):
    """Mounting and reading, with nobody at the other end."""
    v, d = some_volume(t), t.name("cache")
    m, f = t.mount_http(v, cached(t, d))
    m.check(BOX)
    equal(m.stats("diskcache.hits"), 0, "hits of an empty cache")
    m.close()
    equal(len(entries(d)), CHUNKS + 1, "entries: chunks and info")
    f.close()
    t.open.remove(f)
    m = t.mount(f.url, cached(t, d), volume=v)
    m.check(BOX)
    s = m.stats("diskcache.hits"), m.stats("diskcache.stale"), m.stats("diskcache.damaged")
    equal(s, (CHUNKS, 1, 0), "hits, stale, damaged")
    fails(errno.EHOSTUNREACH, m.read, OTHER)
    m.check(BOX)
    m.close()
    m = t.mount(f.url, cached(t, d, "diskcache_check=0"), volume=v)
    m.check(BOX)
    equal(m.stats("diskcache.stale"), CHUNKS + 1, "stale answers")
    m.close()


def test_a_second_mount_hits(t):
    """Another daemon finds at once what the first one has stored; ranges of one do not matter to the other."""
    v, d = some_volume(t), t.name("cache")
    m, f = t.mount_http(v, cached(t, d))
    m.check(BOX)
    written(m)
    f.reset()
    other = t.mount(f.url, cached(t, d), volume=v)
    other.check(BOX)
    equal(f.chunk_requests(), {}, "requests for chunks")
    equal(other.stats("diskcache.hits"), CHUNKS + 1, "hits: chunks and info")
    other.check(OTHER)
    written(other)
    third = t.mount(f.url, cached(t, d), volume=v)
    third.check(OTHER)
    equal(third.stats("diskcache.hits"), 2, "hits of what the second has stored")
    equal(sum(f.chunk_requests().values()), 1, "requests for chunks")
    equal(m.stats("diskcache.limit") > 0, True, "a limit")


def test_at_once(t):
    """Four daemons read the same cold boxes and write the same entries."""
    v, d = some_volume(t), t.name("cache")
    f = t.faultd(v.path)
    mounts = [t.mount(f.url, cached(t, d), volume=v) for _ in range(4)]
    t.clients([(m.check, BOX) for m in mounts] * 2)
    for m in mounts:
        m.close()
    equal(len(entries(d)), CHUNKS + 1, "entries")
    equal(os.listdir(d + "/new"), [], "files being written")
    f.rules({"match": "8_8_8|^/\\d", "do": "status", "status": 403})
    m = t.mount(f.url, cached(t, d), volume=v)
    m.check(BOX)


def statuses(n):
    """[(status, bytes sent)] that nginx has logged."""
    with open(n.top + "/access.txt") as f:
        lines = [line.split() for line in f if line.startswith("HTTP") and line.endswith("\n")]
    return [(int(s[2]), int(s[4])) for s in lines]


def log_of(t, n, requests):
    """The same, once nginx has logged so many: it does so after it has answered."""
    t.until(lambda: len(statuses(n)) >= requests, "the log of nginx")
    return statuses(n)


@needs("nginx")
def test_revalidation(t):
    """By ETag: what is unchanged costs a 304 without a body, what has changed is seen."""
    v, d = t.copy(some_volume(t, pack="none")), t.name("cache")
    n = t.nginx(v.path)
    m = t.mount(n.url, cached(t, d), volume=v)
    m.check(BOX)
    m.close()
    before = len(log_of(t, n, CHUNKS + 1))
    m = t.mount(n.url, cached(t, d, "diskcache_check=mount"), volume=v)
    m.check(BOX)
    equal(m.stats("diskcache.confirmed"), CHUNKS + 1, "confirmed")
    equal(set(log_of(t, n, before + CHUNKS + 1)[before:]), {(304, 0)}, "nginx's answers")
    m.close()
    # Confirmed a moment ago: young enough for a minute, too old for a new mount.
    m = t.mount(n.url, cached(t, d, "diskcache_check=6000"), volume=v)
    m.check(BOX)
    equal(m.stats("store.requests"), 1, "requests: for info")
    m.close()
    path = v.chunk_file(((0, 32), (0, 32), (0, 32)))
    with open(path, "r+b") as f:
        f.write(b"\xff" * 1000)
    os.utime(path, (1, 1))
    want = bytearray(v.bytes(BOX))
    for i in range(1000):
        x, y, z = i % 32, i // 32 % 32, i // 1024
        want[(z * 96 + y) * 96 + x] = 0xff
    m = t.mount(n.url, cached(t, d, "diskcache_check=never"), volume=v)
    equal(m.read(BOX), v.bytes(BOX), "without asking")
    m.close()
    m = t.mount(n.url, cached(t, d, "diskcache_check=0"), volume=v)
    before = len(log_of(t, n, 2 * (CHUNKS + 1) + 3))
    equal(m.read(BOX), bytes(want), "the changed box")
    answers = sorted(s for s, _ in log_of(t, n, before + CHUNKS)[before:])
    equal(answers, [200] + [304] * (CHUNKS - 1), "nginx's answers")
    m.close()
    n.close()
    t.open.remove(n)
    m = t.mount(n.url, cached(t, d, "diskcache_check=0"), volume=v)
    equal(m.read(BOX), bytes(want), "with nginx gone")


def test_documents_are_always_asked_for(t):
    """A volume that has grown is seen by the next mount, whatever diskcache_check says."""
    v, d = t.copy(some_volume(t)), t.name("cache")
    m, f = t.mount_http(v, cached(t, d))
    m.close()
    with open(v.path + "/info") as file:
        text = file.read()
    with open(v.path + "/info", "w") as file:
        file.write(text.replace("uint8", "int8"))
    m = t.mount(f.url, cached(t, d), volume=v)
    info = os.path.join(m.path, "v", "info.json")
    with open(info) as file:
        equal('"int8"' in file.read(), True, "the new type in info.json")
    m.close()
    with open(v.path + "/info", "w") as file:
        file.write("{")
    said = t.mount_fails(f.url, cached(t, d))
    assert "/info: info is not JSON: line 1" in said, said
    with open(v.path + "/info", "w") as file:
        file.write(text)
    m = t.mount(f.url, cached(t, d), volume=v)
    m.check(BOX)


def documents(t):
    """(top, path of a document) of each kind whose sense is made out while a volume is opened."""
    data = arrays.numbers((5, 6, 7), "uint16")
    v = t.copy(some_volume(t))
    yield v.path, "info"
    for write, path in ((arrays.zarr2, ".zarray"), (arrays.zarr3, "zarr.json"), (arrays.n5, "attributes.json")):
        for below in ("", "s0"):
            top = t.name("top")
            write(top, below, data, (3, 4, 5))
            if below:
                arrays.put(top, ".zattrs", {"multiscales": [arrays.ome([below], "zyx")]})
                arrays.put(top, "attributes.json", {"scales": [[1, 1, 1]]})
                arrays.put(top, "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {
                    "version": "0.5", "multiscales": [arrays.ome([below], "zyx")]}}})
                for other in {"zarr.json", ".zattrs", "attributes.json"} - {path.replace(".zarray", ".zattrs")}:
                    os.remove(os.path.join(top, other))
                yield top, path.replace(".zarray", ".zattrs")
            yield top, os.path.join(below, path)
    top = t.name("top")
    arrays.bdv(top, 0, 0, [data], (3, 4, 5))
    yield top, "setup0/attributes.json"


def test_documents_without_sense_are_not_kept(t):
    """Else they would be all that there is once the store is gone."""
    for top, path in documents(t):
        with open(os.path.join(top, path)) as file:
            good = file.read()
        for bad in ("{\"not json", "<html>nothing</html>"):
            if bad[0] == "<" and path == "attributes.json" and os.path.exists(top + "/s0"):
                continue  # a group of N5 needs none
            d, f = t.name("cache"), t.faultd(top)
            arrays.put(top, path, bad)
            said = t.mount_fails(f.url.replace("precomputed://", ""), cached(t, d))
            assert os.path.basename(path) in said, "%s in %s: %s" % (bad, path, said)
            for entry in entries(d):
                with open(entry, "rb") as file:
                    assert bad.encode() not in file.read(), "%s is kept: %s" % (path, bad)
            arrays.put(top, path, good)
            t.mount(f.url.replace("precomputed://", ""), cached(t, d)).close()


@needs("root")
def test_a_full_disk(t):
    t.own_namespace()
    v, d = some_volume(t, pack="none"), t.name("cache")
    os.mkdir(d)
    equal(t.run("mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "none", d).returncode, 0, "mount")
    try:
        m, f = t.mount_http(v, cached(t, d, "diskcache_size=64M"))
        m.check(BOX)
        m.check(OTHER)
        written(m)
        equal(m.stats("diskcache.io_errors") > 0, True, "the disk was full")
        equal(m.said().count("disk cache"), 1, "lines in the log")
        equal(m.stats("chunks.failed"), 0, "failures")
        m.close()
        m = t.mount(f.url, cached(t, d, "diskcache_size=64M"), volume=v)
        m.check(BOX)
        equal(m.stats("diskcache.damaged"), 0, "damaged")
        equal(m.stats("diskcache.hits") > 0, True, "hits")
        m.close()
    finally:
        umount(d)


@needs("root")
def test_a_read_only_directory(t):
    t.own_namespace()
    v, d = some_volume(t), t.name("cache")
    m, f = t.mount_http(v, cached(t, d))
    m.check(BOX)
    m.close()
    with open(entries(d)[3], "r+b") as file:
        file.write(b"?")
    equal(t.run("mount", "--bind", d, d).returncode, 0, "bind")
    equal(t.run("mount", "-o", "remount,bind,ro", d).returncode, 0, "remount")
    try:
        m = t.mount(f.url, cached(t, d), volume=v)
        m.check(BOX)
        m.check(OTHER)
        m.check(BOX)
        written(m)
        s = m.stats()["diskcache"]
        equal(s["hits"] + s["confirmed"] >= CHUNKS, True, "hits")
        equal((s["damaged"], s["stored"]), (1, 0), "damaged, stored")
        equal(m.said().count("disk cache"), 1, "lines in the log")
        m.close()
    finally:
        umount(d)


def test_damaged_entries(t):
    v, d = some_volume(t), t.name("cache")
    m, f = t.mount_http(v, cached(t, d))
    m.check(BOX)
    m.close()
    for round in range(3):
        for path in entries(d):
            size = os.path.getsize(path)
            if round == 2:
                os.truncate(path, t.random.randrange(size))
                continue
            with open(path, "r+b") as file:
                at = t.random.randrange(size) if round else size - 1
                at = 0 if 184 <= at < 200 else at  # the age, which may be unknown
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1 << t.random.randrange(8)]))
        m = t.mount(f.url, cached(t, d), volume=v)
        m.check(BOX)
        equal(m.stats("diskcache.damaged"), CHUNKS + 1, "damaged")
        m.close()
        m = t.mount(f.url, cached(t, d), volume=v)
        m.check(BOX)
        equal((m.stats("diskcache.damaged"), m.stats("diskcache.hits")), (0, CHUNKS + 1), "damaged, hits afterwards")
        m.close()


def test_bounded_size(t):
    v, d = t.volume(size=(256, 256, 128), chunk=(32, 32, 32), pack="none"), t.name("cache")  # 8 MiB
    f = t.faultd(v.path)
    mounts = [t.mount(f.url, cached(t, d, "diskcache_size=1M"), volume=v, cache="16M") for _ in range(2)]
    for x in range(0, 256, 64):
        t.clients([(m.check, ((x, x + 64), (0, 256), (0, 128))) for m in mounts])
        for m in mounts:
            written(m)
        equal(size_of(d) <= 1 << 20, True, "the limit holds")
    equal(sum(m.stats("diskcache.evictions") for m in mounts) > 0, True, "evictions")
    equal(mounts[0].stats("diskcache.limit"), 1 << 20, "limit")
    for m in mounts:
        m.close()
    equal(len(entries(d)) >= 12, True, "entries that stay")


def test_a_bad_answer_is_not_kept(t):
    """A chunk that does not decode is asked of the store again, not of the disk."""
    v, d = some_volume(t), t.name("cache")
    m, f = t.mount_http(v, cached(t, d))
    f.rules({"match": "/0-32_0-32_0-32", "do": "encoding", "encoding": "br"})
    for _ in range(2):
        fails(errno.EBADMSG, m.read, ((0, 32), (0, 32), (0, 32)))
    f.rules()
    m.check(BOX)
    m.close()
    m = t.mount(f.url, cached(t, d), volume=v)
    m.check(BOX)
    equal(m.stats("diskcache.hits"), CHUNKS + 1, "hits")


def test_known_missing(t):
    v = t.copy(some_volume(t))
    d = t.name("cache")
    chunk = ((0, 32), (0, 32), (0, 32))
    os.unlink(v.chunk_file(chunk))
    m, f = t.mount_http(v, cached(t, d, "missing=fill"))
    equal(m.read(chunk), bytes(32 ** 3), "zeros")
    m.close()
    f.reset()
    m = t.mount(f.url, cached(t, d), volume=v)
    fails(errno.ENODATA, m.read, chunk)
    equal(f.chunk_requests(), {}, "requests for what is known to be missing")


def test_accounts_are_apart(t):
    """What was given to one account is not given to a mount that has none, or another."""
    v, d = some_volume(t), t.name("cache")
    f = t.faultd(v.path)
    plain = f.url
    private = plain.replace("http://", "http://joe:secret@")
    for url, asked in ((private, True), (private, False), (plain, True), (plain, False),
                       (plain.replace("http://", "http://joe:other@"), True), (plain + "?token=geheim", True)):
        f.reset()
        m = t.mount(url, cached(t, d), volume=v)
        m.check(OTHER)
        m.close()
        chunks = [p for p in f.counts()["paths"] if "info" not in p]
        equal(len(chunks), int(asked), "chunks asked for with " + url)
    for path in entries(d):
        with open(path, "rb") as file:
            text = file.read()
        for secret in (b"joe", b"secret", b"geheim"):
            equal(secret in text, False, "%r in an entry" % secret)


def test_directories_that_will_not_do(t):
    v = some_volume(t)
    f = t.faultd(v.path)
    os.mkdir(t.top + "/mnt")
    for directory, mode, says in (("/nowhere/cache", None, "cannot make"), (t.name("open"), 0o777, "nobody else")):
        if mode:
            os.mkdir(directory)
            os.chmod(directory, mode)
        r = t.run(t.settings.voxfs, f.url, t.top + "/mnt", "-f", "-o", cached(t, directory))
        equal((r.returncode, says in r.stderr), (32, True), r.stderr)


def kill_both(m, server):
    """The server is killed in the middle of whatever it does, and its keeper before it can start another."""
    end = os.pidfd_open(server)
    os.kill(m.pid, signal.SIGSTOP)
    os.kill(server, signal.SIGKILL)
    m.process.kill()
    m.process.wait()
    select.select([end], [], [])
    os.close(end)
    m.abandon()
    umount(m.path, MNT_DETACH)


def read_in_vain(path):
    try:
        read_file(path)
    except OSError as e:
        return errno.errorcode[e.errno]
    return "read"


@takes(200)
def test_killed_daemons(t):
    """Daemons that are killed while they write leave nothing that is wrong or in the way."""
    v, d, whole = some_volume(t), t.name("cache"), []
    f = t.faultd(v.path)
    f.rules({"match": "/4_4_40/", "do": "delay", "ms": 3})
    urls = ["%s?round=%d" % (f.url, i) for i in range(t.scaled(10, 3))]  # to each its own entries
    for url in urls:
        m = t.mount(url, cached(t, d, "diskcache_size=1M"), volume=v)
        written(m)  # the document
        server, before = m.stats("server.pid"), set(entries(d))
        c = t.client(read_in_vain, m.file(v.bounds()))
        t.until(lambda: set(entries(d)) - before, "an entry of a chunk")
        kill_both(m, server)
        whole.append(c.result() == "read")
    equal(all(whole), False, "kills came when all had been read")
    hits = 0
    for url in reversed(urls):
        m = t.mount(url, cached(t, d, "diskcache_size=1M"), volume=v)
        hits -= m.stats("diskcache.hits")  # of documents
        m.check(v.bounds())
        hits += m.stats("diskcache.hits")
        written(m)
        equal((m.stats("diskcache.damaged"), m.stats("diskcache.io_errors")), (0, 0), "damaged, io_errors")
        m.close()
        equal(size_of(d) <= 1 << 20, True, "the limit holds")
    assert hits > 0, "nothing that the killed have written is found"
    equal(os.listdir(d + "/new"), [], "files of the dead")


# --- shards ---

CUBE = dict(size=(96, 96, 96), chunk=(32, 32, 32), dtype="uint16")
PART = ((0, 96), (0, 96), (0, 32))
ALL = ((0, 96), (0, 96), (0, 96))


def test_shards_without_the_server(t):
    """Indexes and chunks are found again one by one, though they were fetched together."""
    for layout in ("0,0,0", "2,1,3,murmur,gzip"):
        v, d = t.volume(**CUBE, sharded=layout), t.name("cache")
        m, f = t.mount_http(v, cached(t, d))
        m.check(PART)
        equal(m.stats("shards.merged") > 0, True, "requests are merged before a cold cache")
        written(m)
        m.check(((0, 40), (0, 96), (0, 96)))
        m.close()
        f.reset()
        m = t.mount(f.url, cached(t, d), volume=v)
        m.check(((3, 70), (1, 95), (0, 31)))
        equal(f.chunk_requests(), {}, "requests")
        m.check(ALL)
        m.close()
        f.close()
        t.open.remove(f)
        m = t.mount(f.url, cached(t, d), volume=v)
        m.check(ALL)
        m.close()


def test_shards_revalidated(t):
    v, d = t.volume(**CUBE, sharded="2,1,3,murmur,gzip"), t.name("cache")
    m, f = t.mount_http(v, cached(t, d))
    m.check(ALL)
    m.close()
    entries_before = entries(d)
    m = t.mount(f.url, cached(t, d, "diskcache_check=mount"), volume=v)
    m.check(ALL)
    equal(m.stats("diskcache.confirmed"), len(entries_before), "confirmed")
    m.close()
    equal(entries(d), entries_before, "entries")


def test_a_shard_that_is_replaced(t):
    """Old indexes and old chunks on the disk do not mix with new bytes of the store, whatever is asked for first."""
    old, new = (t.volume(**CUBE, seed=s, sharded="0,1,0,gzip", **more)
                for s, more in ((1, {}), (2, dict(drop=((2, 2, 2),)))))
    for check in ("never", "mount"):
        v, d = t.copy(old), t.name("cache")
        m, f = t.mount_http(v, cached(t, d))
        m.check(PART)
        m.close()
        for name in os.listdir(v.path + "/" + v.scales[0]["key"]):
            path = os.path.join(v.scales[0]["key"], name)
            shutil.copy(os.path.join(new.path, path), os.path.join(v.path, path))
        m = t.mount(f.url, cached(t, d, "diskcache_check=" + check, "missing=fill"), volume=new)
        m.check(((0, 96), (0, 96), (32, 64)))
        m.check(((0, 96), (0, 96), (10, 60)))
        m.close()
        m = t.mount(f.url, cached(t, d, "diskcache_check=" + check, "missing=fill"), volume=new)
        m.check(((0, 96), (0, 96), (0, 60)))
        m.close()


def test_damaged_shard_entries(t):
    v, d = t.volume(**CUBE, sharded="2,1,3,murmur,gzip"), t.name("cache")
    m, f = t.mount_http(v, cached(t, d))
    m.check(ALL)
    m.close()
    for path in entries(d):
        os.truncate(path, t.random.randrange(os.path.getsize(path)))
    m = t.mount(f.url, cached(t, d), volume=v)
    m.check(ALL)
    m.close()
    m = t.mount(f.url, cached(t, d), volume=v)
    m.check(ALL)
    equal(m.stats("diskcache.misses"), 0, "misses")


def test_local_stores_are_not_cached(t):
    v, d = some_volume(t), t.name("cache")
    m = t.mount(v, cached(t, d))
    m.check(BOX)
    written(m)
    equal(entries(d), [], "entries")
