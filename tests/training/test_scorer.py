"""Weights that are not being trained are scored as the run that they are of scores its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import datasets
import models
from training.run import Run
from training.scorer import Scorer
from training.trainer import Trainer

DIGITS = datasets.load("RotatedDigits")
RUN = Run("RotatedDigits", None, "normed", "ERM", "0", 0, steps=4, evaluate_every=2)


def normed(shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU()), 16


@pytest.mark.parametrize("bn", ["updated", "frozen"])
def test_statistics_of_a_mean_are_measured_anew_unless_they_are_frozen(monkeypatch, bn):
    monkeypatch.setitem(models.MODELS, "normed", models.Entry(normed, ""))
    run = Run(**{**RUN.as_dict(), "bn": bn})
    trainer = Trainer(run, DIGITS)
    state = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    scorer = Scorer(run, DIGITS)
    found = scorer.with_statistics(state)
    name = "featurizer.0.2.running_mean"
    flatten, linear, *_ = trainer.model.featurizer[0]
    inputs = [linear(flatten(trainer.batches(step).x)).mean(0) for step in range(4, 504)]
    wanted = torch.stack(inputs).mean(0) if bn == "updated" else state[name]
    torch.testing.assert_close(found[name], wanted)
    assert all(torch.equal(found[own], state[own]) for own in scorer.parameters)
    trainer.model.load_state_dict(found)
    assert scorer.scores(found, lambda part: True) == trainer.scores(lambda part: True)
