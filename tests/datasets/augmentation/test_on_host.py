"""The views of the CPU give a network what torchvision's transforms would, whoever asks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from datasets.augmentation.draws import draw
from datasets.augmentation.on_host import OnHost
from datasets.domain_dataset import Domain
from datasets.input_format import IMAGENET, InputFormat
from datasets.views import Block
from tests.datasets.augmentation.fields_transform import FINISH, noise, transformed

CPU = torch.device("cpu")
SMALL = InputFormat(32, IMAGENET.mean, IMAGENET.deviation)


def domain(name: str, count: int, side: int = 32, seed: int = 0) -> Domain:
    sizes = np.random.default_rng(seed).integers(20, 60, (count, 2))
    return Domain(name, noise(count, side, side, seed), np.zeros(count, np.int64), sizes)


def blocks() -> list[Block]:
    return [
        Block(domain("photo", 30), np.array([3, 29, 3, *range(17)])),
        Block(domain("sketch", 5, seed=1), np.array([4, 0])),
    ]


def stored(blocks: list[Block]) -> np.ndarray:
    return np.concatenate([block.domain.images[block.rows] for block in blocks])


@pytest.mark.parametrize("side", [32, 40])
def test_unaugmented_images_are_those_of_the_fields_evaluation(side: int) -> None:
    block = Block(domain("photo", 4, side), np.array([2, 0, 3]))
    x = OnHost(SMALL, augmented=False)([block], 0, 0, CPU).run()
    field = transforms.Compose([transforms.Resize((32, 32)), FINISH])
    expected = torch.stack([field(Image.fromarray(image)) for image in stored([block])])
    assert torch.equal(x, expected)
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("cropped", [True, False])
def test_augmented_images_are_torchvisions_of_the_same_draws(cropped: bool) -> None:
    x = OnHost(SMALL, augmented=True, cropped=cropped)(blocks(), 5, 7, CPU).run()
    sizes = np.concatenate([block.sizes for block in blocks()])
    draws = draw(5, 7, sizes, np.array([32, 32]), cropped)
    assert cropped or (draws.boxes == [0, 0, 32, 32]).all()
    for k, image in enumerate(stored(blocks())):
        assert torch.equal(x[k], FINISH(transformed(image, draws, k, 32)))


def test_crops_keep_the_proportions_of_the_original() -> None:
    # Of an image four times as wide as high no crop fits: the middle is taken, a third of it.
    wide = replace(domain("photo", 1), sizes=np.array([[400, 100]]))
    got = OnHost(SMALL, augmented=True)([Block(wide, np.array([0]))], 0, 0, CPU).run()
    draws = draw(0, 0, np.array([[400, 100]]), np.array([32, 32]))
    assert draws.boxes.tolist() == [[11, 0, 10, 32]]
    assert torch.equal(got[0], FINISH(transformed(wide.images[0], draws, 0, 32)))


def test_tasks_may_be_done_in_any_order() -> None:
    view = OnHost(SMALL, augmented=True)
    expected = view(blocks(), 1, 2, CPU).run()
    job = view(blocks(), 1, 2, CPU)
    assert len(job.tasks) > 2
    for task in reversed(job.tasks):
        task()
    assert torch.equal(job.finish(), expected)


def test_batches_that_are_kept_are_not_overwritten() -> None:
    view = OnHost(SMALL, augmented=True)
    kept = [view(blocks(), 0, step, CPU).run() for step in range(8)]
    fresh = [OnHost(SMALL, augmented=True)(blocks(), 0, step, CPU).run() for step in range(8)]
    assert all(torch.equal(a, b) for a, b in zip(kept, fresh, strict=True))


def test_images_of_one_colour_are_refused_by_name() -> None:
    gray = Domain("sketch", np.zeros((2, 8, 8, 1), np.uint8), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="domain 'sketch' are 8x8 of 1 colours"):
        OnHost(SMALL, augmented=False)([Block(gray, np.arange(2))], 0, 0, CPU)
