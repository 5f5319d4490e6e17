"""RotatedMNIST and ColoredMNIST equal DomainBed's of seed 0, which are built here with torch."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import MNIST
from torchvision.transforms.functional import InterpolationMode, rotate, to_pil_image

import datasets
from datasets.domain_dataset import DatasetError
from datasets.mnist import FILES
from tests.datasets.photos import idx

COUNT = 90, 30  # training and test digits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """MNIST's four files, with blots for digits."""
    draw = np.random.default_rng(0)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for i, count in enumerate(COUNT):
        images = draw.integers(0, 256, (count, 7, 7), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
        (raw / FILES[2 * i]).write_bytes(idx(images))
        (raw / FILES[2 * i + 1]).write_bytes(idx(draw.integers(0, 10, count, dtype=np.uint8)))
    return tmp_path


def dealt(root: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits and labels as DomainBed shuffles them after torch.manual_seed(0)."""
    parts = [MNIST(str(root), train=train) for train in (True, False)]
    images = torch.cat([part.data for part in parts])
    labels = torch.cat([part.targets for part in parts])
    torch.manual_seed(0)
    order = torch.randperm(len(images))
    return images[order], labels[order]


def test_rotated_mnist_equals_domainbeds(root: Path) -> None:
    images, labels = dealt(root)
    dataset = datasets.load("RotatedMNIST", root, allow=["counts"])
    assert dataset.image_shape == (1, 28, 28)
    for i, domain in enumerate(dataset.domains):
        angle = [0, 15, 30, 45, 60, 75][i]
        assert domain.name == str(angle)
        assert domain.labels.tolist() == labels[i::6].tolist()
        for ours, image in zip(domain.images, images[i::6], strict=True):
            theirs = rotate(
                to_pil_image(image), angle, fill=(0,), interpolation=InterpolationMode.BILINEAR
            )
            np.testing.assert_array_equal(ours[..., 0], np.asarray(theirs))


def test_colored_mnist_equals_domainbeds(root: Path) -> None:
    images, labels = dealt(root)
    dataset = datasets.load("ColoredMNIST", root, allow=["counts"])
    assert dataset.image_shape == (2, 28, 28)
    assert [domain.name for domain in dataset.domains] == ["+90%", "+80%", "-90%"]
    for i, flips in enumerate([0.1, 0.2, 0.9]):
        mine, digits = images[i::3], labels[i::3]
        y = (digits < 5).float()
        y = (y - (torch.rand(len(y)) < 0.25).float()).abs()
        colors = (y - (torch.rand(len(y)) < flips).float()).abs()
        x = torch.stack([mine, mine], dim=1)
        x[torch.arange(len(x)), (1 - colors).long()] *= 0
        assert dataset.domains[i].labels.tolist() == y.long().tolist()
        np.testing.assert_array_equal(dataset.domains[i].images, x.permute(0, 2, 3, 1).numpy())


def test_the_images_are_built_once_and_mapped(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = datasets.load("RotatedMNIST", root, allow=["counts"])
    monkeypatch.setattr(Image, "fromarray", None)
    again = datasets.load("RotatedMNIST", root, allow=["counts"])
    assert again.fingerprint == first.fingerprint
    assert isinstance(again.domains[0].images, np.memmap)
    assert again.domains[0].sizes is None


@pytest.mark.parametrize("within", ["", "MNIST", "MNIST/raw"])
def test_the_files_are_found_in_torchvisions_folders_packed_or_not(root: Path, within: str) -> None:
    for name in FILES[:2]:
        file = root / "MNIST" / "raw" / name
        file.with_name(f"{name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    dataset = datasets.load("RotatedMNIST", root / within, allow=["counts"])
    assert sum(len(domain) for domain in dataset.domains) == sum(COUNT)


def test_wrong_counts_are_refused_unless_allowed(root: Path) -> None:
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"counts \(2\): 90 training images, 60,000 are"):
            datasets.load("ColoredMNIST", root)
        datasets.load("ColoredMNIST", root, allow=["counts"])  # now there is a cache


def test_without_the_files_the_error_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`python -m search prepare RotatedMNIST download"):
        datasets.load("RotatedMNIST", tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"<html>", lambda data: b""]
)
def test_a_damaged_file_is_named(root: Path, damage) -> None:
    file = root / "MNIST" / "raw" / FILES[2]
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DatasetError, match=r"t10k-images-idx3-ubyte is damaged"):
        datasets.load("RotatedMNIST", root, allow=["counts"])


def test_images_and_labels_must_be_as_many(root: Path) -> None:
    (root / "MNIST" / "raw" / FILES[1]).write_bytes(idx(np.zeros(89, np.uint8)))
    with pytest.raises(
        DatasetError, match=r"one for each label, but holds \[90, 28, 28\] for \[89"
    ):
        datasets.load("RotatedMNIST", root, allow=["counts"])
