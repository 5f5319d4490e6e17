"""Datasets by name, and what is known of each before its pixels are read."""

import subprocess
import sys
from pathlib import Path

import pytest

import datasets

BUNDLED = [name for name, entry in datasets.DATASETS.items() if not entry.needs_root]


@pytest.mark.parametrize("name", datasets.DATASETS)
def test_every_dataset_is_described(name: str) -> None:
    description = datasets.describe(name)
    assert description.sentence.endswith(".")
    assert description.source
    assert (description.classes > 1) == (len(description.domains) > 1)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_description_agrees_with_the_dataset(name: str) -> None:
    description, dataset = datasets.describe(name), datasets.load(name)
    assert dataset.name == name
    assert tuple(domain.name for domain in dataset.domains) == description.domains
    assert len(dataset.classes) == description.classes


def test_a_bundled_dataset_ignores_its_root(tmp_path: Path) -> None:
    elsewhere = datasets.load("RotatedDigits", tmp_path / "nowhere")
    assert elsewhere.fingerprint == datasets.load("RotatedDigits").fingerprint


def test_an_unknown_dataset_is_refused_with_the_nearest_name_or_all_of_them() -> None:
    for ask in (datasets.describe, datasets.load):
        with pytest.raises(ValueError, match=r": 'rotateddigits'; did you mean 'RotatedDigits'\?"):
            ask("rotateddigits")
    with pytest.raises(ValueError, match=r"unknown dataset: 'x'; there are: RotatedDigits"):
        datasets.describe("x")


def test_descriptions_need_neither_torch_nor_pixels() -> None:
    # Config checks and listings answer at once; torch alone would take seconds.
    script = (
        "import sys, datasets; [datasets.describe(name) for name in datasets.DATASETS]; "
        "assert not {'torch', 'sklearn', 'ray', 'optuna', 'pandas'} & set(sys.modules)"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script], cwd=root, check=True)


def test_digits_have_one_size_and_the_bundled_ones_no_cache() -> None:
    assert datasets.prepare("RotatedDigits") is None
    for name in ("RotatedDigits", "RotatedMNIST"):
        with pytest.raises(ValueError, match=f"the images of {name} have one size"):
            datasets.load(name, "nowhere", size=16)


@pytest.mark.parametrize(
    "name", [name for name, entry in datasets.DATASETS.items() if entry.needs_root]
)
def test_a_dataset_that_needs_a_root_asks_for_it(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"{name} needs the folder .* `dataset.root`"):
        datasets.load(name)
