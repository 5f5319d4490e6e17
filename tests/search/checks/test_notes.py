"""What is said of a dataset's images and of the ranges before a sweep starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from datasets import Domain, DomainDataset, load
from search.checks.notes import notes
from tests.search.refused import accepted


def folders(original: int, grey: bool, stored: int = 32) -> DomainDataset:
    """Images of files under RotatedDigits' name, so that no file is needed."""
    draws = np.random.default_rng(0)
    domains = []
    for name in ("0", "15", "30"):
        images = draws.integers(0, 256, (6, stored, stored, 3), dtype=np.uint8)
        if grey:
            images[:] = images[..., :1]
        domains.append(Domain(name, images, np.arange(6) % 2, np.full((6, 2), original)))
    return DomainDataset("RotatedDigits", tuple(domains), ("a", "b"), "none")


def said(dataset: DomainDataset, **changes: Any) -> list[str]:
    """What a launch says, but for whose ranges are borrowed."""
    lines = notes(accepted(**changes), [dataset])
    borrowed = [line for line in lines if line.startswith("Note: The suggested ")]
    assert len(borrowed) == 1
    return [line for line in lines if line not in borrowed]


@pytest.mark.parametrize(
    ("original", "grey", "stored", "words"),
    [
        (28, True, 28, ["grey and at most 28 pixels", "training.augmentation: none"]),
        (28, False, 224, ["all at most 28 pixels", "dataset.size: 28", "224"]),
        (500, True, 32, ["all grey,", "training.augmentation: none"]),
    ],
)
def test_images_unlike_photographs_get_a_warning_with_the_way_out(original, grey, stored, words):
    shown, warning, ranges, _ = said(folders(original, grey, stored))
    assert f"3 x {stored} x {stored}; augmentation: random crops" in shown
    assert "ImageNet's mean" in shown
    assert warning.startswith("Warning: ")
    assert all(word in warning for word in words)
    assert ranges.startswith("Ranges: lr ")


def test_photographs_and_digits_get_none():
    assert len(said(folders(500, grey=False))) == 3
    shown, _, first = said(load("RotatedDigits"))
    assert "1 x 8 x 8, shown as stored" in shown
    assert "not normalised" in shown
    assert first.startswith("First trials on RotatedDigits: a default setting")


def test_ranges_say_whose_they_are():
    space = {"lr": {"log_uniform": [0.001, 0.01]}, "SAM": {"lr": 0.5}}
    _, others, sams, _, left_out = said(load("RotatedDigits"), search={"space": space})
    assert others.startswith("Ranges of ERM, SAGM, DISAM: lr log 0.001 .. 0.01 (the sweep's); ")
    assert "weight_decay" in others
    assert "(suggested: " in others
    assert sams.startswith("Ranges of SAM: lr 0.5 (the sweep's)")
    assert left_out.startswith("Note: lr 0.001 (DomainBed's defaults")


def test_the_earlier_start_of_a_moving_average_in_a_short_run_is_no_miss():
    def starts(**search: object) -> list[str]:
        short = {
            "training": {"steps": 60, "evaluate_every": 20, "averaging": "sma"},
            "search": search,
        }
        return [line for line in said(load("RotatedDigits"), **short) if "sma_start" in line]

    assert starts() == []
    assert len(starts(space={"sma_start": {"choice": [20, 30]}})) == 1
