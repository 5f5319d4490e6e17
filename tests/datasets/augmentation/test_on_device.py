"""The device's augmentation is the CPU's in float32, for each sample by its own draws."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from datasets.augmentation.draws import BRIGHTNESS, CONTRAST, HUE, SATURATION, Draws, draw, nothing
from datasets.augmentation.on_device import OnDevice, augment, pack, turn_hue
from datasets.augmentation.on_host import OnHost
from datasets.domain_dataset import Domain
from datasets.input_format import IMAGENET, InputFormat
from datasets.views import Block
from tests.datasets.augmentation.fields_transform import OPERATIONS, noise, photographs, transformed

CPU = torch.device("cpu")


def untouched(count: int, side: int) -> Draws:
    """Draws that change nothing; to be changed by a test."""
    factors = np.tile([1.0, 1.0, 1.0, 0.0], (count, 1))
    orders = np.tile(np.arange(4), (count, 1))
    return replace(nothing(count, side, side), orders=orders, factors=factors)


def augmented(images: np.ndarray, draws: Draws, size: int) -> Tensor:
    return augment(torch.from_numpy(images), pack(draws, CPU), size)


def channels_first(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


def test_draws_that_change_nothing_change_nothing() -> None:
    images = noise(2, 16, 16)
    got = augmented(images, untouched(2, 16), 16)
    torch.testing.assert_close(got, channels_first(images), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("operation", "factor"),
    [
        *product((BRIGHTNESS, CONTRAST, SATURATION), (0.7, 1.3)),
        *((HUE, factor) for factor in (-76 / 255, 33 / 255)),
    ],
)
def test_each_operation_is_torchvisions_on_float_tensors(operation: int, factor: float) -> None:
    images = noise(3, 16, 16)
    images[2] = images[2, :, :, :1]  # gray
    draws = untouched(3, 16)
    # A hair beyond, for the hue's 8 bits are cut off.
    draws.factors[:, operation] = factor * (1 + 1e-9)
    # torchvision rounds the weights of red, green and blue to four digits.
    expected = OPERATIONS[operation](channels_first(images) / 255, factor) * 255
    got = augmented(images, draws, 16)
    torch.testing.assert_close(got, expected, rtol=0, atol=0.05)


def test_hues_go_round_the_circle() -> None:
    red = torch.tensor([200.0, 50.0, 50.0]).reshape(1, 3, 1, 1)
    for turn, expected in ((1 / 3, [50, 200, 50]), (-1 / 3, [50, 50, 200]), (0.5, [50, 200, 200])):
        got = turn_hue(red, torch.full((1, 1, 1, 1), turn))
        torch.testing.assert_close(got.flatten(), torch.tensor(expected).float(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("side", [16, 24, 40])
def test_crops_are_resized_and_mirrored_as_pillow_does_up_to_rounding(side: int) -> None:
    images = noise(8, side, side)
    drawn = draw(0, 0, np.tile([side, side], (8, 1)), np.array([side, side]))
    draws = replace(untouched(8, side), boxes=drawn.boxes, flips=drawn.flips)
    assert draws.flips.any()
    got = augmented(images, draws, 16)
    plain = replace(draws, orders=np.empty((8, 0), np.int64))
    expected = np.stack([transformed(images[k], plain, k, 16) for k in range(8)])
    # Pillow rounds twice: once after the rows, once after the columns.
    assert float((got - channels_first(expected)).abs().max()) < 1.01


def test_operations_are_done_in_each_samples_order() -> None:
    images = noise(24, 12, 12)
    draws = replace(untouched(24, 12), factors=np.tile([1.3, 0.7, 1.3, 0.3], (24, 1)))
    orders = np.stack([np.random.default_rng(k).permutation(4) for k in range(24)])
    draws = replace(draws, orders=orders)
    got = augmented(images, draws, 12)
    for k in range(24):
        x = channels_first(images[k : k + 1]) / 255
        for operation in orders[k]:
            factor = 76 / 255 if operation == HUE else draws.factors[k, operation]
            x = OPERATIONS[operation](x, factor)
        torch.testing.assert_close(got[k : k + 1], x * 255, rtol=0, atol=0.2)


def test_photographs_look_as_on_the_cpu() -> None:
    images = photographs(16, 128)
    side = 112
    block = [Block(Domain("photo", images, np.zeros(16, np.int64)), np.arange(16))]
    format = InputFormat(side, IMAGENET.mean, IMAGENET.deviation)
    exact = OnHost(format, augmented=True)(block, 0, 0, CPU).run()
    device = OnDevice(format)(block, 0, 0, CPU).run()
    apart = (device - exact).abs() * torch.tensor(IMAGENET.deviation).reshape(3, 1, 1) * 255
    assert float(apart.mean()) < 1.6
    assert float(apart.mean((1, 2, 3)).max()) < 2.5
    assert device.is_contiguous(memory_format=torch.channels_last)


def test_a_sample_does_not_depend_on_its_batch() -> None:
    images = noise(6, 20, 20)
    draws = draw(0, 0, np.tile([20, 20], (6, 1)), np.array([20, 20]))
    together = augmented(images, draws, 16)
    alone = [augmented(images[k : k + 1], draws[k : k + 1], 16) for k in range(6)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-3)


def test_nothing_is_read_back_from_the_device() -> None:
    # A fake tensor has no values: whatever would wait for one fails.
    images = noise(4, 20, 20)
    packed = pack(draw(0, 0, np.tile([20, 20], (4, 1)), np.array([20, 20])), CPU)
    with FakeTensorMode() as mode:
        fake = [mode.from_tensor(t) for t in (torch.from_numpy(images), packed)]
        x = augment(*fake, 16)
    assert x.shape == (4, 3, 16, 16)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_gives_the_cpus_images_without_waiting() -> None:
    images = noise(6, 40, 40)
    block = [Block(Domain("photo", images, np.zeros(6, np.int64)), np.arange(6))]
    view = OnDevice(InputFormat(32, IMAGENET.mean, IMAGENET.deviation))
    gpu = torch.device("cuda")
    view(block, 0, 0, gpu).run()  # constants are made
    torch.cuda.set_sync_debug_mode("error")
    try:
        x = view(block, 0, 1, gpu).run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(x.cpu(), view(block, 0, 1, CPU).run(), rtol=0, atol=0.02)
