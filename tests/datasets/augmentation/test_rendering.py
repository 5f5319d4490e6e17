"""Rendered pixels are Pillow's, to the bit (those of Pillow 13 where a crop is made lower)."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional as F

from datasets.augmentation import rendering
from datasets.augmentation.draws import Draws, draw, nothing
from datasets.input_format import IMAGENET
from tests.datasets.augmentation.fields_transform import noise, transformed

SAME = np.tile(np.arange(256, dtype=np.uint8), (3, 1))


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    """Colours uint8 [3, 2^18]: every combination of the upper six bits, lower ones at random."""
    grid = np.indices((64, 64, 64)).reshape(3, -1) * 4
    colours = grid + np.random.default_rng(0).integers(0, 4, grid.shape)
    # Where two colours are equal, or all, the hue is decided by their order.
    colours[:, :60000] = colours[
        np.random.default_rng(1).integers(0, 3, (3, 60000)), np.arange(60000)
    ]
    return colours.astype(np.uint8)


def stored(images: np.ndarray) -> np.ndarray:
    """Read-only, as a view hands them over: other arrays would be compiled for anew (seconds)."""
    images.flags.writeable = False
    return images


def render(
    images: np.ndarray, rows: np.ndarray, draws: Draws, table: np.ndarray, out: np.ndarray
) -> None:
    """Those rows of images of one size."""
    _, height, width, colours = images.shape
    starts = rows * (height * width * colours)
    sizes = np.tile([width, height], (len(rows), 1))
    rendering.render(stored(images.reshape(-1)), starts, sizes, *vars(draws).values(), table, out)


def as_image(colours: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(colours.T.reshape(512, 512, 3)))


@pytest.mark.parametrize(
    ("operation", "pillows", "factors"),
    [
        (rendering.brightness, F.adjust_brightness, (0.7, 0.8123, 1.0, 1.2999)),
        (rendering.contrast, F.adjust_contrast, (0.7, 0.8123, 1.0, 1.2999)),
        (rendering.saturation, F.adjust_saturation, (0.7, 0.8123, 1.0, 1.2999)),
        (rendering.hue, F.adjust_hue, (-0.5, -0.3, -0.0039, 0.0, 0.0041, 0.2999, 0.5)),
    ],
)
def test_each_colour_operation_is_pillows_on_all_kinds_of_colours(
    colours: np.ndarray,
    operation: Callable[[np.ndarray, float], None],
    pillows: Callable[[Image.Image, float], Image.Image],
    factors: tuple[float, ...],
) -> None:
    for factor in factors:
        got = colours.copy()
        operation(got, factor)
        expected = np.asarray(pillows(as_image(colours), factor)).reshape(-1, 3).T
        assert np.array_equal(got, expected), factor


def test_grays_are_pillows(colours: np.ndarray) -> None:
    got = colours.copy()
    rendering.grayscale(got)
    expected = np.asarray(F.rgb_to_grayscale(as_image(colours), 3)).reshape(-1, 3).T
    assert np.array_equal(got, expected)


def test_any_crop_is_resized_as_pillow_does() -> None:
    image = stored(noise(1, 150, 140)[0])
    rng = np.random.default_rng(0)
    for _ in range(150):
        width, height = rng.integers(2, 130, 2)
        left, top, size = rng.integers(0, 10), rng.integers(0, 20), rng.integers(2, 120)
        planes = np.empty((3, size, size), np.uint8)
        rendering.resample(image, left, top, width, height, False, planes)
        box = (left, top, left + width, top + height)
        expected = Image.fromarray(image).crop(box).resize((size, size), Image.Resampling.BILINEAR)
        assert np.array_equal(planes.transpose(1, 2, 0), np.asarray(expected)), (box, size)


def test_a_whole_transform_gives_torchvisions_pixels() -> None:
    images = noise(24, 70, 60)
    images[12:] = images[12:] // 64 * 64  # few colours, so that many are equal
    draws = draw(0, 0, np.tile([60, 70], (24, 1)), np.array([60, 70]))
    out = np.empty((24, 64, 64, 3), np.uint8)
    render(images, np.arange(24), draws, SAME, out)
    assert draws.flips.any()
    assert draws.grays.any()
    for k in range(24):
        assert np.array_equal(out[k], transformed(images[k], draws, k, 64))


@pytest.mark.parametrize("side", [32, 40])
def test_what_is_not_augmented_is_resized_and_put_through_the_table(side: int) -> None:
    images = noise(3, side, side)
    table = IMAGENET.table()
    draws = nothing(2, side, side)
    out = np.empty((2, 32, 32, 3), np.float32)
    render(images, np.array([2, 0]), draws, table, out)
    for got, k in zip(out, (2, 0), strict=True):
        pixels = np.asarray(Image.fromarray(images[k]).resize((32, 32), Image.Resampling.BILINEAR))
        for colour in range(3):
            assert np.array_equal(got[..., colour], table[colour, pixels[..., colour]])
