"""Images of every depth and mode: scaled by the depth that the file says, or refused."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.cache.decode import UnknownRangeError, to_rgb
from datasets.domain_dataset import DatasetError
from tests.datasets.photos import load, picture
from tests.datasets.raw_images import png, significant_bits, tiff

VALUES = np.array([0, 300, 32768, 65535], np.uint16)
GREY = [0, 1, 128, 255]  # what they are of 255


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def red(data: bytes) -> list[int]:
    """The first row of the first channel as Steppe decodes it; the others are the same."""
    pixels = np.asarray(to_rgb(Image.open(BytesIO(data)))[0])
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[..., :1]).all()
    return pixels[0, :, 0].tolist()


ROW = VALUES.reshape(1, 4)
DEEP = {
    "png": png(ROW[..., None], 0),
    # The samples fill their 16 bits, whatever they had before: PNG, 11.3.2.7.
    "png of 12 bits before": png(ROW[..., None], 0, significant_bits(12)),
    "png by pillow": saved(Image.fromarray(ROW), "PNG"),
    "tiff": tiff(4, [VALUES.tobytes()], 16),
    "tiff of a mac": tiff(4, [VALUES.astype(">u2").tobytes()], 16, order=">"),
    "tiff with lzw": saved(Image.fromarray(ROW), "TIFF", compression="tiff_lzw"),
    "tiff, white is 0": tiff(4, [(65535 - VALUES).tobytes()], 16, photometric=0),
    "pgm": b"P5 4 1 65535\n" + VALUES.astype(">u2").tobytes(),
    "jpeg 2000": saved(Image.fromarray(ROW), "JPEG2000", irreversible=False),
    "tiff of 12 bits": tiff(4, [bytes([0x00, 0x00, 0x13, 0x80, 0x0F, 0xFF])], 12),
    "pgm of 10 bits": b"P5 4 1 1023\n" + np.array([0, 5, 512, 1023], ">u2").tobytes(),
    "plain pgm of 10 bits": b"P2 4 1 1023\n0 5 512 1023\n",
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_grey_is_scaled_by_the_depth_of_its_file(name: str) -> None:
    assert red(DEEP[name]) == GREY


def test_eight_bits_in_sixteen_are_the_eight_bits() -> None:
    eight = np.arange(256, dtype=np.uint16).reshape(1, -1)
    assert red(saved(Image.fromarray(eight * 257), "PNG")) == list(range(256))


def deep_colours(planes: int) -> bytes:
    colours = np.array([[0, 0, 0], [300, 32768, 65535]], np.uint16)
    strips = [colours.tobytes()] if planes == 1 else [colour.tobytes() for colour in colours.T]
    return tiff(2, strips, 16, photometric=2, samples=3)


@pytest.mark.parametrize(
    "data",
    [
        png(np.array([[[0, 0, 0], [300, 32768, 65535]]], np.uint16), 2),
        deep_colours(planes=1),
        b"P6 2 1 65535\n" + np.array([0, 0, 0, 300, 32768, 65535], ">u2").tobytes(),
    ],
)
def test_deep_colours_are_scaled(data: bytes) -> None:
    pixels = np.asarray(to_rgb(Image.open(BytesIO(data)))[0])[0]
    np.testing.assert_array_equal(pixels, [[0, 0, 0], [1, 128, 255]])


REFUSED = {
    "F, floating point": saved(Image.new("F", (4, 1)), "TIFF"),
    "F, in a pfm": b"Pf\n1 1\n-1.0\n" + np.array([0.5], "<f4").tobytes(),
    "I, 32-bit integers": tiff(4, [bytes(16)], 32),
    "I, signed integers of 32 bits": saved(Image.new("I", (4, 1)), "TIFF"),
    "I, signed integers of 16 bits": tiff(4, [bytes(8)], 16, sample_format=2),
    # Pillow takes these for other values, without a word.
    "L, signed integers of 8 bits": tiff(4, [bytes(4)], 8, sample_format=2),
    "RGB, 16 bits in a plane for each colour": deep_colours(planes=3),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_without_a_known_range_are_refused_with_their_mode(name: str) -> None:
    mode, what = name.split(", ")
    with pytest.raises(UnknownRangeError) as error:
        to_rgb(Image.open(BytesIO(REFUSED[name])))
    assert f"mode {mode} (" in str(error.value)
    assert what in str(error.value) or what.startswith("in a pfm")


def eight_bits() -> dict[str, bytes]:
    """Everything of 8 bits and fewer that Pillow writes."""
    image = picture(0)
    alpha = image.convert("RGBA")
    alpha.putalpha(picture(1).convert("L"))
    palette = image.convert("P")
    return {
        "1": saved(image.convert("1"), "PNG"),
        "L": saved(image.convert("L"), "PNG"),
        "LA": saved(alpha.convert("LA"), "PNG"),
        "P with a transparent colour": saved(palette, "PNG", transparency=3),
        "P with transparencies": saved(palette, "PNG", transparency=bytes(range(200))),
        "P of 4 bits": saved(image.convert("P", colors=9), "PNG", bits=4),
        "PA": saved(alpha.convert("PA"), "TIFF"),
        "RGB": saved(image, "PPM"),
        "RGBA": saved(alpha, "PNG"),
        "CMYK": saved(image.convert("CMYK"), "JPEG"),
        "CMYK in TIFF": saved(image.convert("CMYK"), "TIFF"),
        "YCbCr": saved(image.convert("YCbCr"), "TIFF"),
        "LAB": saved(Image.frombytes("LAB", (24, 16), image.tobytes()), "TIFF"),
        "GIF": saved(image, "GIF"),
        "WEBP": saved(alpha, "WEBP"),
        "BMP": saved(image, "BMP"),
        "white is 0": tiff(4, [bytes([0, 3, 128, 255])], 8, photometric=0),
        "4 bits": tiff(4, [bytes([0x03, 0x8F])], 4),
        "pgm of 4 bits": b"P5 3 1 15\n" + bytes([0, 8, 15]),
        "two frames": saved(image, "TIFF", save_all=True, append_images=[picture(1)]),
    }


@pytest.mark.parametrize("name", eight_bits())
def test_eight_bits_and_fewer_are_pillows_to_the_bit(name: str) -> None:
    data = eight_bits()[name]
    expected = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
    rgb, peak = to_rgb(Image.open(BytesIO(data)))
    np.testing.assert_array_equal(np.asarray(rgb), expected)
    assert peak == -1


def test_a_domain_of_deep_grey_is_scaled_and_told(mine: Path) -> None:
    for i, file in enumerate(sorted((mine / "day").rglob("*.jpg"))):
        file.unlink()
        grey = np.linspace(0, 65535 - 257 * i, 64).astype(np.uint16).reshape(8, 8)
        Image.fromarray(grey).save(file.with_suffix(".png"))
    dataset = load(mine)
    first = np.rint(np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8) / 257)
    np.testing.assert_array_equal(dataset.domains[0].images[0, ..., 0], first)
    assert "day: grey images of 9 to 16 bits, scaled to 8: 4" in dataset.notes


def test_deep_grey_that_uses_few_of_its_bits_is_told(mine: Path) -> None:
    file = mine / "night" / "dog" / "pic_009.png"
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(file)
    (note,) = load(mine).notes
    assert "no value is above 4095 of 65535" in note


def test_the_first_of_several_images_is_used_and_told(mine: Path) -> None:
    file = mine / "night" / "dog" / "pic_009.tif"
    picture(7, 8, 8).save(file, save_all=True, append_images=[picture(8, 8, 8)])
    dataset = load(mine)
    np.testing.assert_array_equal(dataset.domains[1].images[4], np.asarray(picture(7, 8, 8)))
    assert dataset.notes == (
        "night: files that hold several images, of which the first is used: 1, as dog/pic_009.tif",
    )


def test_float_and_odd_files_are_findings_and_left_out_if_allowed(mine: Path) -> None:
    Image.new("F", (8, 8)).save(mine / "day" / "cat" / "height.tif")
    (mine / "day" / "cat" / "odd.tif").write_bytes(tiff(4, [bytes(5)], 10))
    with pytest.raises(DatasetError, match=r"unreadable \(2\)") as error:
        load(mine)
    assert "day/cat/height.tif: mode F (floating point" in str(error.value)
    assert "day/cat/odd.tif: a TIFF file of a kind that Pillow does not read" in str(error.value)
    assert [len(domain) for domain in load(mine, "unreadable").domains] == [4, 4]


def test_a_domain_or_all_but_one_class_of_floats_is_no_result(mine: Path) -> None:
    for file in (mine / "day").rglob("*.jpg"):
        file.unlink()
        Image.new("F", (8, 8)).save(file.with_suffix(".tif"))
    with pytest.raises(DatasetError, match=r"missing_classes \(2\): day has no readable images"):
        load(mine, "unreadable")
    with pytest.raises(DatasetError, match=r"no readable image in the domain day"):
        load(mine, "unreadable", "missing_classes")


def test_a_cache_by_the_rule_that_clipped_is_not_used(mine: Path) -> None:
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(mine / "day" / "cat" / "pic_009.png")
    dataset = load(mine)
    (home,) = (mine / ".steppe-cache").iterdir()
    (version,) = (path for path in home.iterdir() if path.is_dir())
    old = version.rename(home / version.name.split("-", 1)[1])  # as it was called before
    images = np.load(old / "day.images.npy")
    images[2] = 255
    np.save(old / "day.images.npy", images)
    for recheck in (False, True):
        again = load(mine, recheck=recheck)
        assert again.domains[0].images[2].max() == 128
        assert again.fingerprint == dataset.fingerprint
