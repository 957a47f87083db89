# SPDX-License-Identifier: Apache-2.0
"""The content of voxgen's volumes in numpy: see voxgen_content.h, which defines it."""
import numpy as np

_U = np.uint64
_M = _U(0xD6E8FEB86659FD93)
_PX = _U(0x9E3779B97F4A7C15)
_PY = _U(0xC2B2AE3D27D4EB4F)
_PZ = _U(0x165667B19E3779F9)
_PC = _U(0x27D4EB2F165667C5)
_PM = 0x85EBCA77C2B2AE63
_PS = 0xFF51AFD7ED558CCD


def _mix(v):
    for _ in range(2):
        v = v ^ (v >> _U(32))
        v = v * _M
    return v ^ (v >> _U(32))


def _place(base, x, y, z, c):
    u = [np.asarray(a, np.int64).astype(_U) for a in (x, y, z, c)]
    return _mix(u[0] * _PX + u[1] * _PY + u[2] * _PZ + u[3] * _PC + base)


def _tri(v, p):
    m = np.mod(v, p)  # floor: the sign of p
    return np.minimum(m, p - m).astype(_U)


def _index(base, x, y, z, c):
    return _place(base, x, y, z, c)


def _grey(base, x, y, z, c):
    waves = _tri(x + 2 * z, 48) + _tri(y + z + 16 * c, 32) + _tri(x + y, 16)
    return _U(96) + waves + (_place(base, x, y, z, c) & _U(7))


def _labels(base, x, y, z, c):
    cz = (z + 5) >> 4
    cy = (y + (_place(base, 0, 0, cz, c) & _U(31)).astype(np.int64)) >> 5
    cx = (x + (_place(base, 0, cy, cz, c) & _U(31)).astype(np.int64)) >> 5
    h = _place(base, cx, cy, cz, c + 1)
    return np.where(h >> _U(60), h | _U(1), _U(0))


_KINDS = {"grey": _grey, "labels": _labels, "index": _index}


def content(name, seed, mip, box, channels, dtype):
    """The voxels of `box`, ((x0, x1), (y0, y1), (z0, z1)), as an array of shape (c, z, y, x)."""
    dtype = np.dtype(dtype)
    base = np.array([(mip * _PM + seed * _PS) % 2**64], dtype=_U)
    (x0, x1), (y0, y1), (z0, z1) = box
    c, z, y, x = np.ogrid[0:channels, z0:z1, y0:y1, x0:x1]
    shape = (channels, z1 - z0, y1 - y0, x1 - x0)
    with np.errstate(over="ignore"):
        v = np.broadcast_to(_KINDS[name](base, x, y, z, c), shape)
    if dtype == np.float32:
        return (v & _U(0xFFFFFF)).astype(np.float32) / np.float32(256)
    return v.astype(np.dtype("u%d" % dtype.itemsize)).view(dtype)
