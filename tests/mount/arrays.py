# SPDX-License-Identifier: Apache-2.0
"""Arrays of Zarr and N5 written by hand, uncompressed, for tests of what is around the chunks."""
import itertools
import json
import os

import numpy as np


def put(top, path, document):
    at = os.path.join(top, path)
    os.makedirs(os.path.dirname(at), exist_ok=True)
    with open(at, "w") as f:
        f.write(document if isinstance(document, str) else json.dumps(document))


def numbers(shape, dtype, seed=0):
    """Every element differs from its neighbours."""
    n = int(np.prod(shape))
    return ((np.arange(n, dtype="uint64") * 2654435761 + seed * 977) >> 7).astype(dtype).reshape(shape)


def chunks(data, chunk, fill):
    """(index, whole chunk) of each."""
    grid = [range(-(-n // c)) for n, c in zip(data.shape, chunk)]
    for index in itertools.product(*grid):
        whole = np.full(chunk, fill, data.dtype)
        part = data[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunk))]
        whole[tuple(slice(n) for n in part.shape)] = part
        yield index, whole


def write_bytes(top, path, data):
    at = os.path.join(top, path)
    os.makedirs(os.path.dirname(at), exist_ok=True)
    with open(at, "wb") as f:
        f.write(data)


def zarr2(top, path, data, chunk, fill=0, separator="/", attributes=None, **more):
    """more: members of .zarray to be changed; None takes one away."""
    for index, whole in chunks(data, chunk, fill):
        write_bytes(top, os.path.join(path, (separator or "/").join(map(str, index))), whole.tobytes())
    document = {"zarr_format": 2, "shape": data.shape, "chunks": chunk, "dtype": data.dtype.str, "fill_value": fill,
                "order": "C", "compressor": None, "filters": None, "dimension_separator": separator}
    document.update(more)
    put(top, os.path.join(path, ".zarray"), {k: v for k, v in document.items() if k != "dimension_separator" or v})
    if attributes is not None:
        put(top, os.path.join(path, ".zattrs"), attributes)


def zarr3(top, path, data, chunk, fill=0, names=None, **more):
    for index, whole in chunks(data, chunk, fill):
        write_bytes(top, os.path.join(path, "c", *map(str, index)), whole.tobytes())
    document = {"zarr_format": 3, "node_type": "array", "shape": data.shape, "data_type": data.dtype.name,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
                "chunk_key_encoding": {"name": "default"}, "fill_value": fill,
                "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]}
    if names:
        document["dimension_names"] = names
    document.update(more)
    put(top, os.path.join(path, "zarr.json"), document)


def n5(top, path, data, block, **more):
    """`data` and `block` as C has them, (z, y, x)."""
    for index, whole in chunks(data, block, 0):
        head = np.array([0, data.ndim], ">u2").tobytes() + np.array(block[::-1], ">u4").tobytes()
        body = whole.astype(whole.dtype.newbyteorder(">")).tobytes()
        write_bytes(top, os.path.join(path, *map(str, index[::-1])), head + body)
    document = {"dimensions": data.shape[::-1], "blockSize": block[::-1], "dataType": data.dtype.name,
                "compression": {"type": "raw"}}
    document.update(more)
    put(top, os.path.join(path, "attributes.json"), document)


def bdv(top, setup, time, scales, block, **more):
    """One time point of BigDataViewer's, each scale half as fine as the one before."""
    at = "setup%d/timepoint%d" % (setup, time)
    for i, data in enumerate(scales):
        n5(top, "%s/s%d" % (at, i), data, block, **dict({"downsamplingFactors": [2**i] * 3}, **more))
    put(top, at + "/attributes.json", {"multiScale": True, "resolution": [4, 5, 6]})
    put(top, "setup%d/attributes.json" % setup, {"dataType": scales[0].dtype.name,
                                                 "downsamplingFactors": [[2**i] * 3 for i in range(len(scales))]})


def ome(paths, axes, scales=None, **more):
    """`multiscales` of one image: axes as letters."""
    kinds = {"t": "time", "c": "channel"}
    units = {"t": "second", "c": None}
    listed = [{"name": a, "type": kinds.get(a, "space")} for a in axes]
    for a in listed:
        unit = units.get(a["name"], "micrometer")
        if unit:
            a["unit"] = unit
    datasets = [{"path": p, "coordinateTransformations": [{"type": "scale", "scale": s}]}
                for p, s in zip(paths, scales or [[1] * len(axes)] * len(paths))]
    return dict({"axes": listed, "datasets": datasets, "version": "0.4"}, **more)
