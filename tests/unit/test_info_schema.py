#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds info.json against its schema: what voxfs prints of real volumes passes, and every small change fails.

usage: test_info_schema.py SCHEMA DUMP FOLDER      (DUMP prints info.json of the `info` documents in the folder)
"""
import copy
import json
import math
import pathlib
import subprocess
import sys

try:
    import jsonschema
except ImportError:
    print("no jsonschema module")
    sys.exit(77)

WIDTH = {"uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4, "uint64": 8, "int64": 8, "float32": 4}


def documents(text):
    while text := text.lstrip():
        document, end = json.JSONDecoder().raw_decode(text)
        text = text[end:]
        yield document


def children(node):
    if isinstance(node, dict):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, list) else []


def wrong_values(value):
    """Values that cannot stand where this one stands, whatever it means."""
    yield {"surprise": 1}
    if isinstance(value, str):
        yield 7
    elif isinstance(value, bool):
        yield from (not value, "text", None)
    elif isinstance(value, (int, float)):
        yield from (-(1 << 60), str(value), [])
    elif isinstance(value, list):
        yield from ([], value * 65, value + [{}], "text")
    elif value is None:
        yield from (0.5, [])


def mutations(document):
    """Yields (path, what was done there, changed document)."""
    def nodes(node, path):
        yield path, node
        for key, value in children(node):
            yield from nodes(value, path + [key])

    def at(root, path):
        for key in path:
            root = root[key]
        return root

    for path, node in nodes(document, []):
        for key, value in children(node):
            for wrong in wrong_values(value):
                changed = copy.deepcopy(document)
                at(changed, path)[key] = wrong
                yield path + [key], wrong, changed
        if isinstance(node, dict):
            changed = copy.deepcopy(document)
            at(changed, path)["surprise"] = 1
            yield path, "a member too many", changed
            for key in node:
                changed = copy.deepcopy(document)
                del at(changed, path)[key]
                yield path + [key], "gone", changed


def check_sums(document):
    """What a schema cannot say: the members agree with one another."""
    channels = document["channels"]
    own = document["scales"][document["scale"]]
    for key in ("readable", "error", "voxel_size", "voxel_offset", "chunk_sizes", "encoding"):
        assert document[key] == own[key]
    if document["shape"]:
        shape = [document["shape"][d] for d in "zyx"]
        assert own["size"] == shape[::-1]
        assert document["numpy_shape"] == ([channels] if channels > 1 else []) + shape
        assert document["bytes"] == math.prod(shape) * channels * WIDTH[document["dtype"]]
        assert document["box"] == "_".join(f"{o}-{o + n}" for o, n in zip(document["voxel_offset"], own["size"]))
    else:
        assert not document["readable"]
    for mip, scale in enumerate(document["scales"]):
        assert scale["mip"] == mip and scale["dir"] == (f"mip{mip}" if mip else "")


def main(schema_path, dump, folder):
    schema = json.loads(pathlib.Path(schema_path).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    infos = sorted(pathlib.Path(folder).glob("*.json"))
    good, mutants, failed = 0, 0, 0

    printed = subprocess.run([dump, *infos], check=True, capture_output=True).stdout.decode()
    for document in documents(printed):
        good += 1
        check_sums(document)
        for error in validator.iter_errors(document):
            failed += 1
            print(f"{document['source']}: {error.json_path}: {error.message}")
        for path, what, changed in mutations(document):
            mutants += 1
            if validator.is_valid(changed):
                failed += 1
                print(f"{document['source']}: {path} changed to {what!r} passes")
    print(f"{good} documents, {mutants} mutants, {failed} failures")
    return 1 if failed or good < len(infos) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
