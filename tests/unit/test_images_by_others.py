# SPDX-License-Identifier: Apache-2.0
"""test_images_by_others.py CODEC-DUMP: chunks that other programs encode, decoded here and by them: many shapes, foldings and
kinds of image. Needs numpy, imagecodecs and compresso; what is not installed is skipped, by name."""
import importlib
import os
import subprocess
import sys
import zlib

dump = sys.argv[1]
SKIPPED = 77
missing, done = [], 0


def library(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        missing.append(name)
        return None


np = library("numpy")
if np is None:
    print("skipped: numpy is not installed")
    sys.exit(SKIPPED)
rng = np.random.default_rng(int(os.environ.get("VX_TEST_SEED", "1")))


def decode(encoding, chunk, data):
    """`chunk`: an array (c, z, y, x) of the shape and type expected. The array, or the sentence."""
    c, z, y, x = chunk.shape
    r = subprocess.run([dump, encoding] + [str(v) for v in (x, y, z, c, chunk.itemsize)], input=data,
                       capture_output=True, check=False)
    if r.returncode == SKIPPED:
        return None
    assert "largest" not in r.stderr.decode(), r.stderr
    if r.returncode:
        return r.stderr.decode().strip()
    return np.frombuffer(r.stdout, chunk.dtype).reshape(chunk.shape)


def same(encoding, chunk, data, most=0, what=""):
    global done
    got = decode(encoding, chunk, bytes(data))
    if got is None:
        if "libjxl in voxfs" not in missing:
            missing.append("libjxl in voxfs")
        return
    assert not isinstance(got, str), (encoding, what, chunk.shape, got)
    loss = int(np.abs(got.astype("i8") - chunk.astype("i8")).max()) if most else int((got != chunk).sum())
    assert loss <= most, (encoding, what, chunk.shape, chunk.dtype, loss)
    done += 1


def refused(encoding, chunk, data, part):
    global done
    got = decode(encoding, chunk, bytes(data))
    if got is not None:
        assert isinstance(got, str) and part in got, (encoding, part, got)
        done += 1


def waves(shape, dtype):
    c, z, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    v = np.sin(x / 7 + c) + np.cos(y / 5 - c) + np.sin(z / 3 + c) + rng.normal(0, 0.1, shape)
    return ((v + 3.5) / 7 * np.iinfo(dtype).max).clip(0, np.iinfo(dtype).max).astype(dtype)


def foldings(n):
    """Some (width, height) of n pixels."""
    sides = [w for w in range(1, n + 1) if n % w == 0]
    return {(w, n // w) for w in sides if w < 65000 and n // w < 65000 and (rng.random() < 0.3 or w in (1, n))}


def image_of(chunk, width, height):
    """(height, width) or (height, width, channels): pixels in the order of voxels."""
    pixels = np.moveaxis(chunk, 0, -1).reshape(height, width, chunk.shape[0])
    return np.ascontiguousarray(pixels[:, :, 0] if chunk.shape[0] == 1 else pixels)


def chunk_of(image, like):
    pixels = image.reshape(like.shape[1:] + (like.shape[0],))
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def png_chunk(kind, body):
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def check_png(codecs):
    for dtype in ("uint8", "uint16"):
        for channels in (1, 2, 3, 4):
            for shape in ((5, 4, 6), (1, 1, 1), (3, 7, 65), (11, 1, 17)):
                chunk = waves((channels,) + shape, dtype)
                for w, h in foldings(int(np.prod(shape))):
                    data = codecs.png_encode(image_of(chunk, w, h), level=int(rng.integers(0, 10)), out=8 * chunk.nbytes + 4096)
                    same("png", chunk, data, what=(w, h))
    chunk = waves((1, 5, 4, 6), "uint8")
    data = codecs.png_encode(image_of(chunk, 6, 20))
    at = data.index(b"IDAT") - 4
    extra = b"".join(png_chunk(k, b) for k, b in (
        (b"gAMA", (1000).to_bytes(4, "big")), (b"tRNS", b"\0\7"), (b"bKGD", b"\0\1"),
        (b"zTXt", b"bomb\0\0" + zlib.compress(bytes(1 << 24))), (b"iCCP", b"x\0\0" + zlib.compress(bytes(1 << 24)))))
    same("png", chunk, data[:at] + extra + data[at:], what="ancillary chunks")
    refused("png", chunk, data + b"\0", "followed by 1 bytes")
    refused("png", chunk, data[:-1], "cut off")


def check_jpeg(codecs):
    for channels in (1, 3):
        for shape in ((8, 9, 10), (1, 1, 1), (64, 64, 64), (3, 7, 65)):
            chunk = waves((channels,) + shape, "uint8")
            for w, h in foldings(int(np.prod(shape))):
                for sampling in ("444", "420", "422"):
                    data = codecs.jpeg8_encode(image_of(chunk, w, h), level=90, subsampling=sampling)
                    same("jpeg", chunk_of(codecs.jpeg8_decode(data), chunk), data, what=(w, h, sampling))
    data = codecs.jpeg8_encode(image_of(chunk, 65, 21))
    refused("jpeg", chunk, data + b"\0", "followed by 1 bytes")
    for cut in (len(data) - 2, len(data) // 2, 3):
        refused("jpeg", chunk, data[:cut], "damaged or cut off")
    refused("jpeg", chunk[:1], data, "3 channels")


def check_jxl(codecs):
    for channels in (1, 3, 4):
        for shape in ((8, 9, 10), (1, 1, 1), (3, 7, 65), (64, 64, 64)):
            chunk = waves((channels,) + shape, "uint8")
            for w, h in sorted(foldings(int(np.prod(shape))))[:4]:
                image = image_of(chunk, w, h)
                for container in (False, True):
                    data = codecs.jpegxl_encode(image, lossless=True, effort=3, usecontainer=container)
                    same("jxl", chunk, data, what=(w, h))
                data = codecs.jpegxl_encode(image, distance=1.0, effort=3)
                theirs = chunk_of(codecs.jpegxl_decode(data), chunk)
                same("jxl", theirs, data, most=2, what=(w, h, "lossy"))  # other versions round otherwise
    chunk = waves((1, 8, 9, 10), "uint8")
    data = codecs.jpegxl_encode(image_of(chunk, 10, 72), lossless=True)
    refused("jxl", chunk, data + b"\0", "followed by 1 bytes")
    refused("jxl", chunk, data[:-9], "jxl image is")
    wide = codecs.jpegxl_encode(image_of(waves((1, 8, 9, 10), "uint16"), 10, 72), lossless=True)
    refused("jxl", chunk, wide, "16 bits")


def cells(shape, dtype, count):
    """Regions around random points, some of them 0, some with labels at the end of the type's range."""
    most = int(np.iinfo(dtype).max)
    at = rng.integers(0, shape, (count, 3))
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    near = np.argmin([((grid - p) ** 2).sum(-1) for p in at], 0)
    labels = np.array([0 if i % 5 == 0 else most - i if i % 3 == 0 else i * 37 % most for i in range(count)], dtype)
    return labels[near]


def check_compresso(compresso):
    for dtype in ("uint8", "uint16", "uint32", "uint64"):
        for shape in ((1, 1, 1), (9, 17, 23), (4, 70, 65), (1, 3, 130), (20, 1, 1), (6, 6, 6)):
            for count in (1, 3, 40):
                for noise in (False, True):
                    labels = cells(shape, dtype, count)
                    if noise:  # every voxel of some of them its own region
                        spots = rng.random(shape) < 0.3
                        labels[spots] = rng.integers(0, 200, int(spots.sum())).astype(dtype)
                    for steps in ((4, 4, 1), (8, 8, 1), (4, 2, 1), (3, 5, 1)):
                        for six, index in ((4, True), (4, False), (6, True), (6, False)):
                            volume = np.asfortranarray(labels.transpose(2, 1, 0))
                            try:
                                data = compresso.compress(volume, steps, six, index)
                            except (OverflowError, compresso.EncodeError):
                                continue
                            same("compresso", labels[None], data, what=(steps, six, index, count, noise))
                            if data[4] == 1 and six == 4 and rng.random() < 0.2:
                                cut = int(rng.integers(0, len(data)))
                                got = decode("compresso", labels[None], data[:cut])
                                assert isinstance(got, str) or (got == labels).all(), (cut, len(data))


imagecodecs, compresso = library("imagecodecs"), library("compresso")
if imagecodecs:
    check_png(imagecodecs)
    check_jpeg(imagecodecs)
    check_jxl(imagecodecs)
if compresso:
    check_compresso(compresso)
print("%d chunks compared" % done + "".join("; skipped: %s is not installed" % m for m in missing))
sys.exit(0 if done else SKIPPED)
