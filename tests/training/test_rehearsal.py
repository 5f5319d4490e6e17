"""A rehearsal fails where the first step does, and only there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

import models
from datasets.domain_dataset import DomainDataset
from models import Entry
from tests.contract.settings import ALGORITHMS, DIGITS, run_of
from training import rehearsal
from training.algorithms import OF_TEXTS
from training.rehearsal import rehearse
from training.run import Run
from training.trainer import Trainer


@pytest.fixture(autouse=True)
def normed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose batch norm has one value of each channel and sample."""

    def featurizer(shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
        width = shape[0] * shape[1] * shape[2]
        layers = (nn.Linear(width, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
        return nn.Sequential(nn.Flatten(), *layers), 4

    monkeypatch.setitem(models.MODELS, "normed", Entry(featurizer, "For tests."))


def fails(run: Run, dataset: DomainDataset) -> bool:
    trainer = Trainer(run, dataset)
    trainer.learn()
    try:
        trainer.train_one()
    except ValueError:
        return True
    return False


def rehearsal_fails(run: Run, dataset: DomainDataset) -> bool:
    try:
        rehearse(run, dataset)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name not in OF_TEXTS])
def test_it_fails_where_the_first_step_does(algorithm, monkeypatch):
    three = replace(DIGITS, domains=DIGITS.domains[:3])
    run = run_of(algorithm, {"batch_size": 1, "start": 0} if "GGA" in algorithm.split("+") else {})
    for count, bn in ((1, "updated"), (2, "frozen")):
        own = {**run.hyperparameters, "batch_size": count}
        step = replace(run, model="normed", hyperparameters=own, bn=bn, held_out="0")
        failing = fails(step, three)
        for small in (0, 1e8):  # a network without numbers, and with them
            monkeypatch.setattr(rehearsal, "SMALL", small)
            assert rehearsal_fails(step, three) == failing
    assert not failing


def test_it_counts_the_domains_of_a_fold_and_the_pieces_of_a_batch():
    two, three = (replace(DIGITS, domains=DIGITS.domains[:count]) for count in (2, 3))
    run = replace(run_of("ERM", {"batch_size": 4}), model="normed", held_out="0")
    assert not rehearsal_fails(run, two)
    assert rehearsal_fails(replace(run, micro_batches=4), two)
    assert not rehearsal_fails(replace(run, micro_batches=2), two)
    assert not rehearsal_fails(replace(run, micro_batches=4), three)
    assert rehearsal_fails(replace(run, micro_batches=4, left_out="15"), three)
