"""Crops are drawn as torchvision's RandomResizedCrop draws them, and found again when stored."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision.transforms import RandomResizedCrop

from datasets.augmentation.crops import (
    RATIO,
    SCALE,
    UNITS,
    middle_crops,
    random_crops,
    to_stored,
)

COUNT = 3000


def torchvisions(width: int, height: int, count: int) -> np.ndarray:
    image = Image.new("L", (width, height))
    torch.manual_seed(0)
    drawn = [RandomResizedCrop.get_params(image, list(SCALE), list(RATIO)) for _ in range(count)]
    return np.array(drawn)[:, [1, 0, 3, 2]]


def ours(width: int, height: int, seed: int = 0) -> np.ndarray:
    units = np.random.default_rng(seed).random((COUNT, UNITS))
    return random_crops(units, np.tile([width, height], (COUNT, 1)))


@pytest.mark.parametrize(("width", "height"), [(227, 227), (500, 375), (300, 420)])
def test_areas_ratios_and_places_are_distributed_as_torchvisions(width: int, height: int) -> None:
    def facts(crops: np.ndarray) -> dict[str, np.ndarray]:
        left, top, w, h = crops.T.astype(float)
        # Where there is no room, there is one place: a hair of noise keeps the test honest on ties.
        return {"area": w * h, "ratio": w / h, "left": left, "top": top, "width": w, "height": h}

    theirs = facts(torchvisions(width, height, COUNT))
    for name, values in facts(ours(width, height)).items():
        assert stats.ks_2samp(values, theirs[name]).pvalue > 0.001, name


def test_a_crop_lies_in_its_image_and_reaches_every_edge() -> None:
    left, top, width, height = ours(50, 40).T
    assert left.min() == 0
    assert top.min() == 0
    assert (left + width).max() == 50
    assert (top + height).max() == 40


@pytest.mark.parametrize(("width", "height"), [(400, 100), (90, 300), (7, 300)])
def test_where_no_crop_fits_it_is_torchvisions_from_the_middle(width: int, height: int) -> None:
    assert (ours(width, height) == torchvisions(width, height, 1)).all()


def test_the_largest_crop_from_the_middle_of_an_image_in_proportion_is_the_image() -> None:
    sizes = np.array([[40, 30], [30, 40], [35, 35]])
    assert middle_crops(sizes).tolist() == [[0, 0, 40, 30], [0, 0, 30, 40], [0, 0, 35, 35]]


def test_the_crop_of_one_image_does_not_depend_on_the_others() -> None:
    units = np.random.default_rng(0).random((5, UNITS))
    sizes = np.array([[40, 30], [400, 100], [35, 35], [7, 300], [500, 375]])
    together = random_crops(units, sizes)
    alone = [random_crops(units[k : k + 1], sizes[k : k + 1])[0] for k in range(5)]
    assert (together == np.stack(alone)).all()


def test_a_stored_crop_shows_the_same_part_to_half_a_pixel() -> None:
    width, height = 500, 375
    crops = ours(width, height)
    stored = to_stored(crops, np.tile([width, height], (COUNT, 1)), np.array([224, 200]))
    for axis, (length, side) in enumerate(((width, 224), (height, 200))):
        begin, extent = crops[:, axis], crops[:, axis + 2]
        assert np.abs(stored[:, axis] - begin * side / length).max() <= 0.5
        end = stored[:, axis] + stored[:, axis + 2]
        assert np.abs(end - (begin + extent) * side / length).max() <= 0.5


def test_images_that_were_not_resized_keep_their_crops() -> None:
    crops = ours(227, 227)
    assert (to_stored(crops, np.tile([227, 227], (COUNT, 1)), np.array([227, 227])) == crops).all()


def test_a_stored_crop_is_never_empty_nor_outside() -> None:
    crops = np.array([[0, 0, 1, 1], [998, 999, 2, 1], [500, 500, 1, 1]])
    left, top, width, height = to_stored(crops, np.full((3, 2), 1000), np.array([16, 16])).T
    assert min(width.min(), height.min()) == 1
    assert max((left + width).max(), (top + height).max()) == 16
