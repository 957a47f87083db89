# SPDX-License-Identifier: Apache-2.0
"""The programs that people use: coreutils, numpy, ImageJ."""
import hashlib
import os

from kit import Skip, equal, needs, read_file, takes

VOLUME = dict(size=(150, 130, 70), offset=(-75, 3, 0), chunk=(32, 32, 32), dtype="uint16", pack="gzip")
BOX = ((-70, 60), (10, 120), (5, 66))


def setup(t, options=""):
    v = t.volume(**VOLUME)
    m = t.mount(v, options)
    return v, m, m.file(BOX), v.bytes(BOX)


def test_coreutils(t):
    for options in ("", "zerocopy=off", "eager=0"):
        v, m, path, want = setup(t, options)
        ref = t.name("ref")
        with open(ref, "wb") as f:
            f.write(want)
        equal(t.run("cat", path, text=False).stdout, want, "cat")
        equal(t.run("sha256sum", path).stdout.split()[0], hashlib.sha256(want).hexdigest(), "sha256sum")
        equal(t.run("cmp", path, ref).returncode, 0, "cmp")
        for more in ((), ("--sparse=always",), ("--reflink=auto",)):
            out = t.name("copy")
            equal(t.run("cp", *more, path, out).stderr, "", "cp")
            equal(read_file(out), want, "cp " + " ".join(more))
        equal(t.run("stat", "-c", "%s", path).stdout.strip(), str(len(want)), "stat")
        equal(t.run("wc", "-c", path).stdout.split()[0], str(len(want)), "wc")
        equal(t.run("tail", "-c", "1000", path, text=False).stdout, want[-1000:], "tail")
        m.close()


def test_dd(t):
    for options in ("", "zerocopy=off", "eager=0"):
        v, m, path, want = setup(t, options)
        for bs, skip, count, flag in ((1 << 20, 0, None, "fullblock"), (512, 0, None, None), (4096, 0, None, "direct"),
                                      (777, 13, 100, None), (65536, 1, None, "nocache")):
            args = ["bs=%d" % bs, "skip=%d" % skip] + (["count=%d" % count] if count else [])
            args += ["iflag=" + flag] if flag else []
            r = t.run("dd", "if=" + path, "status=none", *args, text=False)
            if r.returncode and flag == "direct" and b"Invalid argument" in r.stderr:
                continue  # this kernel's word on O_DIRECT
            equal((r.returncode, r.stderr), (0, b""), "dd " + " ".join(args))
            end = (skip + count) * bs if count else len(want)
            equal(r.stdout, want[skip * bs:end], "dd " + " ".join(args))
        m.close()


def memmap_sums(path, dtype, shape, places):
    import numpy as np
    a = np.memmap(path, dtype, "r", shape=shape)
    return [int(a[p]) for p in places], int(a.astype(np.uint64).sum()), a.shape


def test_numpy_memmap(t):
    for options in ("", "zerocopy=off", "eager=0"):
        v, m, path, _ = setup(t, options)
        a = v.array(BOX)[0]
        places = [tuple(t.random.randrange(n) for n in a.shape) for _ in range(50)]
        got = t.client(memmap_sums, path, v.dtype, a.shape, places).result()
        equal(got, ([int(a[p]) for p in places], int(a.astype("u8").sum()), a.shape), options)
        m.close()


def test_numpy_with_channels(t):
    v = t.volume(size=(60, 50, 40), channels=3, dtype="uint32", kind="index", chunk=(32, 32, 32))
    m = t.mount(v)
    a = v.array(v.bounds())
    places = [tuple(t.random.randrange(n) for n in a.shape) for _ in range(50)]
    got = t.client(memmap_sums, m.file(v.bounds()), v.dtype, a.shape, places).result()
    equal(got[0], [int(a[p]) for p in places])


IMAGEJ_JAR = "/usr/share/java/ij.jar"
MACRO = """
run("Raw...", "open=%s image=[16-bit Unsigned] width=%d height=%d number=%d little-endian");
print("size " + getWidth + " " + getHeight + " " + nSlices);
for (i = 0; i < %d; i++) {
    setSlice(i %% nSlices + 1);
    print("pixel " + getPixel((i * 37) %% getWidth, (i * 53) %% getHeight));
}
run("Quit");
"""


@takes(180)
@needs("java", "xvfb-run")
def test_imagej(t):
    """File > Import > Raw of a box, in a headless ImageJ."""
    if not os.path.exists(IMAGEJ_JAR):
        raise Skip("needs imagej")
    v, m, path, _ = setup(t)
    a = v.array(BOX)[0]
    link = t.name("box") + ".raw"  # ImageJ's macro options stop at blanks, not at dashes
    os.symlink(path, link)
    macro = t.name("macro") + ".ijm"
    n = 40
    with open(macro, "w") as f:
        f.write(MACRO % (link, a.shape[2], a.shape[1], a.shape[0], n))
    home = t.name("home")
    os.mkdir(home)
    r = t.run("xvfb-run", "-a", "java", "-Duser.home=" + home, "-cp", IMAGEJ_JAR, "ij.ImageJ", "-batch", macro,
              cwd=t.top, env=dict(t.env, HOME=home, LD_PRELOAD=""))
    said = [s.split() for s in r.stdout.split("\n") if s.startswith(("size", "pixel"))]
    equal(said[:1], [["size", str(a.shape[2]), str(a.shape[1]), str(a.shape[0])]], "ImageJ: " + r.stdout[:300] + r.stderr[:300])
    want = [["pixel", str(a[i % a.shape[0], i * 53 % a.shape[1], i * 37 % a.shape[2]])] for i in range(n)]
    equal(said[1:], want, "pixels")
