"""Images of any mode to 8-bit RGB: scaled by the depth that the file says, or refused."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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

    Raises:
        UnknownRangeError: float, 32-bit or signed values, or samples that Pillow takes for others;
            names the mode.
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
