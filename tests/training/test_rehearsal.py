"""A rehearsal fails where the first step does, and only there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from torch import nn

import models
from datasets.domain_dataset import DomainDataset
from tests.contract.settings import ALGORITHMS, DIGITS, run_of
from training import rehearsal
from training.algorithms import OF_TEXTS
from training.rehearsal import rehearse
from training.run import Run
from training.trainer import Trainer


@pytest.fixture(autouse=True)
def deep(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose batch norm has one value of each channel and sample."""

    def featurizer(shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
        layers = (nn.Linear(64, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
        return nn.Sequential(nn.Flatten(), *layers), 4

    monkeypatch.setitem(models.MODELS, "deep", models.Entry(featurizer, ""))


def first_step(run: Run, dataset: DomainDataset) -> None:
    trainer = Trainer(run, dataset)
    trainer.learn()
    trainer.train_one()


def fails(take: Callable[[Run, DomainDataset], None], run: Run, dataset: DomainDataset) -> bool:
    try:
        take(run, dataset)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name not in OF_TEXTS])
def test_it_fails_where_the_first_step_does(algorithm, monkeypatch):
    three = replace(DIGITS, domains=DIGITS.domains[:3])
    run = run_of(algorithm, {"batch_size": 1, "start": 0} if "GGA" in algorithm.split("+") else {})
    for count, bn in ((1, "updated"), (2, "frozen")):
        own = {**run.hyperparameters, "batch_size": count}
        step = replace(run, model="deep", hyperparameters=own, bn=bn, held_out="0")
        failing = fails(first_step, step, three)
        for small in (0, 1e8):  # a network without numbers, and with them
            monkeypatch.setattr(rehearsal, "SMALL", small)
            assert fails(rehearse, step, three) == failing
    assert not failing


def test_it_counts_the_domains_of_a_fold_and_the_pieces_of_a_batch():
    two, three = (replace(DIGITS, domains=DIGITS.domains[:count]) for count in (2, 3))
    run = replace(run_of("ERM", {"batch_size": 4}), model="deep", held_out="0")
    assert not fails(rehearse, run, two)
    assert fails(rehearse, replace(run, micro_batches=4), two)
    assert not fails(rehearse, replace(run, micro_batches=2), two)
    assert not fails(rehearse, replace(run, micro_batches=4), three)
    assert fails(rehearse, replace(run, micro_batches=4, left_out="15"), three)
