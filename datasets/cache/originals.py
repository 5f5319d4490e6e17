"""Which pixels of an image are kept for training crops."""

from __future__ import annotations

import contextlib
import math
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets.image_tree import ImageTree

# Of Pillow's filters the one that keeps most of the detail that a crop of half the size shows.
REDUCED_BY = Image.Resampling.LANCZOS
LOOKED_AT = 32  # files of a domain whose headers say how large its originals are

# Formats that are not opened: for EPS Pillow starts Ghostscript, and IPTC may hold an EPS.
BY_PROGRAM = ("EPS", "IPTC")


def opened(file: Path | IO[bytes]) -> Image.Image:
    """An image of any format that Pillow reads by itself, whatever the file is called."""
    return Image.open(file, formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    Image.preinit()  # the usual ones are tried first
    Image.init()
    return tuple(name for name in Image.ID if name not in BY_PROGRAM)


def kept_size(width: int, height: int, side: int) -> tuple[int, int]:
    """The size of an image or, if its shorter side is longer than `side`, reduced to that."""
    shorter = min(width, height)
    if shorter <= side:
        return width, height
    return round(width * side / shorter), round(height * side / shorter)


def kept_sizes(sizes: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """The same of many images: widths and heights [n, 2]."""
    kept = [kept_size(width, height, side) for width, height in sizes.tolist()]
    return np.array(kept, np.int64).reshape(-1, 2)


def kept_bytes(width: int, height: int, side: int) -> int:
    """How many bytes of an image are kept; none if `side` is 0."""
    return 3 * math.prod(kept_size(width, height, side)) if side else 0


def expected_bytes(tree: ImageTree, side: int) -> int:
    """About how many bytes are kept of all images, by the sizes that some of the files state."""
    if not side:
        return 0
    total = 0.0
    for domain in tree.domains:
        sizes = []
        for file in domain.files[:: max(1, len(domain.files) // LOOKED_AT)]:
            if file.bytes < 0:  # a pipe, whose opening may never end
                continue
            place = tree.place(domain.name, file)
            with contextlib.suppress(Exception), opened(place) as image:
                sizes.append(kept_bytes(*image.size, side))
        total += len(domain.files) * sum(sizes) / max(1, len(sizes))
    return int(total)
