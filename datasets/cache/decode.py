"""One image file to pixels, as the field's loaders do it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from datasets import image_tree
from datasets.cache.colours import UnknownRangeError, to_rgb
from datasets.dataset_error import DatasetError

WHOLE, TRUNCATED, UNREADABLE = "whole", "truncated", "unreadable"


class Row(NamedTuple):
    """What the index knows of a file.

    Args:
        file: its path from the domain's folder, the class first.
        state: `whole`, `truncated` (decoded as far as it goes) or `unreadable` (left out).
        width, height: in pixels, before it was brought to the cache's size; 0 if unreadable.
        bytes, modified: size and time (ns) of the file.
        sha256: of the file (hex).
        pixels: sha256 of the pixels in the cache (hex).
        reason: why it is not whole.
        peak: the largest value, of 65,535, of a grey image deeper than 8 bits; -1 for others.
        frames: the number of images in the file, of which the first is used.
    """

    file: str
    state: str
    width: int
    height: int
    bytes: int
    modified: int
    sha256: str
    pixels: str
    reason: str
    peak: int = -1
    frames: int = 1


def decode(path: Path, file: image_tree.ImageFile, out: NDArray[np.uint8]) -> Row:
    """Writes an image into `out`, uint8 [S, S, 3], and says what was found.

    Like torchvision's pil_loader and Resize((S, S)): converted to RGB, not turned as EXIF asks,
    brought to S x S by Pillow's bilinear filter unless it has that size. Other than there, grey
    images deeper than 8 bits are scaled, and values without a known range are refused (see
    `datasets.cache.colours`).

    Raises:
        DatasetError: the file is not the one that was listed.
    """
    try:
        if file.bytes < 0 and path.exists():
            return Row(*file[:1], UNREADABLE, 0, 0, *file[1:], "", "", "no ordinary file")
        data = path.read_bytes()
        modified = path.stat().st_mtime_ns
    except OSError as error:
        return Row(*file[:1], UNREADABLE, 0, 0, *file[1:], "", "", error.strerror or str(error))
    if (len(data), modified) != (file.bytes, file.modified):
        raise DatasetError(f"{path} changed while the cache was built from it; run again")
    sha256 = hashlib.sha256(data).hexdigest()
    known = (file.bytes, file.modified, sha256)
    try:
        width, height, peak, frames = _pixels(data, out)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        return Row(file.path, UNREADABLE, 0, 0, *known, "", _unidentified(data))
    except UnknownRangeError as error:
        return Row(file.path, UNREADABLE, 0, 0, *known, "", str(error))
    except Exception as error:  # Pillow's readers raise all kinds on damaged files
        state = TRUNCATED if not ImageFile.LOAD_TRUNCATED_IMAGES else UNREADABLE
        return Row(file.path, state, 0, 0, *known, "", str(error) or type(error).__name__)
    pixels = hashlib.sha256(out.data).hexdigest()
    return Row(file.path, WHOLE, width, height, *known, pixels, "", peak, frames)


@contextmanager
def tolerant() -> Iterator[None]:
    """In the block Pillow decodes truncated files as far as they go, as DomainBed lets it.

    Pillow's switch holds for the whole process: let no other thread decode meanwhile.
    """
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _pixels(data: bytes, out: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Fills `out`, and returns the image's own width and height, its peak and its frames."""
    size = (out.shape[1], out.shape[0])
    with Image.open(io.BytesIO(data)) as image:
        rgb, peak = to_rgb(image)
        own = image.size
        frames = 1
        if image.format in ("TIFF", "PNG", "WEBP", "GIF"):  # others hold previews beside the image
            with suppress(Exception):  # what comes after the first does not matter
                frames = getattr(image, "n_frames", 1)
    if own != size:
        rgb = rgb.resize(size, Image.Resampling.BILINEAR)
    out[:] = np.asarray(rgb)
    return *own, peak, frames


def _unidentified(data: bytes) -> str:
    """Why Pillow knows no reader for a file: which format it begins as, and what is odd in it."""
    if not data:
        return "empty"
    for name, (reader, accepts) in Image.OPEN.items():
        if accepts is not None and accepts(data[:16]) is True:
            try:
                reader(io.BytesIO(data), "")
            except Exception as error:
                return f"a {name} file of a kind that Pillow does not read ({error})"
    begins = data[:12].decode("ascii", "backslashreplace")
    return f"no image format known to Pillow; begins with {begins!r}"
