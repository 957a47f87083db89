# SPDX-License-Identifier: Apache-2.0
"""Writes random volumes with a library of other people's, run by a Python that has it: interop_write.py LIBRARY DIR SEED N.

For each volume: DIR/<name> as the library leaves it, DIR/<name>.npy with the array (axes in the order of DIR/list.json).
"""
import json
import os
import random
import sys

import numpy as np

INTS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float32", "float64"]


class Draw:
    """One volume to be: what every library understands."""

    def __init__(self, rnd, dtypes, ranks=(2, 3, 3, 3, 4, 5)):
        self.rank = rnd.choice(ranks)
        self.dtype = rnd.choice(dtypes)
        self.shape = [rnd.randint(1, n) for n in [2, 3, 21, 25, 31][5 - self.rank:]]
        self.chunk = [rnd.randint(1, n + rnd.randint(0, 3)) for n in self.shape]
        self.fill = rnd.choice([0, 0, 1, 77]) if self.dtype not in FLOATS else rnd.choice([0, 1.5, float("nan")])
        self.holes = rnd.random() < 0.4
        generator = np.random.default_rng(rnd.getrandbits(32))
        cells = generator.integers(0, 100, self.shape).astype(self.dtype)
        if self.dtype == "bool":
            cells = generator.integers(0, 2, self.shape).astype(bool)
        self.data = np.cumsum(cells, -1, dtype=self.dtype) if self.dtype in INTS else cells

    def regions(self, every):
        """Slices of whole chunks to be written; where there are holes, the data becomes the fill value there."""
        grid = [range(0, n, c) for n, c in zip(self.shape, every)]
        for number, index in enumerate(np.ndindex(*map(len, grid))):
            at = tuple(slice(g[i], min(g[i] + c, n)) for g, i, c, n in zip(grid, index, every, self.shape))
            if self.holes and number % 3 == 1:
                self.data[at] = self.fill
            else:
                yield at


def bytes_codecs(rnd, draw):
    """Codecs from bytes to bytes, as Zarr v3 has them."""
    size = np.dtype(draw.dtype).itemsize
    codecs = rnd.choice([
        [], [{"name": "gzip", "configuration": {"level": 3}}],
        [{"name": "zstd", "configuration": {"level": 1, "checksum": rnd.random() < .5}}],
        [{"name": "blosc", "configuration": {"cname": rnd.choice(["lz4", "zstd", "zlib", "blosclz", "lz4hc"]), "clevel": 5,
                                             "shuffle": rnd.choice(["noshuffle", "shuffle", "bitshuffle"]),
                                             "typesize": size, "blocksize": 0}}]])
    return codecs + ([{"name": "crc32c"}] if rnd.random() < .3 else [])


def array_codecs(rnd, draw):
    order = list(range(draw.rank))
    rnd.shuffle(order)
    turn = [{"name": "transpose", "configuration": {"order": order}}] if rnd.random() < .4 else []
    return turn + [{"name": "bytes", "configuration": {"endian": rnd.choice(["little", "big"])}}]


def document3(rnd, draw, may_shard=True):
    """zarr.json, and what is to be written at once."""
    codecs = array_codecs(rnd, draw) + bytes_codecs(rnd, draw)
    whole = draw.chunk
    if may_shard and rnd.random() < .5:
        whole = [c * rnd.randint(1, 3) for c in draw.chunk]
        index = [{"name": "bytes", "configuration": {"endian": "little"}}]
        codecs = [{"name": "sharding_indexed", "configuration": {
            "chunk_shape": draw.chunk, "codecs": codecs, "index_location": rnd.choice(["start", "end"]),
            "index_codecs": index + ([{"name": "crc32c"}] if rnd.random() < .8 else [])}}]
    fill = draw.fill if draw.fill == draw.fill else "NaN"
    return {"zarr_format": 3, "node_type": "array", "shape": draw.shape, "data_type": draw.dtype, "codecs": codecs,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": whole}},
            "chunk_key_encoding": {"name": rnd.choice(["default", "v2"]), "configuration": {"separator": rnd.choice("./")}},
            "fill_value": bool(fill) if draw.dtype == "bool" else fill, "attributes": {}}, whole


def put(path, name, document):
    os.makedirs(path)
    with open(os.path.join(path, name), "w") as f:
        json.dump(document, f)


def zarr3(rnd, path):
    import zarr
    draw = Draw(rnd, INTS + FLOATS + ["bool"])
    document, whole = document3(rnd, draw)
    put(path, "zarr.json", document)
    array = zarr.open_array(path, mode="r+", zarr_format=3)
    for at in draw.regions(whole):
        array[at] = draw.data[at]
    return draw, "zarr", document["codecs"][0]["name"] + " " + document["codecs"][-1]["name"]


def zarr2(rnd, path):
    import numcodecs as nc
    import zarr
    draw = Draw(rnd, INTS + FLOATS + ["bool"])
    compressor = rnd.choice([None, nc.Zlib(1), nc.GZip(1), nc.BZ2(1), nc.LZ4(), nc.Zstd(1), nc.LZMA(preset=1),
                             nc.Blosc("zstd", 3, nc.Blosc.BITSHUFFLE), nc.Blosc("lz4"), nc.Blosc("zlib", 1, 0)])
    numbers = "<>"[rnd.randint(0, 1)] + np.dtype(draw.dtype).str[1:] if np.dtype(draw.dtype).itemsize > 1 else draw.dtype
    filters = rnd.choice([None, None, [nc.Delta(numbers)], [nc.Shuffle(np.dtype(numbers).itemsize)]])
    if draw.dtype not in INTS:
        filters = None
    array = zarr.create(store=zarr.DirectoryStore(path), shape=draw.shape, chunks=draw.chunk, dtype=numbers,
                        order=rnd.choice("CF"), compressor=compressor, filters=filters, fill_value=draw.fill,
                        dimension_separator=rnd.choice("./"))
    for at in draw.regions(draw.chunk):
        array[at] = draw.data[at]
    return draw, "zarr", "%s %s" % (getattr(compressor, "codec_id", "raw"), filters[0].codec_id if filters else "")


def tensorstore(rnd, path):
    import tensorstore as ts
    kind = rnd.choice(["zarr", "zarr3", "n5"])
    draw = Draw(rnd, INTS + FLOATS)
    whole = draw.chunk
    if kind == "zarr3":
        metadata, whole = document3(rnd, draw)
        for key in ("zarr_format", "node_type"):
            del metadata[key]
        what = metadata["codecs"][0]["name"] + " " + metadata["codecs"][-1]["name"]
    elif kind == "zarr":
        packed = rnd.choice([None, {"id": "zlib", "level": 1}, {"id": "bz2", "level": 1}, {"id": "zstd", "level": 1},
                             {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 2}])
        metadata = {"shape": draw.shape, "chunks": draw.chunk, "compressor": packed, "order": rnd.choice("CF"),
                    "dimension_separator": rnd.choice("./"), "fill_value": "NaN" if draw.fill != draw.fill else draw.fill,
                    "dtype": "|" + np.dtype(draw.dtype).str[1:] if np.dtype(draw.dtype).itemsize == 1
                    else rnd.choice("<>") + np.dtype(draw.dtype).str[1:]}
        what = packed["id"] if packed else "raw"
    else:
        draw.fill = 0
        packed = rnd.choice([{"type": "raw"}, {"type": "gzip", "useZlib": rnd.random() < .5}, {"type": "bzip2"}, {"type": "xz"},
                             {"type": "zstd"}, {"type": "blosc", "cname": "lz4", "clevel": 3, "shuffle": 1}])
        metadata = {"dimensions": draw.shape[::-1], "blockSize": draw.chunk[::-1], "dataType": draw.dtype,
                    "compression": packed}
        what = packed["type"]
    store = ts.open({"driver": kind, "kvstore": {"driver": "file", "path": path}, "metadata": metadata},
                    create=True).result()
    for at in draw.regions(whole):
        if kind == "n5":
            store[at[::-1]] = draw.data[at].T
        else:
            store[at] = draw.data[at]
    return draw, kind.rstrip("3"), kind + " " + what


def zarrita(rnd, path):
    import zarrita
    draw = Draw(rnd, INTS + FLOATS)
    document, whole = document3(rnd, draw)
    put(path, "zarr.json", document)
    array = zarrita.Array.open(zarrita.LocalStore(os.path.dirname(path)) / os.path.basename(path))
    for at in draw.regions(whole):
        array[at] = draw.data[at]
    # It does not always write what it is given (chunks at the ends of shards that the array does not fill): what counts
    # is what it reads itself.
    draw.data = np.asarray(array[tuple(slice(0, n) for n in draw.shape)])
    return draw, "zarr", document["codecs"][0]["name"] + " " + document["codecs"][-1]["name"]


def z5py_bigdataviewer(rnd, path):
    """setup0/timepoint<M>/s0: the first two axes are time, and a channel that the datasets do not have."""
    import z5py
    draw = Draw(rnd, INTS + FLOATS, (5,))
    draw.data, draw.fill, draw.below = draw.data[:, :1], 0, ".n5"
    packed = rnd.choice(["raw", "gzip", "bzip2"])
    f = z5py.File(path + draw.below, "a")
    setup = f.create_group("setup0")
    setup.attrs["downsamplingFactors"], setup.attrs["dataType"] = [[1, 1, 1]], draw.dtype
    for i, one in enumerate(draw.data[:, 0]):
        f.create_dataset("setup0/timepoint%d/s0" % i, data=one, compression=packed,
                         chunks=tuple(min(c, n) for c, n in zip(draw.chunk[2:], one.shape)))
    return draw, "n5", "bigdataviewer " + packed


def z5py(rnd, path):
    import z5py
    if rnd.random() < .25:
        return z5py_bigdataviewer(rnd, path)
    is_zarr = rnd.random() < .4
    draw = Draw(rnd, INTS + FLOATS, (2, 3, 3, 4))
    draw.fill, draw.chunk = 0, [min(c, n) for c, n in zip(draw.chunk, draw.shape)]
    packed = rnd.choice(["raw", "gzip", "bzip2"] if not is_zarr else ["raw", "zlib", "bzip2", "blosc"])
    draw.below = (".zarr" if is_zarr else ".n5") + "/d"
    f = z5py.File(path + draw.below[:-2], "a")
    array = f.create_dataset("d", shape=tuple(draw.shape), chunks=tuple(draw.chunk), dtype=draw.dtype, compression=packed)
    for at in draw.regions(draw.chunk):
        array[at] = draw.data[at]
    return draw, ("zarr" if is_zarr else "n5"), packed


def main(library, top, seed, count):
    writers = {"zarr-python-3": zarr3, "zarr-python-2": zarr2, "tensorstore": tensorstore, "zarrita": zarrita, "z5py": z5py}
    listed = []
    for i in range(int(count)):
        rnd = random.Random("%s %s %d" % (library, seed, i))
        name = "%s-%02d" % (library, i)
        draw, scheme, what = writers[library](rnd, os.path.join(top, name))
        np.save(os.path.join(top, name + ".npy"), draw.data)
        listed.append({"name": name, "path": name + getattr(draw, "below", ""), "scheme": scheme, "what": "%s %s %s of %s" % (
            what, draw.dtype, "x".join(map(str, draw.shape)), "x".join(map(str, draw.chunk)))})
    with open(os.path.join(top, "list.json"), "w") as f:
        json.dump(listed, f)


if __name__ == "__main__":
    main(*sys.argv[1:])
