"""Image files of kinds that Pillow does not write, byte by byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def png(values: NDArray[np.uint16], colour: int, extra: bytes = b"") -> bytes:
    """A 16-bit PNG of values [H, W, channels]; colour 0: grey, 2: RGB, 4: grey and alpha."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    body = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + _chunk(b"IEND", b"")


def significant_bits(bits: int) -> bytes:
    """The chunk that says how many bits the samples had before they were scaled."""
    return _chunk(b"sBIT", bytes([bits]))


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def tiff(
    width: int,
    strips: Sequence[bytes],
    bits: int,
    photometric: int = 1,
    sample_format: int = 1,
    samples: int = 1,
    order: str = "<",
) -> bytes:
    """A TIFF of one row; one strip, or one for each colour."""
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]),
        257: ("I", [1]),
        258: ("H", [bits] * samples),
        259: ("H", [1]),
        262: ("H", [photometric]),
        273: ("I", []),
        277: ("H", [samples]),
        278: ("I", [1]),
        279: ("I", [len(strip) for strip in strips]),
        284: ("H", [1 if len(strips) == 1 else 2]),
        339: ("H", [sample_format] * samples),
    }
    end = 8 + 2 + 12 * len(tags) + 4
    offsets, behind = [], b""
    for strip in strips:
        offsets.append(end + len(behind))
        behind += strip + b"\0" * (len(strip) % 2)
    tags[273] = ("I", offsets)
    table = b""
    for tag, (kind, numbers) in tags.items():
        packed = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        if len(packed) > 4:
            packed, behind = struct.pack(f"{order}I", end + len(behind)), behind + packed
        code = {"H": 3, "I": 4}[kind]
        table += struct.pack(f"{order}HHI", tag, code, len(numbers)) + packed.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(f"{order}IH", 8, len(tags))
    return head + table + struct.pack(f"{order}I", 0) + behind
