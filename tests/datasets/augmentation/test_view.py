"""Ways to show images, by name."""

import numpy as np
import pytest
import torch

from datasets.augmentation.by_name import AUGMENTATIONS, OnDevice, OnHost, view, views
from datasets.domain_dataset import Domain, DomainDataset
from datasets.input_format import IMAGENET, InputFormat
from datasets.views import Block, View
from tests.datasets.augmentation.fields_transform import noise

CPU = torch.device("cpu")


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_every_way_gives_images_of_the_format_whatever_their_size_in_the_cache(
    augmentation: str,
) -> None:
    domain = Domain("photo", noise(5, 20, 24), np.zeros(5, np.int64))
    blocks = [Block(domain, np.array([4, 0, 0])), Block(domain, np.array([1]))]
    show = view(augmentation, InputFormat(16, IMAGENET.mean, IMAGENET.deviation))
    x = show(blocks, 3, 4, torch.device("cpu")).run()
    assert (x.shape, x.dtype) == ((4, 3, 16, 16), torch.float32)
    assert torch.equal(show(blocks, 3, 4, torch.device("cpu")).run(), x)
    again = show(blocks, 3, 5, torch.device("cpu")).run()
    assert torch.equal(again, x) == (augmentation == "none")


def test_an_unknown_way_is_refused_with_the_nearest_word() -> None:
    with pytest.raises(ValueError, match="unknown augmentation: 'exakt'; did you mean 'exact'"):
        view("exakt", IMAGENET)


def dataset(sizes: np.ndarray | None) -> DomainDataset:
    domain = Domain("photo", noise(5, 16, 16), np.zeros(5, np.int64), sizes)
    return DomainDataset("Pictures", (domain,), ("all",), "")


def images(view: View, dataset: DomainDataset) -> torch.Tensor:
    return view([Block(dataset.domains[0], np.arange(5))], 0, 0, CPU).run()


def test_images_without_original_sizes_are_shown_as_they_are() -> None:
    digits = dataset(None)
    training, evaluation = views(digits, "auto", CPU)
    for show in (training, evaluation):
        assert images(show, digits).max() == digits.domains[0].images.max() / 255
    with pytest.raises(ValueError, match=r"Pictures are shown as they are.*'exact'"):
        views(digits, "exact", CPU)


def test_photographs_are_augmented_in_training_alone() -> None:
    photographs = dataset(np.full((5, 2), 20))
    training, evaluation = views(photographs, "auto", CPU)
    whole = InputFormat(16, IMAGENET.mean, IMAGENET.deviation)
    exact = images(view("exact", whole), photographs)
    plain = images(view("none", whole), photographs)
    assert torch.equal(images(training, photographs), exact)
    assert torch.equal(images(evaluation, photographs), plain)
    assert images(views(photographs, "none", CPU)[0], photographs).equal(plain)


def test_a_gpu_augments_by_itself() -> None:
    photographs = dataset(np.full((5, 2), 20))
    training, evaluation = views(photographs, "auto", torch.device("cuda"))
    assert type(training) is OnDevice
    assert type(evaluation) is OnHost
