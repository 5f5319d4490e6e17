"""What the datasets of a sweep decide is said before anything is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

import models
from datasets import Domain, DomainDataset
from search.checks.check_data import check_batches, check_data
from search.checks.check_training import check_device
from search.study.plan import plans
from search.sweep.config_errors import dotted
from tests.search.refused import accepted

NAMES = ("0", "15", "30", "45", "60", "75")


def images(
    size: int = 32, channels: int = 3, domains: int = 3, count: int = 10, classes: int = 3
) -> DomainDataset:
    """RotatedDigits with other images, resized ones where they have colours."""
    made = tuple(
        Domain(
            name,
            np.zeros((count, size, size, channels), np.uint8),
            np.arange(count) % classes,
            np.full((count, 2), size) if channels == 3 else None,
        )
        for name in NAMES[:domains]
    )
    return DomainDataset("RotatedDigits", made, NAMES[:classes], "none")


def said(dataset: DomainDataset, **changes: Any) -> list[tuple[str, str]]:
    sweep = accepted(held_out=["0"], **changes)
    return [(dotted(p.path), p.text) for p in check_data(sweep, plans(sweep), [dataset])]


def test_a_domain_too_small_to_validate_on_is_named_the_held_out_one_too():
    domains = images().domains
    few = Domain("15", domains[1].images[:4], domains[1].labels[:4])
    none = Domain("0", domains[0].images[:0], domains[0].labels[:0])
    dataset = DomainDataset("RotatedDigits", (none, few, domains[2]), NAMES[:3], "none")
    ((key, text),) = said(dataset)
    assert key == "dataset.name"
    assert "0 in '0', 4 in '15'" in text
    assert "at least 5" in text
    assert said(images(count=5)) == []


@pytest.mark.parametrize(
    ("found", "model", "key", "told"),
    [
        ({"classes": 1}, "cnn", "dataset.name", "one class"),
        ({"size": 1}, "mlp", "dataset.name", "2x2"),  # one pixel cannot be augmented
        ({"size": 8, "channels": 2}, "resnet18", "model.name", "3 channels, but got 2"),
        ({"size": 8}, "resnet18", "model.name", "at least 32x32"),
        ({"size": 40}, "vit_b_16", "model.name", "multiple of 16"),
        ({"size": 4, "channels": 1}, "cnn", "model.name", "at least 5x5"),
    ],
)
def test_images_that_cannot_be_trained_on(found, model, key, told):
    ((place, text),) = said(images(**found), model={"name": model})
    assert place == key
    assert told in text


SMALL = {"model": {"name": "normed"}}


@pytest.fixture(autouse=True)
def normed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose batch norm sees a single value of each channel and sample."""

    def featurizer(shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(shape[0])), 3

    monkeypatch.setitem(models.MODELS, "normed", models.Entry(featurizer, "For tests."))


FOLDS = {"search.objective": "leave-one-domain-out", "search.scheduler": "none"}


@pytest.mark.parametrize(
    ("key", "value", "others", "domains", "told"),
    [
        # By domain, and in one fold, a pass sees one sample.
        (
            "training.batch_size",
            1,
            {"algorithms": ["ERM", "Fish", "GGA-L"]},
            3,
            ["at least 2", "bn: frozen", "Fish and GGA-L"],
        ),
        ("training.batch_size", 1, FOLDS, 3, ["at least 2"]),
        (
            "training.batch_size",
            4,
            {"training.micro_batches": 4},
            2,
            ["at least 8", "remove training.micro_batches"],
        ),
        ("search.space.SAM.batch_size", {"int_uniform": [1, 8]}, {}, 2, ["may be 1", "at least 2"]),
        ("search.space.batch_size", {"choice": [16, 1]}, {}, 2, ["may be 1", "at least 2"]),
    ],
)
def test_batch_norm_sees_more_than_one_value(key, value, others, domains, told):
    changes = {**SMALL, "algorithms": ["ERM", "SAM"], key: value, **others}
    ((place, text),) = said(images(domains=domains), **changes)
    assert place == key
    assert all(words in text for words in ("batch norm", *told))


def test_what_works_is_not_refused():
    everything = ["ERM", "CORAL", "MMD", "IRM", "Fish", "Fishr", "Mixup", "VREx", "GroupDRO", "GGA"]
    assert said(images(), **SMALL, algorithms=everything, training={"batch_size": 2}) == []
    one = {"training": {"batch_size": 1}, "algorithms": ["ERM", "SAM"]}
    assert said(images(), **SMALL, **one) == []  # two domains give two values
    frozen = {"training": {"batch_size": 1, "bn": "frozen"}, "algorithms": ["Fish"]}
    assert said(images(), **SMALL, **frozen) == []
    wide = {"model": {"name": "resnet18"}, "algorithms": ["Fish"], "training": {"batch_size": 1}}
    assert said(images(64), **wide) == []  # its last map has more than one pixel


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.batch_size", 1),
        ("search.space.batch_size", {"choice": [8, 1]}),
        ("search.space.batch_size", {"log_int": [1, 8]}),
    ],
)
def test_covariances_and_halves_take_two_samples_of_a_domain(key, value):
    few = {key: value}
    (problem,) = check_batches(accepted(algorithms=["ERM", "CORAL", "SAM+IRM", "Fishr"], **few))
    assert dotted(problem.path) == key
    assert "CORAL and SAM+IRM and Fishr need at least 2" in problem.text
    assert check_batches(accepted(algorithms=["ERM", "MMD", "Mixup"], **few)) == []


def test_a_batch_of_one_dataset_is_named_there():
    own = {"RotatedDigits": {"training": {"batch_size": 1}}}
    (problem,) = check_batches(accepted(dataset=None, datasets=own, algorithms=["CORAL"]))
    assert dotted(problem.path) == "datasets.RotatedDigits.training.batch_size"


@pytest.mark.parametrize(("key", "value"), [("training.device", "mps"), ("resources.gpu", 0.5)])
def test_a_device_that_is_not_here(key, value, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    (problem,) = check_device(accepted(**{key: value}))
    assert dotted(problem.path) == key
    assert check_device(accepted()) == []
