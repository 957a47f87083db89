# SPDX-License-Identifier: Apache-2.0
"""What cannot be mounted: the message names the problem, the exit status is mount(8)'s, nothing is mounted."""
import json
import os
import socket

from kit import equal
from supervise import mounts_below

USAGE, MOUNT = 1, 32
INFO = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [
    {"key": "s0", "size": [100, 100, 100], "voxel_offset": [0, 0, 0], "chunk_sizes": [[64, 64, 64]], "encoding": "raw",
     "resolution": [4, 4, 40]}]}


def refuse(t, argv, status, *words):
    """voxfs ARGV must end with this status and name the problem."""
    for more in ((), ("-f",)):
        r = t.run(t.settings.voxfs, *argv, *more, cwd="/")
        text = r.stderr
        equal(r.returncode, status, "exit status of voxfs %s: %s" % (" ".join(argv), text))
        for word in words:
            assert word.lower() in text.lower(), "%r is not in: %s" % (word, text)
        assert text.startswith("voxfs: ") or "\nvoxfs: " in text, text
        equal(mounts_below(t.top), [], "mounts")
    return text


def point(t):
    path = t.name("mnt")
    os.mkdir(path)
    return path


def source(t):
    return "precomputed://file://" + t.volume(size=(64, 64, 64)).path


def with_info(t, text):
    path = t.name("vol")
    os.mkdir(path)
    if text is not None:
        with open(path + "/info", "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
    return "precomputed://file://" + path


def test_options(t):
    s, p = source(t), point(t)
    for option, words in (("nonsense", ("nonsense",)), ("cahce=1G", ("cahce",)), ("cache=lots", ("cache", "lots")),
                          ("cache=-1", ("cache",)), ("cache=", ("cache",)), ("cache", ("cache",)), ("cache=101%", ("cache",)),
                          ("cache=1X", ("cache",)), ("cache=1", ("cache",)), ("threads=0", ("threads",)),
                          ("threads=two", ("threads",)), ("threads=99999999999999999999", ("threads",)),
                          ("connections=0", ("connections",)), ("missing=maybe", ("missing", "fill")),
                          ("zerocopy=yes", ("zerocopy", "passthrough")), ("policy=best", ("policy", "affinity")),
                          ("allow_other=1", ("allow_other",)), ("wait=-3", ("wait",)), ("tries=0", ("tries",)),
                          ("name=v,name=", ("name",)), ("ro,what,rw", ("what",))):
        refuse(t, [s, p, "-o", option], USAGE, *words)
    for name in ("a/b", "..", ".", ".voxfs"):
        r = t.run(t.settings.voxfs, s, p, "-o", "name=" + name)
        assert r.returncode in (USAGE, MOUNT) and "name" in r.stderr, (name, r)
        equal(mounts_below(t.top), [], "mounts")


def test_arguments(t):
    s, p = source(t), point(t)
    refuse(t, [], USAGE, "source", "mount point")
    refuse(t, [s], USAGE, "mount point")
    refuse(t, [s, p, "third"], USAGE, "third")
    refuse(t, [s, p, "-x"], USAGE, "-x")
    equal(t.run(t.settings.voxfs, "--version").returncode, 0)
    r = t.run(t.settings.voxfs, "--help")
    equal(r.returncode, 0)
    for word in ("cache", "eager", "missing", "zerocopy", "allow_other", "SOURCE", "MOUNTPOINT"):
        assert word in r.stdout, word


def test_mount_point(t):
    s = source(t)
    refuse(t, [s, t.top + "/absent"], MOUNT, "absent")
    plain = t.name("file")
    open(plain, "w").close()
    refuse(t, [s, plain], MOUNT, plain)


def test_source_is_not_there(t):
    p = point(t)
    refuse(t, [with_info(t, None), p], MOUNT, "info")
    refuse(t, ["precomputed://file://" + t.top + "/nowhere", p], MOUNT, "nowhere")
    refuse(t, ["zarr4://file://" + t.top, p], MOUNT, "zarr4")
    refuse(t, ["precomputed://gopher://x/y", p], MOUNT, "gopher")
    refuse(t, ["", p], MOUNT)


def test_servers(t):
    p = point(t)
    d = t.faultd(t.volume(size=(64, 64, 64)).path)
    quick = ["-o", "tries=2,connect_timeout=2,stall=1"]
    refuse(t, [d.url + "/nothing", p] + quick, MOUNT, "info", "/nothing")
    for rule, word in (({"do": "status", "status": 403}, "403"), ({"do": "status", "status": 500}, "500"),
                       ({"do": "redirect", "to": "loop"}, "redirect"), ({"do": "stall"}, ""), ({"do": "cut"}, ""),
                       ({"do": "garbage"}, "")):
        d.rules(dict(rule, match="info"))
        refuse(t, [d.url, p] + quick, MOUNT, word, "info", "127.0.0.1")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        dead = s.getsockname()[1]
    refuse(t, ["precomputed://http://127.0.0.1:%d/v" % dead, p] + quick, MOUNT, "127.0.0.1:%d" % dead)


def test_passwords_are_not_shown(t):
    p = point(t)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        dead = s.getsockname()[1]
    text = refuse(t, ["precomputed://http://user:hushhush@127.0.0.1:%d/v" % dead, p, "-o", "tries=1"], MOUNT, "127.0.0.1")
    assert "hushhush" not in text, text
    d = t.faultd(t.volume(size=(64, 64, 64)).path)
    m = t.mount(d.url.replace("//127", "//user:hushhush@127"))
    with open("/proc/self/mountinfo") as f:
        assert "hushhush" not in f.read()
    assert "hushhush" not in m.said()


def scale(**changes):
    return json.dumps(dict(INFO, scales=[{k: v for k, v in dict(INFO["scales"][0], **changes).items() if v is not None}]))


def test_bad_info(t):
    p = point(t)
    for text, word in ((b"", "info"), (b"\x00\xff\xfe junk", "info"), ("[]", "info"), ("{}", "info"), ("{\"a\":", "info"),
                       ("<html>not found</html>", "info"), (json.dumps(dict(INFO, data_type="float64")), "float64"),
                       (json.dumps(dict(INFO, num_channels=0)), "channels"), (json.dumps(dict(INFO, scales=[])), "scales"),
                       (json.dumps({k: v for k, v in INFO.items() if k != "data_type"}), "data_type"),
                       (scale(size=[0, 100, 100]), "size"), (scale(size=[2**63, 1, 1]), "size"), (scale(size=None), "size"),
                       (scale(size=[2**62, 2**62, 2**62]), "size"), (scale(chunk_sizes=[[0, 1, 1]]), "chunk"),
                       (scale(encoding="mystery"), "mystery"), (scale(key="/etc"), "key"), ("[" * 100000, "info")):
        refuse(t, [with_info(t, text), p], MOUNT, word)


def test_config_files(t):
    p = point(t)
    s = source(t)

    def config(doc):
        path = t.name("config") + ".json"
        with open(path, "w") as f:
            f.write(doc if isinstance(doc, str) else json.dumps(doc))
        return path
    for doc, word in (("{", "line"), ("[]", "volumes"), ({}, "volumes"), ({"volumes": []}, "volumes"),
                      ({"volumes": {}}, "volumes"), ({"volumes": ["x"]}, "volumes[0]"), ({"volumes": [{}]}, "source"),
                      ({"volumes": [{"source": s, "nmae": "x"}]}, "nmae"), ({"volumes": [{"source": 3}]}, "source"),
                      ({"volumes": [{"source": s, "missing": "no"}]}, "missing"),
                      ({"volumes": [{"source": s, "name": "a"}, {"source": s, "name": "a"}]}, "a"),
                      ({"volumes": [{"source": s}], "more": 1}, "volumes"),
                      ({"volumes": [{"source": s, "name": "a/b"}]}, "name"),
                      ({"volumes": [{"source": s, "name": "a"}, {"source": "precomputed://file:///nowhere"}]}, "nowhere")):
        path = config(doc)
        text = refuse(t, [path, p], MOUNT, word)
        assert os.path.basename(path) in text, text
