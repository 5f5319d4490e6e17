"""Pixels become what a network expects, as torchvision computes it."""

import numpy as np
import pytest
import torch
from torchvision import transforms

from datasets.input_format import IMAGENET, InputFormat


def test_pixels_are_normalised_as_torchvision_does() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    field = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(IMAGENET.mean, IMAGENET.deviation)]
    )
    expected = torch.stack([field(image) for image in pixels])
    assert torch.equal(IMAGENET.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2)), expected)


def test_the_table_holds_the_normalised_values() -> None:
    every = torch.arange(256, dtype=torch.uint8).expand(3, 256).reshape(1, 3, 16, 16)
    expected = IMAGENET.normalise(every).reshape(3, 256)
    assert np.array_equal(IMAGENET.table(), expected.numpy())


def test_a_format_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="size of images must be at least 1, but got 0"):
        InputFormat(0, IMAGENET.mean, IMAGENET.deviation)
    with pytest.raises(ValueError, match=r"deviation of colours must be above 0, but got \(0\.2, "):
        InputFormat(8, IMAGENET.mean, (0.2, 0.0, 0.2))
