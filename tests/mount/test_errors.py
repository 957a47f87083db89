# SPDX-License-Identifier: Apache-2.0
"""Every row of the table of errors: the errno, its sentence in .voxfs/errors and in user.voxfs.error, and that the next
open tries again."""
import errno
import gzip
import os
import socket
import struct
import zlib

from kit import equal, fails, read_file
from servers import Faultd

VOLUME = dict(size=(96, 64, 32), chunk=(32, 32, 32), dtype="uint16", kind="index")
CSEG = dict(size=(64, 64, 32), chunk=(32, 32, 32), dtype="uint32", kind="labels", encoding="compressed_segmentation")
BAD = ((0, 32), (0, 32), (0, 32))  # the chunk that is spoilt
GOOD = ((32, 96), (0, 64), (0, 32))
QUICK = "tries=2,stall=1,connect_timeout=2"


def why(path):
    return os.getxattr(path, "user.voxfs.error").decode()


def check_failure(m, code, box=BAD, good=GOOD, words=()):
    """Opening `box` fails as it should and says so in both places; what it does not touch is served."""
    path = m.file(box)
    fails(code, read_file, path)
    sentence = why(path)
    line = m.errors().rstrip("\n").split("\n")[-1]
    name = errno.errorcode[code]
    assert name in line and sentence in line and os.path.basename(path) in line, line
    for word in words:
        assert word in sentence, sentence
    assert sentence and not sentence.endswith("."), sentence
    equal(os.listxattr(path), ["user.voxfs.error"], "listxattr")
    if good:
        m.check(good)
        fails(errno.ENODATA, os.getxattr, m.file(good), "user.voxfs.error")
    return sentence


def check_lazy_failure(m, code):
    """The same fault met by a READ instead of an OPEN."""
    fd = os.open(m.file("all.raw"), os.O_RDONLY)
    try:
        fails(code, os.pread, fd, 100, 0)
        equal(os.pread(fd, 64, 8192), m.volume.bytes(m.volume.bounds())[8192:8256])  # a page that touches only other chunks
    finally:
        os.close(fd)
    assert why(m.file("all.raw"))


def spoil(t, spec, how, code, words=(), options=""):
    """A volume one chunk of which is replaced by how(its bytes)."""
    v = t.copy(t.volume(**spec))
    path = v.chunk_file(BAD)
    with open(path, "rb") as f:
        data = f.read()
    with open(path, "wb") as f:
        f.write(how(data))
    good = GOOD if spec["size"][0] > 64 else ((32, 64), (0, 64), (0, 32))
    m = t.mount(v, options)
    check_failure(m, code, good=good, words=words)
    with open(path, "wb") as f:
        f.write(data)
    m.check(BAD)  # failures are not remembered
    fails(errno.ENODATA, os.getxattr, m.file(BAD), "user.voxfs.error")
    m.close()
    return v


def test_truncated_chunk(t):
    spoil(t, VOLUME, lambda d: d[:-1], errno.EBADMSG, ("0-32_0-32_0-32",))
    spoil(t, VOLUME, lambda d: b"", errno.EBADMSG)
    spoil(t, CSEG, lambda d: d[:len(d) // 2], errno.EBADMSG)
    spoil(t, CSEG, lambda d: d[:3], errno.EBADMSG)


def test_oversized_chunk(t):
    spoil(t, VOLUME, lambda d: d + b"x", errno.EBADMSG)
    spoil(t, VOLUME, lambda d: d * 40, errno.EBADMSG)


def test_garbage_chunk(t):
    rng = t.random
    spoil(t, dict(VOLUME, pack="gzip"), lambda d: rng.randbytes(len(d)), errno.EBADMSG)
    spoil(t, dict(VOLUME, pack="zstd"), lambda d: rng.randbytes(len(d)), errno.EBADMSG)
    spoil(t, dict(VOLUME, pack="br"), lambda d: rng.randbytes(3000), errno.EBADMSG)
    spoil(t, CSEG, lambda d: b"\xff" * len(d), errno.EBADMSG)


def test_cut_compressed_chunk(t):
    for pack in ("gzip", "br", "zstd"):
        spoil(t, dict(VOLUME, pack=pack), lambda d: d[:-20], errno.EBADMSG)
        spoil(t, dict(CSEG, pack=pack), lambda d: d[:-5], errno.EBADMSG)


def test_bad_checksum(t):
    spoil(t, dict(VOLUME, pack="gzip"), lambda d: d[:-8] + bytes(4) + d[-4:], errno.EBADMSG)


def test_gzip_bomb(t):
    """Some KiB that inflate to far more than a chunk can have: its size is known beforehand and enforced."""
    for size in (64 << 20, 512 << 20):
        bomb = gzip.compress(bytes(size), 9)
        spoil(t, dict(VOLUME, pack="gzip"), lambda d: bomb, errno.EBADMSG)
        spoil(t, dict(CSEG, pack="gzip"), lambda d: bomb, errno.EBADMSG)


def test_hostile_segmentation(t):
    """Headers that point outside the chunk, in every field that points."""
    def channel(d):
        return struct.pack("<I", 0xFFFFFFF0) + d[4:]

    def table(d):
        return d[:4] + struct.pack("<I", 0xFFFFFF | 0x04 << 24) + d[8:]

    def values(d):
        return d[:8] + struct.pack("<I", 0xFFFFFFFF) + d[12:]

    def bits(d):
        return d[:4] + struct.pack("<I", (struct.unpack("<I", d[4:8])[0] & 0xFFFFFF) | 33 << 24) + d[8:]
    for how in (channel, table, values, bits):
        spoil(t, CSEG, how, errno.EBADMSG)


def test_damaged_image(t):
    """Images that are cut off, changed, followed by something, of another kind, or larger than anybody asked for."""
    png = dict(VOLUME, encoding="png", dtype="uint8")

    def header(d, at, field):
        d = d[:16 + at] + field + d[16 + at + len(field):]
        return d[:29] + struct.pack(">I", zlib.crc32(d[12:29])) + d[33:]

    middle = lambda d: d[:len(d) // 2] + bytes([d[len(d) // 2] ^ 1]) + d[len(d) // 2 + 1:]  # noqa: E731
    for how, words in ((lambda d: d[:-1], ("png image is cut off",)), (lambda d: d[:100], ("cut off",)),
                       (middle, ("png image is damaged",)), (lambda d: d + b"x", ("followed by 1 bytes",)),
                       (lambda d: b"\xff\xd8\xff\xe0" + d, ("no png image",)),
                       (lambda d: header(d, 0, struct.pack(">II", 60000, 60000)), ("60000 x 60000",)),
                       (lambda d: header(d, 8, b"\x10"), ("samples of 16 bits",)),
                       (lambda d: header(d, 9, b"\x03"), ("palette",)),
                       (lambda d: d[:8] + bytes(8 << 20), ())):
        spoil(t, png, how, errno.EBADMSG, words)


def test_missing_chunk(t):
    v = t.volume(**dict(VOLUME, drop=((0, 0, 0),)))
    m = t.mount(v)
    check_failure(m, errno.ENODATA)
    check_lazy_failure(m, errno.ENODATA)
    filled = t.mount(v, "missing=fill")
    equal(set(filled.read(BAD)), {0})
    both = ((10, 40), (0, 64), (0, 32))
    expected = v.array(both).copy()
    expected[:, :, :32, :22] = 0
    equal(filled.read(both), expected.tobytes(), "a box half in the hole")
    equal(filled.errors(), "", ".voxfs/errors")


def http_failure(t, code, rule, spec=VOLUME, options=QUICK, words=()):
    """The chunk BAD is served with a fault; without the fault the next open works."""
    v = t.volume(**spec)
    m, d = t.mount_http(v, options)
    d.rules(dict(rule, match="/0-32_0-32_0-32"))
    good = GOOD if spec["size"][0] > 64 else ((32, 64), (0, 64), (0, 32))
    check_failure(m, code, good=good, words=words)
    requests = d.chunk_requests()["/4_4_40/0-32_0-32_0-32"]
    check_lazy_failure(m, code)
    m.until_idle()  # or the next open joins a read-ahead that is still bound to fail
    d.rules()
    m.check(BAD)
    m.check(v.bounds())
    m.close()
    d.close()
    return requests


def test_http_statuses(t):
    for status, code, again in ((404, errno.ENODATA, False), (401, errno.EACCES, False), (403, errno.EACCES, False),
                                (500, errno.EIO, True), (503, errno.EIO, True), (429, errno.EIO, True)):
        n = http_failure(t, code, {"do": "status", "status": status})
        equal(n, 2 if again else 1, "requests for a chunk that answers %d" % status)


def test_http_missing_filled(t):
    v = t.volume(**dict(VOLUME, drop=((0, 0, 0),)))
    m, _ = t.mount_http(v, "missing=fill")
    equal(set(m.read(BAD)), {0})


def test_http_forbidden_is_not_missing(t):
    """missing=fill never turns a refusal into zeros."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v, "missing=fill," + QUICK)
    d.rules({"match": "0-32_0-32_0-32", "do": "status", "status": 403})
    fails(errno.EACCES, read_file, m.file(BAD))
    d.rules({"match": "0-32_0-32_0-32", "do": "status", "status": 500})
    fails(errno.EIO, read_file, m.file(BAD))


def test_http_stall(t):
    http_failure(t, errno.ETIMEDOUT, {"do": "stall"})
    http_failure(t, errno.ETIMEDOUT, {"do": "stall", "at": "head"})


def test_http_cut(t):
    http_failure(t, errno.EIO, {"do": "cut"})
    http_failure(t, errno.EIO, {"do": "reset"})
    http_failure(t, errno.EIO, {"do": "reset", "after": 1000})


def test_http_wrong_length(t):
    http_failure(t, errno.EIO, {"do": "lie", "delta": 1000})  # more was promised
    http_failure(t, errno.EBADMSG, {"do": "lie", "delta": -1000})  # the body ends early
    http_failure(t, errno.EBADMSG, {"do": "oversize", "bytes": 5})
    http_failure(t, errno.EBADMSG, {"do": "oversize", "bytes": 50 << 20})
    http_failure(t, errno.EBADMSG, {"do": "oversize", "bytes": 50 << 20, "chunked": True})


def test_http_redirects(t):
    http_failure(t, errno.EIO, {"do": "redirect"})
    http_failure(t, errno.EIO, {"do": "redirect", "to": "loop"})
    http_failure(t, errno.EIO, {"do": "redirect", "to": "file:///etc/passwd"})
    http_failure(t, errno.EIO, {"do": "redirect", "to": "ftp://127.0.0.1/x"})


def test_http_garbage(t):
    http_failure(t, errno.EIO, {"do": "garbage"})
    http_failure(t, errno.EBADMSG, {"do": "encoding", "value": "bogus"})
    http_failure(t, errno.EBADMSG, {"do": "garbage", "where": "body"}, dict(VOLUME, pack="gzip"))
    http_failure(t, errno.EBADMSG, {"do": "encoding", "value": "gzip"})


def test_http_harmless_oddities(t):
    """No length, chunked answers, one redirect, delays and one failure before success are no errors."""
    v = t.volume(**dict(VOLUME, pack="gzip"))
    for rule in ({"do": "nolength"}, {"do": "nolength", "how": "close"}, {"do": "delay", "ms": 30},
                 {"do": "status", "status": 503, "times": 1}, {"do": "cut", "times": 1}, {"do": "reset", "times": 1},
                 {"do": "status", "status": 429, "times": 1, "headers": {"Retry-After": "0"}},
                 {"do": "redirect", "to": "/4_4_40/0-32_0-32_0-32?x", "times": 1, "match": "/4_4_40/0-32_0-32_0-32"}):
        m, d = t.mount_http(v, "tries=3")
        d.rules({"match": "/4_4_40/", **rule})
        m.check(v.bounds())
        equal(m.errors(), "", str(rule))
        m.close()
        d.close()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_server_goes_and_comes_back(t):
    v = t.volume(**VOLUME)
    port = free_port()
    d = t.faultd(v.path, port=port)
    m = t.mount(d.url, QUICK, volume=v)
    m.check(GOOD)
    d.close()
    check_failure(m, errno.EHOSTUNREACH)
    m.check(((40, 90), (2, 60), (3, 30)))  # what is resident needs no server
    again = Faultd(t, v.path, port)
    t.open.append(again)
    m.check(BAD)
    m.check(v.bounds())


def test_server_killed_in_the_middle(t):
    """It dies while transfers are under way."""
    v = t.volume(**dict(VOLUME, size=(256, 256, 64)))
    d = t.faultd(v.path)
    m = t.mount(d.url, QUICK, volume=v)
    d.rules({"match": "/4_4_40/", "do": "stall"})
    client = t.client(read_file, m.file(v.bounds()))
    t.until(lambda: d.counts()["total"] > 3, "transfers under way")
    d.process.kill()
    d.process.wait()
    try:
        client.result()
        raise AssertionError("read from a dead server")
    except OSError as e:
        assert e.errno in (errno.EHOSTUNREACH, errno.EIO, errno.ETIMEDOUT), e
    again = Faultd(t, v.path, d.port)
    t.open.append(again)

    def back():
        try:
            m.check(v.bounds())
            return True
        except OSError as e:
            equal(e.errno, errno.EHOSTUNREACH, "a host that was away is asked now and then")
    t.until(back, "the host is found to be back")


def test_one_failure_for_all_waiters(t):
    """Many processes on one box that fails: each gets the error, none hangs, the chunk is asked for once."""
    v = t.volume(**VOLUME)
    m, d = t.mount_http(v, QUICK)
    d.rules({"match": "0-32_0-32_0-32", "do": "status", "status": 403, "held": True})
    clients = [t.client(read_file, m.file(BAD)) for _ in range(8)]
    m.until_stats("cache.joins", 7)
    d.rules()
    for c in clients:
        fails(errno.EACCES, c.result)
    equal(d.chunk_requests(), {"/4_4_40/0-32_0-32_0-32": 1}, "requests")
    m.until_stats("cache.open_objects", 0)
    equal(m.stats("cache.bytes"), 0, "cache.bytes")


def test_errors_file_is_bounded(t):
    v = t.volume(**dict(VOLUME, drop=((0, 0, 0),)))
    m = t.mount(v)
    for i in range(t.scaled(500, 100)):
        fails(errno.ENODATA, os.open, m.file(((i % 30, i % 30 + 1), (i // 30, i // 30 + 1), (0, 1))), os.O_RDONLY)
    text = m.errors()
    assert 0 < len(text) < 1 << 20 and text.endswith("\n"), len(text)
    for line in text.rstrip("\n").split("\n"):
        assert "ENODATA" in line and ".raw" in line, line


def test_damaged_chunk_read_ahead(t):
    """Read-ahead keeps chunks that nobody has decoded yet. A damaged one is dropped when that comes out."""
    v = t.copy(t.volume(**dict(CSEG, size=(64, 64, 128))))
    bad = ((0, 32), (0, 32), (32, 64))
    path = v.chunk_file(bad)
    with open(path, "rb") as f:
        data = f.read()
    with open(path, "wb") as f:
        f.write(struct.pack("<I", 0xFFFFFFF0) + data[4:])
    m = t.mount(v)
    layer = 64 * 64 * 32 * 4
    with open(m.file("all.raw"), "rb", buffering=0) as f:
        for _ in range(layer // 65536):
            f.read(65536)
    fails(errno.EBADMSG, read_file, m.file(bad))
    with open(path, "wb") as f:
        f.write(data)
    m.check(bad)
    m.check(v.bounds())
