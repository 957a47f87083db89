# SPDX-License-Identifier: Apache-2.0
"""Volumes written by other programs: see tests/fixtures/README.md. All of them in one mount, by a JSON file.

Run by itself, this file prints what is covered, a line for each fixture.
"""
import errno
import hashlib
import json
import os

import numpy as np
from kit import Skip, equal, fails, read_file
from volumes import box_name

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")


def fixtures():
    for name in sorted(os.listdir(TOP)):
        path = os.path.join(TOP, name, "expect.json")
        if os.path.exists(path):
            with open(path) as f:
                yield name, json.load(f)


def is_precomputed(e):
    return e["format"] == "precomputed"


def members(name, e):
    """(name in the mount, what is expected of it): a fixture may hold volumes inside its own."""
    return [(name, e)] + [("%s-%s" % (name, a["subpath"].replace("/", "-")), a) for a in e.get("also", ())]


def pairs(flat):
    return tuple(zip(flat[::2], flat[1::2]))


def overlap(a, b):
    return all(p < s and r < q for (p, q), (r, s) in zip(pairs(a), pairs(b)))


def mount_all(t, base, options="", missing=None, prefix=True):
    """Every fixture under its own name, with its own mount options unless `missing` says otherwise. Without `prefix` the
    format has to be found out."""
    config = t.name("config") + ".json"
    volumes = []
    mounted = [(n, e) for n, e in fixtures() if "optional" not in e or not lacks(t, e["optional"])]
    for name, e in mounted:
        v = {"source": "%s%s/%s/volume" % (e.get("cloudpath", "precomputed") + "://" if prefix else "", base, name),
             "name": name}
        wish = missing or ("fill" if "missing=fill" in e.get("mount_options", "") else None)
        volumes.append(dict(v, missing=wish) if wish else v)
    with open(config, "w") as f:
        json.dump({"volumes": volumes}, f)
    m = t.mount(config, options)
    equal(set(os.listdir(m.path)) - {".voxfs"}, {n for f in mounted for n, _ in members(*f)})
    m.fixtures = mounted
    return m


def digest(path):
    return hashlib.sha256(read_file(path)).hexdigest()


def lacks(t, library):
    """Of an optional library: whether this build is without it."""
    with open(t.settings.voxfs, "rb") as f:
        return library.encode() + b".so" not in f.read()


def close(name, expect, scale, box, got):
    """Where the encoding loses: the bytes of a box against a reference reader's of the whole scale."""
    with open(os.path.join(TOP, name, scale["reference"]["file"]), "rb") as f:
        x, y, z = scale["size"]
        ref = np.frombuffer(f.read(), expect["dtype"]).reshape(expect["channels"], z, y, x)
    at = tuple(slice(a - o, b - o) for (a, b), o in zip(pairs(box), scale["voxel_offset"]))
    want = ref[:, at[2], at[1], at[0]]
    got = np.frombuffer(got, expect["dtype"]).reshape(want.shape)
    far = np.abs(got.astype("i8") - want.astype("i8")).max()
    assert far <= expect["tolerance"]["max_abs"], (name, box, far)


def file_of(m, name, scale, box):
    return os.path.join(m.path, name, scale["dir"], box_name(pairs(box)))


def check_boxes(m, name, expect, skip=()):
    n = 0
    for scale in expect["scales"]:
        for b in scale["boxes"] + ([dict(scale["whole"])] if scale["whole"] else []):
            path = file_of(m, name, scale, b["box"])
            equal(os.stat(path).st_size, b["bytes"], path)
            if any(overlap(b["box"], hole) for hole in skip):
                fails(errno.ENODATA, digest, path)
            elif expect.get("tolerance"):
                close(name, expect, scale, b["box"], read_file(path))
            else:
                equal(digest(path), b["sha256"], path)
            n += 1
    return n


def check_damage(m, name, expect):
    """How many boxes have to fail."""
    scale = expect["scales"][0]
    for box in expect.get("must_fail", ()):
        fails(errno.EBADMSG, digest, file_of(m, name, scale, box))
    for b in expect.get("either", ()):
        try:
            equal(digest(file_of(m, name, scale, b["box"])), b["sha256"], name)
        except OSError as e:
            equal(e.errno, errno.EBADMSG, name)
    return len(expect.get("must_fail", ()))


def check_all(m):
    n = 0
    damaged = {}
    for name, expect in m.fixtures:
        for inner, x in members(name, expect):
            n += check_boxes(m, inner, x)
        damaged[name] = check_damage(m, name, expect)
        n += check_boxes(m, name, expect)  # failures spoil nothing
        for box in expect.get("missing", ()) if is_precomputed(expect) else ():
            equal(set(read_file(file_of(m, name, expect["scales"][0], box))), {0}, "a missing chunk of " + name)
    assert n > 2500, n
    bad = [name for name in os.listdir(TOP) if name.startswith("bad-")]
    equal([name for name in bad if not damaged.get(name)], [], "fixtures of whose damage nothing fails")
    assert len(bad) >= 10, bad


def test_optional_libraries(t):
    """What a build lacks is refused by the library's name."""
    lacking = [(n, e) for n, e in fixtures() if "optional" in e and lacks(t, e["optional"])]
    if not lacking:
        raise Skip("this build has them all")
    for name, expect in lacking:
        point = t.name("mnt")
        os.mkdir(point)
        r = t.run(t.settings.voxfs, "file://%s/%s/volume" % (os.path.realpath(TOP), name), point, "-f", "-o", "name=v")
        equal(r.returncode, 32, r.stderr)
        assert "built without " + expect["optional"] in r.stderr, r.stderr


def test_from_files(t):
    check_all(mount_all(t, "file://" + os.path.realpath(TOP)))


def test_through_http(t):
    check_all(mount_all(t, t.faultd(TOP).url.replace("precomputed://", ""), "tries=2"))


def test_formats_are_found_out(t):
    check_all(mount_all(t, "file://" + os.path.realpath(TOP), prefix=False))


def test_through_page_cache(t):
    check_all(mount_all(t, "file://" + os.path.realpath(TOP), "zerocopy=off"))


def test_lazily(t):
    check_all(mount_all(t, "file://" + os.path.realpath(TOP), "eager=0"))


def test_missing_is_an_error(t):
    m = mount_all(t, "file://" + os.path.realpath(TOP), missing="error")
    seen = 0
    for name, expect in m.fixtures:
        holes = expect.get("missing", ()) if is_precomputed(expect) else ()
        check_boxes(m, name, expect, holes)
        for box in holes:
            fails(errno.ENODATA, digest, file_of(m, name, expect["scales"][0], box))
            seen += 1
    assert seen >= 40, seen


def test_metadata(t):
    m = mount_all(t, "file://" + os.path.realpath(TOP))
    for fixture in m.fixtures:
        for name, expect in members(*fixture):
            for scale in expect["scales"]:
                check_info(json.loads(read_file(os.path.join(m.path, name, scale["dir"], "info.json"))), name, expect, scale)


def check_info(info, name, expect, scale):
    equal(info["dtype"], expect["dtype"], name)
    equal(info["channels"], expect["channels"], name)
    equal([info["shape"][a] for a in "xyz"], scale["size"], name)
    equal(info["voxel_offset"], scale["voxel_offset"], name)
    if "resolution" in scale:
        equal(info["voxel_size"], scale["resolution"], name)
        equal(info["voxel_unit"], "nm", name)
    else:
        equal((info["voxel_size"], info["voxel_unit"]), (None, None), name)
    equal(info["time"], scale.get("time", 0), name)
    equal(info["times"], 1 + max(s.get("time", 0) for s in expect["scales"]), name)
    clipped = [list(map(min, c, scale["size"])) for c in info["chunk_sizes"]]  # z5py clips what it puts down
    assert list(map(min, scale["chunk"], scale["size"])) in clipped, name


if __name__ == "__main__":
    for fixture_name, about in fixtures():
        print("%-28s %-13s %-8s %-22s %s" % (fixture_name, about["format"], about["dtype"], about["writer"],
                                             "; ".join(about["features"])))
