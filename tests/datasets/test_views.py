"""Stored images on their way to a network."""

from dataclasses import replace

import numpy as np
import torch

from datasets.views import Block, as_input, as_stored, gather
from tests.datasets.photos import counted

CPU = torch.device("cpu")


def block(count: int, rows: list[int], first: int = 0) -> Block:
    return Block(counted("photo", count, first), np.array(rows))


def test_as_input_moves_channels_first_and_scales_to_one() -> None:
    pixels = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    x = as_input(pixels)
    assert x.shape == (2, 3, 4, 5)
    assert x[1, 2, 3, 4] == pixels[1, 3, 4, 2] / 255
    assert torch.equal(
        as_input(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)).flatten(),
        torch.tensor([0.0, 1.0]),
    )


def test_pixels_are_gathered_in_the_order_of_the_blocks() -> None:
    gathering = gather([block(5, [4, 0]), block(9, [2, 2, 8], first=100)], CPU)
    for task in reversed(gathering.tasks):
        task()
    assert gathering.pixels.shape == (5, 2, 3, 1)
    assert gathering.pixels[:, 1, 2, 0].tolist() == [4, 0, 102, 102, 108]


def test_images_as_stored_are_scaled_to_one_whatever_the_step() -> None:
    blocks = [block(5, [4, 0])]
    x = as_stored(blocks, 1, 2, CPU).run()
    assert torch.equal(x[:, 0, 1, 2], torch.tensor([4 / 255, 0]))
    assert torch.equal(as_stored(blocks, 3, 4, CPU).run(), x)


def test_sizes_are_the_originals_or_else_those_of_the_images() -> None:
    stored = block(5, [4, 0])
    assert stored.sizes.tolist() == [[3, 2], [3, 2]]
    domain = replace(stored.domain, sizes=np.arange(10).reshape(5, 2))
    assert Block(domain, np.array([4, 0])).sizes.tolist() == [[8, 9], [0, 1]]
