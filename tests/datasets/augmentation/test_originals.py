"""Training crops are cut from the images themselves, as the field's are, not from the squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision import transforms

import datasets
from datasets.augmentation.by_name import view
from datasets.augmentation.draws import draw
from datasets.domain_dataset import Domain
from datasets.input_format import IMAGENET, InputFormat
from datasets.views import Block
from tests.datasets.augmentation.fields_transform import FINISH, transformed

CPU = torch.device("cpu")
SIDE = 96
FORMAT = InputFormat(SIDE, IMAGENET.mean, IMAGENET.deviation)
# Width and height: larger than the network's images, much larger, smaller, and very wide.
SIZES = [(250, 190), (180, 240), (640, 427), (80, 70), (500, 110)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    for domain in ("art", "photo"):
        for k, label in enumerate(("china", "flower")):
            (root / domain / label).mkdir(parents=True)
            for i, size in enumerate(SIZES):
                image = photographs[k].resize(size, Image.Resampling.LANCZOS)
                if domain == "art":
                    image = image.transpose(Image.Transpose.ROTATE_180)
                image.save(root / domain / label / f"{i}.jpg", quality=95)
    return root


def load(root: Path, originals: int) -> Domain:
    return datasets.load("ImageFolders", root, size=SIDE, originals=originals).domains[1]


def files(root: Path) -> list[Image.Image]:
    return [Image.open(file).convert("RGB") for file in sorted((root / "photo").rglob("*.jpg"))]


def show(domain: Domain, augmentation: str, step: int = 0) -> torch.Tensor:
    blocks = [Block(domain, np.arange(7)), Block(domain, np.arange(7, len(domain)))]
    return view(augmentation, FORMAT)(blocks, 0, step, CPU).run()


def expected(domain: Domain, images: list[Image.Image], step: int = 0) -> torch.Tensor:
    """What torchvision makes of the files with the same draws."""
    assert domain.sizes is not None
    draws = draw(0, step, domain.sizes, domain.sizes)
    crops = [transformed(np.asarray(image), draws, k, SIDE) for k, image in enumerate(images)]
    return torch.stack([FINISH(crop) for crop in crops])


@pytest.mark.parametrize("step", range(3))
def test_a_crop_is_torchvisions_of_the_file_to_the_bit(root: Path, step: int) -> None:
    domain = load(root, 427)
    assert torch.equal(show(domain, "exact", step), expected(domain, files(root), step))


def test_the_network_is_evaluated_on_torchvisions_squares_of_the_files(root: Path) -> None:
    field = transforms.Compose([transforms.Resize((SIDE, SIDE)), FINISH])
    squares = torch.stack([field(image) for image in files(root)])
    for originals in (0, 140, 427):
        domain = load(root, originals)
        assert torch.equal(show(domain, "none"), squares)


def test_a_gpu_cuts_the_same_crops(root: Path) -> None:
    domain = load(root, 427)
    apart = (show(domain, "device") - expected(domain, files(root))).abs()
    apart = apart * torch.tensor(IMAGENET.deviation).reshape(3, 1, 1) * 255
    assert float(apart.mean()) < 1.6
    assert float(apart.mean((1, 2, 3)).max()) < 2.5


def energy(x: torch.Tensor) -> torch.Tensor:
    """Mean square of the Laplacian of each image's gray."""
    gray = (x * torch.tensor(IMAGENET.deviation).reshape(3, 1, 1)).mean(1)
    middle, along, across = gray[:, 1:-1, 1:-1], gray[:, 1:-1], gray[:, :, 1:-1]
    laplacian = 4 * middle - along[:, :, :-2] - along[:, :, 2:] - across[:, :-2] - across[:, 2:]
    return laplacian.square().mean((1, 2))


def sharpness(root: Path, originals: int) -> float:
    """Laplacian energy of our crops of large images, against that of the field's crops."""
    domain = load(root, originals)
    assert domain.sizes is not None
    large = torch.from_numpy(domain.sizes.min(axis=1) > 150)
    ratios = [
        energy(show(domain, "exact", step)) / energy(expected(domain, files(root), step))
        for step in range(4)
    ]
    return float(torch.stack(ratios)[:, large].mean())


def test_crops_are_as_sharp_as_the_fields_also_of_reduced_originals(root: Path) -> None:
    assert sharpness(root, 150) == pytest.approx(1, abs=0.05)
    assert sharpness(root, 0) < 0.7  # of the squares, enlarged


def test_larger_images_are_reduced_and_others_kept(root: Path) -> None:
    kept = load(root, 150).originals
    assert kept is not None
    assert kept.sizes[:5].tolist() == [[197, 150], [150, 200], [225, 150], [80, 70], [500, 110]]
    small = np.asarray(files(root)[3])
    begin = int(kept.starts[3])
    assert np.array_equal(kept.pixels[begin : begin + small.size], small.reshape(-1))
