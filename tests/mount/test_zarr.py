# SPDX-License-Identifier: Apache-2.0
"""Groups, collections, time points and the finding of formats: Zarr, OME-Zarr and N5 around the chunks."""
import errno
import http.server
import json
import os
import threading

import numpy as np

import arrays
from kit import Mount, equal, fails, read_file
from test_crash import kill_server
from volumes import box_name


def info(m, *path):
    return json.loads(read_file(os.path.join(m.path, *path, "info.json")))


def whole(m, *path):
    """all.raw as an array, (channel,) z, y, x."""
    i = info(m, *path)
    data = read_file(os.path.join(m.path, *path, "all.raw"), 97)  # each such piece is found by itself
    return np.frombuffer(data, i["dtype"]).reshape(i["numpy_shape"])


def check(m, data, *path):
    """Lazily, eagerly, and a part."""
    got = whole(m, *path)
    equal(got.tobytes(), np.ascontiguousarray(data).tobytes(), "/".join(path))
    z, y, x = got.shape[-3:]
    folder = os.path.join(m.path, *path)
    equal(read_file(os.path.join(folder, box_name(((0, x), (0, y), (0, z))))), got.tobytes(), "eagerly " + "/".join(path))
    part = got[..., z // 2:, y // 2:, x // 2:]
    equal(read_file(os.path.join(folder, box_name(((x // 2, x), (y // 2, y), (z // 2, z))))),
          np.ascontiguousarray(part).tobytes(), "a part of " + "/".join(path))


def names(m, *path):
    return set(os.listdir(os.path.join(m.path, *path))) - {".voxfs"}


def refused(t, source, sentence, **more):
    m = Mount(t, source, **more)
    t.open.append(m)
    t.until(lambda: m.process.poll() is not None, "the end of a mount that cannot be")
    m.abandon()
    equal(m.process.returncode, 32)
    assert sentence in m.said(), m.said()


def test_time_points_are_folders(t):
    top = t.name("top")
    data = arrays.numbers((3, 2, 5, 6, 7), "uint16")
    arrays.zarr2(top, "0", data, (1, 1, 3, 4, 5))
    arrays.zarr2(top, "1", data[..., ::2, ::2], (2, 2, 5, 3, 4))  # two time points, two channels in a chunk
    arrays.put(top, ".zattrs", {"multiscales": [arrays.ome(["0", "1"], "tczyx", [[2.5, 1, 3, 2, 1], [2.5, 1, 3, 4, 2]])]})
    m = t.mount(top)
    equal(names(m), {"v"})
    equal(names(m, "v"), {"info.json", "t0", "t1", "t2"})
    about = info(m, "v")
    equal((about["times"], about["time"], about["time_step"], about["time_unit"]), (3, None, 2.5, "second"))
    equal([a["is"] for a in about["axes"]], ["time", "channel", "z", "y", "x"])
    for i in range(3):
        check(m, data[i], "v", "t%d" % i)
        check(m, data[i][..., ::2, ::2], "v", "t%d" % i, "mip1")
        equal(info(m, "v", "t%d" % i, "mip1")["time"], i)
        equal(info(m, "v", "t%d" % i, "mip1")["voxel_size"], [2000, 4000, 3000])
        equal(names(m, "v", "t%d" % i), {"info.json", "all.raw", "mip1"} | {n for n in names(m, "v", "t%d" % i) if "_" in n})
    for absent in ("t3", "t01", "t", "mip1", "all.raw", "0-7_0-6_0-5.raw", "t0/t0"):
        assert not os.path.exists(os.path.join(m.path, "v", absent)), absent


def test_a_thousand_time_points_of_eight_scales(t):
    """Each has a place of its own: nothing is taken for something else."""
    top = t.name("top")
    times, scales = t.scaled(1000, 20), 8
    for s in range(scales):
        arrays.put(top, "%d/zarr.json" % s, {
            "zarr_format": 3, "node_type": "array", "shape": [times, 4, 4, 4], "data_type": "uint32",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 4, 4, 4]}},
            "chunk_key_encoding": {"name": "default"}, "fill_value": 0, "codecs": ["bytes"]})
    picked = sorted(t.random.sample(range(times), 12)) + [times - 1]
    for s in range(scales):
        for i in picked:
            arrays.write_bytes(top, "%d/c/%d/0/0/0" % (s, i), np.full(64, i * 100 + s, "uint32").tobytes())
    arrays.put(top, "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {
        "version": "0.5", "multiscales": [arrays.ome([str(s) for s in range(scales)], "tzyx")]}}})
    m = t.mount(top)
    equal(len(names(m, "v")), times + 1)
    for i in picked:
        for s in range(scales):
            path = ["v", "t%d" % i] + (["mip%d" % s] if s else [])
            got = read_file(os.path.join(m.path, *path, "0-4_0-4_0-4.raw"))
            equal(got, np.full(64, i * 100 + s, "uint32").tobytes(), "/".join(path))


def test_labels_and_further_images(t):
    top = t.name("top")
    data = [arrays.numbers((5, 6, 7), "uint16", s) for s in range(5)]
    for i, path in enumerate(("0", "other", "labels/cells/0", "labels/a/b/0", "third")):
        arrays.zarr2(top, path, data[i], (3, 4, 5))
    arrays.put(top, ".zattrs", {"multiscales": [arrays.ome(["0"], "zyx"), arrays.ome(["other"], "zyx", name="deep/er"),
                                                arrays.ome(["third"], "zyx")], "omero": {"window": float("nan")}})
    arrays.put(top, "labels/.zattrs", {"labels": ["cells", "a/b", "gone"]})
    for path in ("labels/cells", "labels/a/b"):
        arrays.put(top, path + "/.zattrs", {"multiscales": [arrays.ome(["0"], "zyx")], "image-label": {}})
    m = t.mount(top)
    equal(names(m), {"v", "v-deep-er", "v-2", "v-labels-cells", "v-labels-a-b"})
    for name, i in (("v", 0), ("v-deep-er", 1), ("v-labels-cells", 2), ("v-labels-a-b", 3), ("v-2", 4)):
        check(m, data[i], name)
    equal(info(m, "v")["type"], "image")
    equal(info(m, "v-labels-cells")["type"], "segmentation")
    assert "labels/gone is not there" in m.said()
    m = t.mount("file://%s|zarr2:labels" % top)
    equal(names(m), {"v-cells", "v-a-b"})
    check(m, data[2], "v-cells")
    m = t.mount("zarr://file://%s/labels/cells/0" % top, name=None)
    check(m, data[2], "0")


def test_series_of_bioformats2raw(t):
    for listed in (False, True):
        top = t.name("top")
        data = [arrays.numbers((5, 6, 7), "uint8", s) for s in range(3)]
        arrays.put(top, ".zattrs", {"bioformats2raw.layout": 3})
        arrays.put(top, ".zgroup", {"zarr_format": 2})
        if listed:
            arrays.put(top, "OME/.zattrs", {"series": ["0", "2"]})
        for i, d in enumerate(data):
            arrays.zarr2(top, "%d/0" % i, d, (3, 4, 5))
            arrays.put(top, "%d/.zattrs" % i, {"multiscales": [arrays.ome(["0"], "zyx")]})
        m = t.mount(top)
        equal(names(m), {"v-0", "v-2"} if listed else {"v-0", "v-1", "v-2"})
        check(m, data[2], "v-2")


def series(top, i, data, v3):
    (arrays.zarr3 if v3 else arrays.zarr2)(top, "%s/0" % i, data, (3, 4, 5))
    image = {"multiscales": [arrays.ome(["0"], "zyx")]}
    group(top, str(i), image, v3)


def group(top, path, attributes, v3):
    if v3:
        arrays.put(top, path + "/zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {"ome": attributes}})
    else:
        arrays.put(top, path + "/.zattrs", attributes)


def test_damaged_series_of_bioformats2raw(t):
    """One that cannot be opened is named, and the others are there."""
    data = arrays.numbers((5, 6, 7), "uint8")
    for v3 in (False, True):
        for listed in (False, True):
            top = t.name("top")
            group(top, ".", {"bioformats2raw.layout": 3}, v3)
            if listed:
                group(top, "OME", {"series": [str(i) for i in range(5)] + ["gone"]}, v3)
            for i in (0, 1, 3, 4):
                series(top, i, data, v3)
            arrays.put(top, "1/" + ("zarr.json" if v3 else ".zattrs"), '{"multiscales": [')
            group(top, "2", {"multiscales": [arrays.ome(["0"], "zyx")]}, v3)  # and its array is not there
            os.remove(os.path.join(top, "3/0", "zarr.json" if v3 else ".zarray"))
            m = t.mount(top)
            equal(names(m), {"v-0", "v-4"})
            check(m, data, "v-4")
            for sentence in ("v: 1: ", "v: 2/0: it has no ", "v: 3/0: it has no ") + ("gone is not there",) * listed:
                assert sentence in m.said(), (sentence, m.said())
    arrays.put(top, "OME/zarr.json", '{"attributes": ')
    m = t.mount(top)
    equal(names(m), {"v-0", "v-4"})
    assert "v: OME: " in m.said(), m.said()
    for i in (0, 4):
        os.remove(os.path.join(top, "%d/zarr.json" % i))
    refused(t, top, "OME: ")
    top = t.name("top")
    arrays.put(top, ".zattrs", {"multiscales": [arrays.ome(["0"], "zyx")]})
    refused(t, top, "0: it has no .zarray")


def test_series_in_series(t):
    """Nobody writes them, but a store may say so without end."""
    data = arrays.numbers((5, 6, 7), "uint8")
    top = t.name("top")
    group(top, ".", {"bioformats2raw.layout": 3}, False)
    group(top, "0", {"bioformats2raw.layout": 3}, False)
    series(top, 1, data, False)
    series(top, "0/0", data, False)
    m = t.mount(top)
    check(m, data, "v-1")
    equal(names(m), {"v-1"})
    assert "a collection of series inside another" in m.said(), m.said()


def test_metadata_is_what_it_was(t):
    """To a new server, too: a series that has been repaired meanwhile does not shift the others, whose boxes would be
    taken for its own; and it asks no store, though the first one had to look which separator is meant."""
    data = [arrays.numbers((5, 6, 7), "uint8", s) for s in range(3)]
    top = t.name("top")
    group(top, ".", {"bioformats2raw.layout": 3}, False)
    for i, d in enumerate(data):
        series(top, i, d, False)
        arrays.zarr2(top, "%d/0" % i, d, (3, 4, 5), separator=None)
    os.rename(top + "/1/.zattrs", top + "/1/good")
    arrays.put(top, "1/.zattrs", "")
    d = t.faultd(top)
    m = t.mount(d.url.replace("precomputed://", "zarr2://"))
    check(m, data[2], "v-2")
    os.rename(top + "/1/good", top + "/1/.zattrs")
    kill_server(m)
    equal(names(m), {"v-0", "v-2"})
    check(m, data[2], "v-2")
    d.rules({"match": ".", "do": "reset"})
    kill_server(m)
    equal(read_file(m.file(box_name(((0, 7), (0, 6), (0, 5))), name="v-2")), data[2].tobytes())


def test_plain_groups(t):
    top = t.name("top")
    a, b = arrays.numbers((5, 6, 7), "float32"), arrays.numbers((6, 7), "int16")
    arrays.zarr2(top, "a", a, (3, 4, 5))
    arrays.zarr2(top, "deep/b", b, (3, 4))
    arrays.zarr2(top, "line", b[0], (3,))
    arrays.put(top, ".zgroup", {"zarr_format": 2})
    refused(t, top, "is a group without multiscales or consolidated metadata: name one of its arrays")
    documents = {p: {} for p in ("a/.zarray", "deep/b/.zarray", "line/.zarray")}
    for path in documents:
        with open(os.path.join(top, path)) as f:
            documents[path] = json.load(f)
    arrays.put(top, ".zmetadata", {"zarr_consolidated_format": 1, "metadata": documents})
    m = t.mount(top)
    equal(names(m), {"v-a", "v-deep-b"})
    check(m, a, "v-a")
    check(m, b[None], "v-deep-b")
    top = t.name("top")
    arrays.zarr3(top, "0", a, (3, 4, 5))
    arrays.put(top, "zarr.json", {"zarr_format": 3, "node_type": "group", "consolidated_metadata": None})
    refused(t, top, "it has 0, which may be what you mean")
    os.mkdir(top + "/none")
    refused(t, top + "/none", "is no volume: there is no `info` (Precomputed)")


def test_separators_that_nobody_wrote_down(t):
    for group in (False, True):
        for separator in "./":
            top = t.name("top")
            data = arrays.numbers((5, 6, 7), "uint8")
            arrays.zarr2(top, "0" if group else "", data, (3, 4, 5), separator=separator)
            path = os.path.join(top, "0" if group else "", ".zarray")
            with open(path) as f:
                document = json.load(f)
            del document["dimension_separator"]
            arrays.put(top, os.path.relpath(path, top), document)
            if group:
                arrays.put(top, ".zattrs", {"multiscales": [arrays.ome(["0"], "zyx")]})
            check(t.mount(top), data, "v")
            m = t.mount("zarr://%s#dimension_separator=%s" % (top, "/" if separator == "." else "."))
            equal(set(whole(m, "v").tobytes()), {0}, "the wrong separator is what the user asked for")


def test_axes_in_any_order(t):
    top = t.name("top")
    data = arrays.numbers((2, 5, 6, 7), "uint16")  # c, z, y, x
    for order in ("czyx", "zyxc", "xyzc", "cxyz", "yczx"):
        turned = np.ascontiguousarray(data.transpose(["czyx".index(a) for a in order]))
        arrays.zarr3(top, order, turned, (2, 3, 4, 2), names=list(order))
        m = t.mount("zarr://%s/%s" % (top, order))
        equal(info(m, "v")["channels"], 2)
        check(m, data, "v")


def test_channels_apart(t):
    """Chunks of two channels: whoever reads one channel asks for its chunks alone."""
    top = t.name("top")
    data = arrays.numbers((7, 5, 6, 7), "uint16")
    arrays.zarr3(top, "", data, (2, 3, 4, 5), names=list("czyx"))
    check(t.mount(top), data, "v")
    d = t.faultd(top)
    m = t.mount(d.url.replace("precomputed://", ""), "eager=0")
    fd = os.open(os.path.join(m.path, "v", "all.raw"), os.O_RDONLY)
    equal(os.pread(fd, 14, 5 * 420 + 28), data[5, 0, 2].tobytes(), "a row of the sixth channel")
    os.close(fd)
    m.until_idle()
    equal(set(d.chunk_requests()) - {"/zarr.json"}, {"/c/2/0/0/0", "/c/2/0/0/1"}, "requests")


def test_scales_that_cannot_be_read(t):
    top = t.name("top")
    data = arrays.numbers((5, 6, 7), "uint16")
    arrays.zarr2(top, "0", data, (3, 4, 5))
    arrays.zarr2(top, "1", data[:0], (3, 4, 5))
    arrays.zarr2(top, "2", data, (3, 4, 5), compressor={"id": "zfpy"})
    arrays.zarr2(top, "4", data[::2], (3, 4, 5))
    arrays.put(top, ".zattrs", {"multiscales": [arrays.ome("01234", "zyx")]})
    m = t.mount(top)
    equal(names(m, "v"), {"info.json", "all.raw", "mip4"})
    check(m, data[::2], "v", "mip4")
    errors = [s["error"] for s in info(m, "v")["scales"]]
    equal([e and e.split(": ")[-1] for e in errors],
          [None, "the array is empty", 'the codec "zfpy" is not supported', "it has no .zarray", None])


def test_fill_values(t):
    top = t.name("top")
    for dtype, fill in (("uint64", 2**64 - 1), ("int64", -2**63), ("uint64", 2**63 + 1), ("float32", "NaN"), ("uint8", 255)):
        data = arrays.numbers((5, 6, 7), dtype)
        name = "%s%s" % (dtype, fill)
        arrays.zarr3(top, name, data, (3, 4, 5), fill=float("nan") if fill == "NaN" else fill, fill_value=fill)
        os.remove(os.path.join(top, name, "c/1/0/1"))
        data[3:, :4, 5:] = float("nan") if fill == "NaN" else fill
        check(t.mount("zarr3://" + top + "/" + name), data, "v")


def test_n5_groups(t):
    top = t.name("top")
    data = arrays.numbers((5, 6, 7), "uint16")
    arrays.n5(top, "s0", data, (3, 4, 5))
    arrays.n5(top, "s1", data[::2, ::2, ::2], (3, 4, 5), downsamplingFactors=[2, 2, 2])
    m = t.mount("n5://" + top)
    check(m, data, "v")
    check(m, data[::2, ::2, ::2], "v", "mip1")
    equal(info(m, "v")["voxel_size"], None)
    arrays.put(top, "attributes.json", {"resolution": [4, 5, 6]})
    m = t.mount(top)
    equal(info(m, "v", "mip1")["voxel_size"], [8, 10, 12])
    m = t.mount(top + "/s1|n5:")  # what is said of the whole counts for a part
    equal(info(m, "v")["voxel_size"], [8, 10, 12])


def halves(data):
    return [data, np.ascontiguousarray(data[::2, ::2, ::2])]


def bdv(t, data, block=(3, 4, 5)):
    """{(setup, time): array} as BigDataViewer has them."""
    top = t.name("top") + ".n5"
    arrays.put(top, "attributes.json", {"n5": "2.5.0"})
    for (setup, time), array in data.items():
        arrays.bdv(top, setup, time, halves(array), block)
    return top


def test_bigdataviewer_setups_are_volumes(t):
    forms = {0: ((5, 6, 7), "uint16"), 2: ((9, 4, 3), "float32"), 9: ((5, 6, 7), "uint16")}  # some numbers are not there
    data = {(s, i): arrays.numbers(*forms[s], 10 * s + i) for s in forms for i in ((0, 1, 4) if s < 9 else (1,))}
    top = bdv(t, data)
    m = t.mount(top)
    equal(names(m), {"v-setup0", "v-setup2", "v-setup9"})
    equal(names(m, "v-setup2"), {"info.json", "t0", "t1", "t4"})
    equal(names(m, "v-setup9"), {"info.json", "t1"})
    for (s, i), one in data.items():
        for path, want in zip(([], ["mip1"]), halves(one)):
            check(m, want, "v-setup%d" % s, "t%d" % i, *path)
    for absent in ("v-setup0/t2", "v-setup0/t3", "v-setup0/t5", "v-setup0/all.raw", "v-setup9/t0", "v-setup1", "v"):
        assert not os.path.exists(os.path.join(m.path, absent)), absent
    about = info(m, "v-setup0", "t4", "mip1")
    equal((about["times"], about["time"], about["voxel_size"], about["voxel_unit"]), (5, 4, [8, 10, 12], None))
    equal(info(m, "v-setup0")["time"], None)
    m = t.mount("n5://%s/setup2" % top)  # one of them, and one time point of it
    equal(names(m), {"v"})
    check(m, data[2, 4], "v", "t4")
    m = t.mount("file://%s|n5:setup2/timepoint4" % top)
    check(m, data[2, 4], "v")


def test_bigdataviewer_with_one_of_each(t):
    data = arrays.numbers((5, 6, 7), "uint16")
    top = bdv(t, {(0, 0): data})
    m = t.mount(top)
    equal(names(m), {"v"})
    check(m, data, "v")
    check(m, halves(data)[1], "v", "mip1")
    os.remove(os.path.join(top, "setup0/timepoint0/s0/1/0/0"))
    data[:3, :4, 5:] = 0
    check(t.mount(t.faultd(top).url.replace("precomputed://", "")), data, "v")


def test_bigdataviewer_time_points_must_agree(t):
    """One form is read for all: what has another is not served as if it had that."""
    data = {(s, i): arrays.numbers((5, 6, 7), "uint16", s + i) for s in (0, 1) for i in (0, 1)}
    top = bdv(t, data)
    arrays.bdv(top, 0, 1, halves(data[0, 1]), (5, 4, 3))
    m = t.mount(top)
    equal(names(m), {"v-setup1"})
    assert "setup0/timepoint1/s0 has another form than in the first time point" in m.said(), m.said()
    check(m, data[1, 1], "v-setup1", "t1")
    m = t.mount(top + "/setup0/timepoint1")
    check(m, data[0, 1], "v")
    top = bdv(t, data)
    os.remove(os.path.join(top, "setup0/timepoint1/s1/attributes.json"))
    arrays.n5(top, "setup1/timepoint0/s1", halves(data[1, 0])[1].astype("int16"), (3, 4, 5))
    m = t.mount(top)
    for setup, sentence in ((0, "setup0/timepoint1/s1 has no attributes.json"),
                            (1, "its type is int16 and that of its setup uint16")):
        check(m, data[setup, 1], "v-setup%d" % setup, "t1")
        equal(names(m, "v-setup%d" % setup, "t1") & {"mip1"}, set())
        assert sentence in info(m, "v-setup%d" % setup)["scales"][1]["error"]


def test_bigdataviewer_axes_must_agree(t):
    data = {(0, i): arrays.numbers((5, 6, 7), "uint16", i) for i in (0, 1)}
    top = bdv(t, data, (3, 4, 5))
    arrays.bdv(top, 0, 1, halves(data[0, 1]), (3, 4, 5), axes=["z", "y", "x"])
    refused(t, top, "has another form than in the first time point")


def test_bigdataviewer_setups_that_cannot_be(t):
    data = {(s, 0): arrays.numbers((5, 6, 7), "uint16", s) for s in (0, 2)}
    top = bdv(t, data)
    arrays.put(top, "setup1/attributes.json", {"downsamplingFactors": [[1, 1, 1]], "dataType": "uint16"})
    arrays.put(top, "setup3/attributes.json", "{")
    m = t.mount(top)
    equal(names(m), {"v-setup0", "v-setup2"})
    assert "setup1 has no time points" in m.said() and "setup3: " in m.said(), m.said()
    for setup in (0, 2):
        os.remove(os.path.join(top, "setup%d/attributes.json" % setup))
    refused(t, top, "setup3: ")
    refused(t, top + "/setup1", "s0 has no attributes.json")


def test_format_is_forced(t):
    """Where documents of several formats lie side by side."""
    top = t.name("top")
    data = [arrays.numbers((5, 6, 7), "uint16", s) for s in range(3)]
    arrays.zarr2(top, "", data[0], (3, 4, 5), separator=".")
    arrays.zarr3(top, "", data[1], (3, 4, 5))
    arrays.n5(top, "", data[2], (3, 4, 5))
    for source, i in (("zarr2://" + top, 0), ("zarr://" + top, 1), (top, 1), ("file://" + top + "|zarr3:", 1),
                      ("n5://" + top, 2), (top + "|zarr2:", 0)):
        check(t.mount(source), data[i], "v")
    refused(t, "precomputed://" + top, "has no `info` document: not a Precomputed volume")
    refused(t, "zarr3://" + t.name("none"), "there is no directory")
    empty = t.name("empty")
    os.mkdir(empty)
    refused(t, "zarr3://" + empty, "has no `zarr.json`")
    refused(t, "zarr2://" + empty, "has neither `.zarray` nor")
    refused(t, "n5://" + empty, "has no `attributes.json`")
    refused(t, "graphene://https://x/y", "format graphene:// is not supported")


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<!doctype html><title>all is well</title>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_server_with_a_page_for_everything(t):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        refused(t, "http://127.0.0.1:%d/x" % server.server_port, "is not JSON")
        refused(t, "zarr3://http://127.0.0.1:%d/x" % server.server_port, "is not JSON")
    finally:
        server.shutdown()
        server.server_close()


def test_through_http(t):
    top = t.name("top")
    data = arrays.numbers((2, 3, 5, 6, 7), "uint16")
    arrays.zarr3(top, "x.zarr/0", data, (1, 2, 3, 4, 5))
    arrays.put(top, "x.zarr/zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {
        "version": "0.5", "multiscales": [arrays.ome(["0"], "tczyx")]}}})
    base = t.faultd(top).url.replace("precomputed://", "")
    for source in (base + "/x.zarr", "zarr3://" + base + "/x.zarr", base + "|zarr:x.zarr"):
        m = t.mount(source)
        for i in range(2):
            check(m, data[i], "v", "t%d" % i)


def test_errors_name_the_time_point(t):
    top = t.name("top")
    data = arrays.numbers((2, 5, 6, 7), "uint16")
    arrays.zarr2(top, "", data, (1, 3, 4, 5), attributes={"_ARRAY_DIMENSIONS": ["t", "z", "y", "x"]})
    arrays.write_bytes(top, "1/0/0/0", b"short")
    m = t.mount(top)
    check(m, data[0], "v", "t0")
    fails(errno.EBADMSG, read_file, os.path.join(m.path, "v/t1/0-2_0-2_0-2.raw"))
    assert "v/t1/0-2_0-2_0-2.raw" in m.errors() and "1/0/0/0" in m.errors(), m.errors()
