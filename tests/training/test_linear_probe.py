"""Runs that start once their classifier was trained alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.training.digit_runs import DIGITS, reread, trained
from training.checkpoint import Checkpoint, Interrupted
from training.run import Run
from training.start import Start, begin_from, changed, linear_probe
from training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("normed")

VALUES = {"lr": 1e-3, "batch_size": 8, "dropout": 0.2}
STARTED: dict[str, Any] = {
    "start": "linear-probe",
    "start_steps": 9,
    "start_lr": 0.01,
    "start_batch_size": 8,
}
RUN = Run("RotatedDigits", None, "normed", "SAM", "30", 0, 4, 2, VALUES, **STARTED)


def same(one: Start, other: Start) -> bool:
    assert one.tensors.keys() == other.tensors.keys()
    return all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


def scores(run: Run, **options: Any) -> list[Any]:
    return [evaluation.scores for evaluation in trained(run, **options).result.evaluations]


def test_it_trains_the_classifier_alone_and_costs_a_forward_a_step():
    before = Trainer(RUN, DIGITS)
    after = Trainer(RUN, DIGITS)
    start = linear_probe(RUN, DIGITS)
    begin_from(after.model, start)

    own, original = after.model.state_dict(), before.model.state_dict()
    moved = {name for name, value in own.items() if not torch.equal(value, original[name])}
    assert moved == start.tensors.keys()
    assert {name.rpartition(".")[0] for name in moved} == {"classifier", "featurizer.0.2"}
    assert start.passes == pytest.approx(9 / 3)
    assert start.finite
    frozen = linear_probe(replace(RUN, bn="frozen"), DIGITS)
    statistics = [name for name in moved if not name.startswith("classifier.")]
    assert all(torch.equal(frozen.tensors[name], original[name]) for name in statistics)


def test_the_classifier_learns():
    def loss(start: Start | None) -> float:
        trainer = Trainer(RUN, DIGITS)
        if start is not None:
            begin_from(trainer.model, start)
        return sum(score.loss for score in trainer.scores(lambda part: part.role == "source"))

    assert loss(linear_probe(replace(RUN, start_steps=60), DIGITS)) < 0.9 * loss(None)


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "DISAM+SAGM"},
        {"averaging": "bma"},
        {"hyperparameters": {"lr": 0.5, "weight_decay": 0.1, "batch_size": 5}},
        {"steps": 40, "lr_schedule": "cosine", "optimizer": "sgd"},
    ],
    ids=str,
)
def test_all_trials_of_a_study_share_it(changes):
    assert same(linear_probe(replace(RUN, **changes), DIGITS), linear_probe(RUN, DIGITS))


@pytest.mark.parametrize(
    "changes",
    [
        {"start_steps": 8},
        {"start_lr": 0.02},
        {"start_batch_size": 9},
        {"seed": 1},
        {"held_out": "45"},
        {"bn": "frozen"},
    ],
    ids=str,
)
def test_each_of_its_numbers_changes_it(changes):
    assert not same(linear_probe(replace(RUN, **changes), DIGITS), linear_probe(RUN, DIGITS))


@pytest.mark.parametrize("at", [0, 3, 8])
def test_one_that_was_interrupted_ends_bit_for_bit_alike(at):
    saved: list[Checkpoint] = []
    asked = iter(range(100))
    with pytest.raises(Interrupted):
        linear_probe(
            RUN, DIGITS, lambda make: saved.append(make()), leaving=lambda: next(asked) == at
        )
    assert saved[-1]["step"] == at

    assert same(
        linear_probe(RUN, DIGITS, resume=reread(saved[-1])),
        linear_probe(RUN, DIGITS),
    )


def test_a_run_starts_from_it_whether_it_is_given_or_not():
    start = linear_probe(RUN, DIGITS)
    plain = scores(replace(RUN, start="model"))

    assert scores(RUN) == scores(RUN, start=start) != plain
    assert scores(RUN, resume=trained(RUN).saved[0]) == scores(RUN)


def test_the_average_of_a_run_has_it_as_its_first_member():
    run = replace(RUN, averaging="bma", algorithm="ERM")
    start = linear_probe(run, DIGITS)
    trainer = Trainer(run, DIGITS)
    begin_from(trainer.model, start)
    first = trainer.weights.flat.clone()
    trainer.learn()
    trainer.train_one()
    after = trainer.weights.flat

    # Two of five members; the density at 0.1 and at 0.3.
    weights = [(at * (1 - at)) ** -0.5 for at in (0.1, 0.3)]
    expected = (weights[0] * first + weights[1] * after) / sum(weights)
    torch.testing.assert_close(trainer.average.result(), expected)


def test_one_that_did_not_stay_finite_ends_the_run_as_diverged():
    result = trained(replace(RUN, start_lr=1e38)).result

    assert (result.state, result.evaluations) == ("diverged", ())
    assert "linear probe" in result.reason


def test_a_compiled_or_adapted_model_takes_it_by_the_same_names():
    start = linear_probe(RUN, DIGITS)
    wrapped = Trainer(RUN, DIGITS).model
    wrapped.featurizer = nn.Sequential()
    wrapped.featurizer._orig_mod = Trainer(RUN, DIGITS).model.featurizer

    assert changed(wrapped).keys() == start.tensors.keys()
