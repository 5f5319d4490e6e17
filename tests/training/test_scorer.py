"""Weights that are not being trained are scored as the run that they are of scores its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.training.digit_runs import DIGITS
from training.run import Run
from training.scorer import Scorer
from training.trainer import Trainer

RUN = Run("RotatedDigits", None, "normed", "ERM", "0", 0, steps=4, evaluate_every=2)


@pytest.mark.parametrize("bn", ["updated", "frozen"])
def test_statistics_of_a_mean_are_measured_anew_unless_they_are_frozen(normed, bn):
    run = replace(RUN, bn=bn)
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
