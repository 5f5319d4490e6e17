"""Images cropped, resized and coloured as Pillow does it, to the bit, in compiled loops.

Resizing is that of Pillow 13's src/libImaging/Resample.c, colours are those of its ImageEnhance,
Blend.c and Convert.c, in the types that compute fastest: tests compare them with Pillow.

One file, because numba keeps machine code on disk until the file of the function called changes,
whatever happens to the files of functions that it calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.augmentation.compiled import compiled

f32 = np.float32
i32 = np.int32
# numba lets negative indices count from the end, which takes time, unless they cannot be negative.
ONE, TWO, THREE = np.uintp(1), np.uintp(2), np.uintp(3)
BITS = 22  # of a weight, after the point
HALF = i32(1 << (BITS - 1))


@compiled
def render(  # noqa: C901, PLR0913, PLR0917 - numba compiles plain loops over plain arrays
    pixels: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    boxes: NDArray[np.int64],
    flips: NDArray[np.bool_],
    orders: NDArray[np.int64],
    factors: NDArray[np.float64],
    grays: NDArray[np.bool_],
    table: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Images of any sizes into out [N, size, size, 3].

    pixels: bytes that hold the images. starts [N]: where in them each image begins. sizes [N, 2]:
    its width and height.
    boxes, flips, orders, factors and grays are those of `datasets.augmentation.draws.Draws`;
    table [3, 256] says for each channel what its 8-bit values become in `out`.
    """
    size = out.shape[1]
    planes = np.empty((3, size, size), np.uint8)
    flat = planes.reshape(3, -1)
    for n in range(len(starts)):
        begin, wide, high = starts[n], sizes[n, 0], sizes[n, 1]
        image = pixels[begin : begin + 3 * wide * high].reshape(high, wide, 3)
        left, top, width, height = boxes[n]
        plain = width == size and height == size and not flips[n] and not grays[n]
        if plain and orders.shape[1] == 0:
            for y in range(size):
                line, target = image[top + y, left : left + size], out[n, y]
                for x in range(size):
                    target[x, 0] = table[0, line[x, 0]]
                    target[x, 1] = table[1, line[x, 1]]
                    target[x, 2] = table[2, line[x, 2]]
            continue
        resample(image, left, top, width, height, flips[n], planes)
        for operation in orders[n]:
            factor = factors[n, operation]
            if operation == 0:
                brightness(flat, factor)
            elif operation == 1:
                contrast(flat, factor)
            elif operation == 2:
                saturation(flat, factor)
            else:
                hue(flat, factor)
        if grays[n]:
            grayscale(flat)
        red, green, blue, target = flat[0], flat[1], flat[2], out[n].reshape(-1, 3)
        for i in range(size * size):
            target[i, 0] = table[0, red[i]]
            target[i, 1] = table[1, green[i]]
            target[i, 2] = table[2, blue[i]]


@compiled
def resample(  # noqa: PLR0917 - called from compiled code, by position
    image: NDArray[np.uint8],
    left: int,
    top: int,
    width: int,
    height: int,
    flip: bool,
    planes: NDArray[np.uint8],
) -> None:
    """Writes a crop of `image` [H, W, 3], resized and mirrored if `flip`, to [3, size, size].

    Pixels beyond the crop have no part in it, as in torchvision's crop followed by resize.
    """
    size = planes.shape[1]
    lines = image.reshape(len(image), -1)[top : top + height]
    # Pillow below 13 never does; it differs by rounding where a crop is higher than `size`.
    if height > size and height - size > 2 * (width - size):
        squeezed = np.empty((size, 3 * width), np.uint8)
        _down(lines, 3 * left, squeezed)
        _across(squeezed, 0, width, flip, planes)
    else:
        rows = np.empty((3, height, size), np.uint8)
        _across(lines, 3 * left, width, flip, rows)
        for c in range(3):
            _down(rows[c], 0, planes[c])


@compiled
def taps(inside: int, outside: int) -> tuple[NDArray[np.uintp], NDArray[np.int32]]:
    """The pixels that make each pixel of a row resized from `inside` to `outside` pixels.

    Returns: the first of them [outside], and the weights of it and its followers [K, outside].
    """
    scale = inside / outside
    support = max(scale, 1.0)
    most = min(int(np.ceil(2 * support)), inside)
    first = np.empty(outside, np.uintp)
    weights = np.zeros((most, outside), np.int32)
    for i in range(outside):
        center = (i + 0.5) * scale
        low = max(int(center - support + 0.5), 0)
        start = min(low, inside - most)
        high = min(int(center + support + 0.5), start + most)
        total = 0.0
        for j in range(low, high):
            total += max(1.0 - abs((j - center + 0.5) / support), 0.0)
        for j in range(low, high):
            weight = max(1.0 - abs((j - center + 0.5) / support), 0.0) / total
            weights[j - start, i] = i32(0.5 + weight * (1 << BITS))
        first[i] = start
    return first, weights


@compiled
def _across(
    lines: NDArray[np.uint8], begin: int, width: int, flip: bool, planes: NDArray[np.uint8]
) -> None:
    """Resizes lines [h, ...] of `width` interleaved pixels from a byte on, to [3, h, size]."""
    first, weights = taps(width, planes.shape[2])
    if flip:
        first, weights = first[::-1].copy(), weights[:, ::-1].copy()
    for y in range(len(lines)):
        line = lines[y, begin : begin + 3 * width]
        red, green, blue = planes[0, y], planes[1, y], planes[2, y]
        if len(weights) == 2:  # the usual case, written out: enlarged
            for x in range(len(first)):
                i = THREE * first[x]
                w0, w1 = weights[0, x], weights[1, x]
                red[x] = (HALF + w0 * i32(line[i]) + w1 * i32(line[i + THREE])) >> BITS
                i += ONE
                green[x] = (HALF + w0 * i32(line[i]) + w1 * i32(line[i + THREE])) >> BITS
                i += ONE
                blue[x] = (HALF + w0 * i32(line[i]) + w1 * i32(line[i + THREE])) >> BITS
        else:
            for x in range(len(first)):
                i = THREE * first[x]
                r = g = b = HALF
                for k in range(len(weights)):
                    w = weights[k, x]
                    r += w * i32(line[i])
                    g += w * i32(line[i + ONE])
                    b += w * i32(line[i + TWO])
                    i += THREE
                red[x], green[x], blue[x] = r >> BITS, g >> BITS, b >> BITS


@compiled
def _down(lines: NDArray[np.uint8], begin: int, out: NDArray[np.uint8]) -> None:
    """Resizes columns of lines [h, ...] from a byte on, to [size, n]."""
    size, n = out.shape
    first, weights = taps(len(lines), size)
    total = np.empty(n, np.int32)
    for y in range(size):
        if len(weights) == 2:
            w0, w1 = weights[0, y], weights[1, y]
            upper = lines[first[y], begin : begin + n]
            lower = lines[first[y] + ONE, begin : begin + n]
            for x in range(n):
                out[y, x] = (HALF + w0 * i32(upper[x]) + w1 * i32(lower[x])) >> BITS
        else:
            total[:] = HALF
            for k in range(len(weights)):
                line, w = lines[first[y] + np.uintp(k), begin : begin + n], weights[k, y]
                for x in range(n):
                    total[x] += w * i32(line[x])
            for x in range(n):
                out[y, x] = total[x] >> BITS


@compiled
def brightness(planes: NDArray[np.uint8], factor: float) -> None:
    """Blends with black."""
    _blend_with_gray(planes, 0, factor)


@compiled
def contrast(planes: NDArray[np.uint8], factor: float) -> None:
    """Blends with the image's mean gray."""
    red, green, blue = planes[0], planes[1], planes[2]
    total = i32(0)
    for i in range(len(red)):
        total = i32(total + _luma(red[i], green[i], blue[i]))
    _blend_with_gray(planes, int(total / len(red) + 0.5), factor)


@compiled
def saturation(planes: NDArray[np.uint8], factor: float) -> None:
    """Blends each pixel with its own gray."""
    red, green, blue = planes[0], planes[1], planes[2]
    share = f32(factor)
    for i in range(len(red)):
        gray = f32(_luma(red[i], green[i], blue[i]))
        red[i] = _clip(gray + share * (f32(red[i]) - gray))
        green[i] = _clip(gray + share * (f32(green[i]) - gray))
        blue[i] = _clip(gray + share * (f32(blue[i]) - gray))


@compiled
def grayscale(planes: NDArray[np.uint8]) -> None:
    """Gives all three planes each pixel's gray."""
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(len(red)):
        red[i] = green[i] = blue[i] = _luma(red[i], green[i], blue[i])


@compiled
def hue(planes: NDArray[np.uint8], factor: float) -> None:
    """Turns each pixel's hue by `factor` full turns, in HSV of 8 bits each.

    Without branches, so that many pixels are turned at once. Numbers are whole but held as float32,
    which multiplies faster and is exact: none exceeds 2^24.
    """
    red, green, blue = planes[0], planes[1], planes[2]
    shift = f32(i32(factor * 255) % 256)
    for i in range(len(red)):
        r, g, b = f32(red[i]), f32(green[i]), f32(blue[i])
        value = max(r, max(g, b))
        least = min(r, min(g, b))
        chroma = value - least
        saturation = f32(i32(chroma / max(value, f32(1)) * f32(255)))
        # The strongest colour says which third of the circle it is, the other two where in it.
        middle = r + g + b - value - least
        part = (middle - value) / max(chroma, f32(1))
        back = (g < b) if r == value else ((r >= b) if g == value else (g >= r))
        third = f32(0) if r == value else (f32(2) if g == value else f32(4))
        sixths = third + (f32(-1) if back else f32(1)) + (-part if back else part)
        turns = sixths / f32(6)
        turns = turns if turns >= f32(0) else turns + f32(1)
        angle = f32(i32(turns * f32(255))) + shift
        angle = f32(6) * (angle if angle < f32(256) else angle - f32(256))
        red[i] = _channel(angle + f32(1275), saturation, value)
        green[i] = _channel(angle + f32(765), saturation, value)
        blue[i] = _channel(angle + f32(255), saturation, value)


@compiled
def _channel(angle: f32, saturation: f32, value: f32) -> i32:
    """A colour of HSV: value less a share that rises, stays and falls round the circle.

    The circle has 6 * 255 steps; `angle` may be up to twice that.
    """
    angle = angle if angle < f32(1530) else angle - f32(1530)
    share = max(min(min(angle, f32(1020) - angle), f32(255)), f32(0))
    return i32(value * (f32(65025) - saturation * share) * f32(1 / 65025) + f32(0.5))


@compiled
def _luma(red: int, green: int, blue: int) -> i32:
    """ITU-R 601-2 in 16 bits after the point, rounded; sums stay below 2^24, exact in float32."""
    weighted = f32(red) * f32(19595) + f32(green) * f32(38470) + f32(blue) * f32(7471)
    return i32((weighted + f32(32768)) * f32(1 / 65536))


@compiled
def _blend_with_gray(planes: NDArray[np.uint8], gray: int, factor: float) -> None:
    flat = planes.reshape(-1)
    share, base = f32(factor), f32(gray)
    for i in range(len(flat)):
        flat[i] = _clip(base + share * (f32(flat[i]) - base))


@compiled
def _clip(value: f32) -> i32:
    """Cut to 0..255, and its fraction cut off."""
    return i32(min(max(value, f32(0)), f32(255)))
