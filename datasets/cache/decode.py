"""One image file to 8-bit RGB pixels, as the field's loaders do it.

Modes of more than 8 bits are scaled by the depth that the file states, or refused.
"""

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
from datasets.cache.originals import BY_PROGRAM, REDUCED_BY, kept_size, opened
from datasets.domain_dataset import DatasetError

FULL = 65535
# Formats whose grey values Pillow gives over 0..65535, whatever their depth.
FULL_RANGE = ("PNG", "PPM", "JPEG2000")

# Tags of TIFF.
BITS, PHOTOMETRIC, PLANES, SAMPLE_FORMAT = 258, 262, 284, 339
WHITE_IS_ZERO, SEPARATE = 0, 2
UNSIGNED = (1, 4)  # 4: undefined, read as unsigned
SAMPLE_FORMATS = {2: "signed integers", 3: "floating point", 5: "complex", 6: "complex"}


class UnknownRangeError(Exception):
    """Nothing says which of an image's values are black and white."""


def to_rgb(image: Image.Image) -> tuple[Image.Image, int]:
    """The image in mode RGB; and the largest value, of 65,535, of a deep grey one, -1 of others.

    Modes of 8 bits and fewer are Pillow's `convert("RGB")`, as in the field's loaders. Of colours
    in 16 bits Pillow reads the upper eight. Grey of 9 to 16 bits, which `convert` clips at 255, is
    scaled: 0 is black, the largest value of the file's depth is white. The scale is the depth that
    the samples are stored in: what PNG's sBIT or TIFF's MaxSampleValue say of the data's origin is
    not meant for display (PNG, 11.3.2.7; TIFF 6.0, section 8).

    Raises UnknownRangeError: float, 32-bit or signed values, or samples that Pillow takes for
    others; names the mode.
    """
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    for kind in _numbers(tags.get(SAMPLE_FORMAT, 1)):
        if kind not in UNSIGNED:
            what = SAMPLE_FORMATS.get(kind, f"sample format {kind}")
            raise _refused(image, f"{what} of {_bits(tags)} bits")
    if tags.get(PLANES) == SEPARATE and _bits(tags) > 8:
        raise _refused(image, f"{_bits(tags)} bits in a plane for each colour, read as 8 bits")
    image.load()
    if image.mode == "F":
        raise _refused(image, "floating point")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image.convert("RGB"), -1
    if tags:
        bits = _bits(tags)
        if bits > 16:
            raise _refused(image, f"{bits}-bit integers")
        largest = 2**bits - 1
    elif image.format in FULL_RANGE:
        largest = FULL
    else:
        raise _refused(image, f"integers of more than 8 bits in a {image.format} file")
    values = np.asarray(image).astype(np.int64)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow turns 8 bits over, but not more
        values = largest - values
    grey: NDArray[np.uint8] = ((values * 510 + largest) // (2 * largest)).astype(np.uint8)
    peak = int(values.max(initial=0)) * FULL // largest
    return Image.fromarray(grey).convert("RGB"), peak


def _bits(tags: object) -> int:
    return max(_numbers(tags.get(BITS, 1)), default=1)  # type: ignore[attr-defined]


def _numbers(value: object) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)  # type: ignore[return-value]


def _refused(image: Image.Image, what: str) -> UnknownRangeError:
    return UnknownRangeError(
        f"mode {image.mode} ({what}): nothing says which values are black and white; save it with "
        "8 bits, or as unsigned 16-bit grey that uses the whole range"
    )


WHOLE, TRUNCATED, UNREADABLE = "whole", "truncated", "unreadable"


class Row(NamedTuple):
    """What the index knows of a file.

    file: its path from the domain's folder, the class first.
    state: `whole`, `truncated` (decoded as far as it goes) or `unreadable` (left out).
    width, height: in pixels, before it was brought to the cache's size; 0 if unreadable.
    bytes, modified: size and time (ns) of the file.
    sha256: of the file (hex).
    pixels: sha256 of the pixels in the cache (hex).
    reason: why it is not whole.
    peak: the largest value, of 65,535, of a grey image deeper than 8 bits; -1 for others.
    frames: the number of images in the file, of which the first is used.
    original: sha256 of the pixels that training crops are cut from (hex), if they are kept.
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
    original: str = ""


def decode(
    path: Path, file: image_tree.ImageFile, out: NDArray[np.uint8], originals: int = 0
) -> tuple[Row, NDArray[np.uint8] | None]:
    """Writes an image into `out`, uint8 [S, S, 3]; gives what was found, and its original.

    originals: the shorter side that larger originals are reduced to; 0: none is kept.

    Like torchvision's pil_loader and Resize((S, S)): converted to RGB, not turned as EXIF asks,
    brought to S x S by Pillow's bilinear filter unless it has that size. Other than there, grey
    images deeper than 8 bits are scaled, and values without a known range are refused (see
    `datasets.cache.decode`).

    Raises DatasetError: the file is not the one that was listed.
    """
    try:
        if file.bytes < 0 and path.exists():
            return Row(*file[:1], UNREADABLE, 0, 0, *file[1:], "", "", "no ordinary file"), None
        data = path.read_bytes()
        modified = path.stat().st_mtime_ns
    except OSError as error:
        return Row(
            *file[:1], UNREADABLE, 0, 0, *file[1:], "", "", error.strerror or str(error)
        ), None
    if (len(data), modified) != (file.bytes, file.modified):
        raise DatasetError(f"{path} changed while the cache was built from it; run again")
    sha256 = hashlib.sha256(data).hexdigest()
    known = (file.bytes, file.modified, sha256)
    try:
        width, height, peak, frames, original = _pixels(data, out, originals)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        return Row(file.path, UNREADABLE, 0, 0, *known, "", _unidentified(data)), None
    except UnknownRangeError as error:
        return Row(file.path, UNREADABLE, 0, 0, *known, "", str(error)), None
    except Exception as error:  # Pillow's readers raise all kinds on damaged files
        state = TRUNCATED if not ImageFile.LOAD_TRUNCATED_IMAGES else UNREADABLE
        return Row(file.path, state, 0, 0, *known, "", str(error) or type(error).__name__), None
    pixels = hashlib.sha256(out.data).hexdigest()
    kept = "" if original is None else hashlib.sha256(original.data).hexdigest()
    return Row(file.path, WHOLE, width, height, *known, pixels, "", peak, frames, kept), original


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


def _pixels(
    data: bytes, out: NDArray[np.uint8], originals: int
) -> tuple[int, int, int, int, NDArray[np.uint8] | None]:
    """Fills `out`; returns the image's own width and height, its peak, frames and original."""
    size = (out.shape[1], out.shape[0])
    with opened(io.BytesIO(data)) as image:
        rgb, peak = to_rgb(image)
        own = image.size
        frames = 1
        if image.format in ("TIFF", "PNG", "WEBP", "GIF"):  # others hold previews beside the image
            with suppress(Exception):  # what comes after the first does not matter
                frames = getattr(image, "n_frames", 1)
    original = None
    if originals:
        kept = kept_size(*own, originals)
        original = np.asarray(rgb if kept == own else rgb.resize(kept, REDUCED_BY))
    if own != size:
        rgb = rgb.resize(size, Image.Resampling.BILINEAR)
    out[:] = np.asarray(rgb)
    return *own, peak, frames, original


def _unidentified(data: bytes) -> str:
    """Why Pillow knows no reader for a file: which format it begins as, and what is odd in it."""
    if not data:
        return "empty"
    for name, (reader, accepts) in Image.OPEN.items():
        if accepts is not None and accepts(data[:16]) is True:
            if name in BY_PROGRAM:
                return f"an {name} file, for which Pillow starts another program"
            try:
                reader(io.BytesIO(data), "")
            except Exception as error:
                return f"a {name} file of a kind that Pillow does not read ({error})"
    begins = data[:12].decode("ascii", "backslashreplace")
    return f"no image format known to Pillow; begins with {begins!r}"
