"""Runs whose result is an average of the weights they passed through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.digit_runs import (
    DIGITS,
    HELD_OUT,
    NEEDED,
    Trained,
    reread,
    roles,
    trained,
    without_seconds,
)
from training import trainer as trainer_module
from training.averaging import AVERAGINGS
from training.evaluation import Part, Score, evaluate
from training.run import Run
from training.train import Trainer

VALUES = {"lr": 1e-3, "batch_size": 8, "dropout": 0.2}
RUN = Run("RotatedDigits", None, "mlp", "SAM", "30", 0, 12, 2, VALUES)
NUMBERS = {
    "swad": {"swad_converge": 2, "swad_tolerance": 3, "swad_ratio": 0.1},
    "swa": {"swa_start": 0.4, "swa_every": 2},
    "sma": {"sma_start": 5},
    "ema": {"ema_decay": 0.8},
    "bma": {"bma_beta": 0.5},
    "erm++": {"ermpp_start": 4},
}
# Falls, converges at the second, and leaves the valley: dead at the sixth evaluation.
VALLEY = [2.0, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]

every_averaging = pytest.mark.parametrize("name", AVERAGINGS)


def averaged(name: str, numbers: dict[str, float] | None = None, **fields: Any) -> Run:
    """A run with an averaging, some of whose numbers may be others than the usual."""
    values = VALUES | NUMBERS[name] | (numbers or {})
    return replace(RUN, averaging=name, hyperparameters=values, **fields)


@cache
def usual(name: str) -> Trained:
    """What comes of a run with an averaging, or with none."""
    return trained(RUN if name == "none" else averaged(name))


def with_losses(losses: Sequence[float]) -> Callable[..., tuple[Score, ...]]:
    """An `evaluate` whose source losses are planned, one for each evaluation."""
    planned = iter(losses)

    def evaluate(model: nn.Module, parts: Sequence[Part], device: torch.device) -> Any:
        loss = next(planned) if parts[0].role == "source" else 0.5
        # One domain is worse than the others: what counts is their mean.
        return tuple(
            Score(p.domain.name, p.role, p.split, 0.5, loss + (0.4 if i == 0 else -0.1), 10)
            for i, p in enumerate(parts)
        )

    return evaluate


@every_averaging
def test_the_average_is_evaluated_last_and_speaks_for_the_run(name):
    result, reported, saved = usual(name)
    *iterates, average = result.evaluations

    assert iterates == reported
    assert [e.weights for e in iterates] == ["iterate"] * 6
    assert (average.weights, average.step) == ("average", 12)
    assert [roles(e) for e in iterates] == [NEEDED] * 6
    assert roles(average) == NEEDED + HELD_OUT
    assert (result.best_step, result.validation) == (12, average.validation)
    assert (result.state, result.steps) == ("completed", 12)
    assert len(saved[-1]["evaluations"]) == 6
    assert saved[-1]["best"] is None


@every_averaging
def test_averaging_does_not_touch_training(name):
    averaged, plain = usual(name), usual("none")
    for one, other in zip(averaged.reported, plain.reported, strict=True):
        assert one.scores == other.scores


def test_the_averages_scores_are_those_of_a_model_with_the_mean_of_the_weights(monkeypatch):
    path: list[Tensor] = []
    real = Trainer.train_one

    def train_one(self: Trainer) -> Tensor:
        loss = real(self)
        path.append(self.weights.flat.clone())
        return loss

    monkeypatch.setattr(Trainer, "train_one", train_one)
    result = trained(averaged("swa", {"swa_start": 0.5, "swa_every": 1})).result
    trainer = Trainer(RUN, DIGITS)
    trainer.weights.flat.copy_(torch.stack(path[6:]).mean(0))
    wanted = [p for p in trainer.parts if p.role == "held_out"]

    for one, other in zip(
        result.evaluations[-1].scores[-2:],
        evaluate(trainer.model, wanted, trainer.device),
        strict=True,
    ):
        assert one.accuracy == other.accuracy
        assert one.loss == pytest.approx(other.loss, rel=1e-5)


@every_averaging
def test_where_all_evaluations_are_asked_for_the_average_has_all_scores_too(name):
    result = trained(averaged(name, evaluations="all")).result

    assert [len(e.scores) for e in result.evaluations] == [12] * 7


@every_averaging
def test_a_resumed_run_ends_bit_for_bit_like_one_that_was_not_interrupted(name):
    run = averaged(name, algorithm="ERM")
    whole, _, saved = trained(run)

    # In another process, and twice from one checkpoint in this.
    for checkpoint in (*map(reread, saved), saved[2], saved[2]):
        resumed = trained(run, resume=checkpoint)

        assert without_seconds(resumed.result) == without_seconds(whole)
        assert len(resumed.saved) == 6 - checkpoint["step"] // 2


@pytest.mark.parametrize(
    ("name", "number", "value"),
    [
        ("swad", "swad_converge", 3),
        ("swad", "swad_tolerance", 5),
        ("swad", "swad_ratio", 0.0),
        ("swa", "swa_start", 0.8),
        ("swa", "swa_every", 1),
        ("sma", "sma_start", 1),
        ("ema", "ema_decay", 0.5),
        ("bma", "bma_beta", 1.0),
    ],
)
def test_each_number_changes_the_average(monkeypatch, name, number, value):
    means: list[Tensor] = []
    real = Trainer.load_average

    def load_average(self: Trainer) -> None:
        real(self)
        means.append(self.weights.flat.clone())

    monkeypatch.setattr(Trainer, "load_average", load_average)
    for numbers in ({}, {number: value}):
        monkeypatch.setattr(trainer_module, "evaluate", with_losses(VALLEY))
        trained(averaged(name, numbers))

    assert not torch.equal(*means)


def test_a_dead_valley_ends_the_run_as_completed_also_after_a_resume(monkeypatch):
    monkeypatch.setattr(trainer_module, "evaluate", with_losses(VALLEY))
    run = averaged("swad", {"swad_converge": 3, "swad_tolerance": 2}, steps=40)

    result, reported, saved = trained(run)

    # The mean loss at convergence is 1.1, the threshold 1.21: the queue is above at 1.3, 1.4.
    assert (result.state, result.reason) == ("completed", "")
    assert (result.steps, result.best_step) == (12, 12)
    assert [(e.step, e.weights) for e in result.evaluations[-2:]] == [
        (12, "iterate"),
        (12, "average"),
    ]
    # The last could only serve to stop a trial that stops by itself.
    assert [e.step for e in reported] == [2, 4, 6, 8, 10]

    monkeypatch.setattr(trainer_module, "evaluate", with_losses(VALLEY[6:]))
    again = trained(run, resume=saved[-1])
    assert without_seconds(again.result) == without_seconds(result)
    assert again.reported == reported


@every_averaging
def test_a_run_that_diverges_has_no_average(name):
    result = trained(averaged(name, {"lr": 1e30}, algorithm="ERM")).result

    assert result.state == "diverged"
    assert (result.best_step, result.validation) == (None, None)
    assert "average" not in [e.weights for e in result.evaluations]


def after_four_steps(run: Run) -> tuple[Trainer, list[Tensor]]:
    """A trainer with its average loaded, and the buffers it had before."""
    trainer = Trainer(run, DIGITS)
    trainer.learn()
    for _ in range(4):
        trainer.train_one()
    before = [buffer.clone() for buffer in trainer.model.buffers()]
    trainer.load_average()
    return trainer, before


def test_batch_norm_is_measured_anew_for_the_average(normed):
    trainer, before = after_four_steps(averaged("ema", model="normed", steps=4))
    flatten, linear, norm, _ = trainer.model.featurizer[0]

    inputs = [linear(flatten(trainer.batches(step).x)) for step in range(4, 504)]
    mean = torch.stack([x.mean(0) for x in inputs]).mean(0)
    variance = torch.stack([x.var(0) for x in inputs]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert not torch.equal(norm.running_mean, before[0])
    assert norm.momentum == 0.1


@pytest.mark.parametrize(
    ("name", "bn"), [("sma", "updated"), ("ema", "frozen")], ids=["averaged", "frozen"]
)
def test_batch_norm_that_is_averaged_or_frozen_is_not_measured_anew(normed, name, bn):
    """SMA begins after these steps: until then its mean is the newest member."""
    trainer, before = after_four_steps(averaged(name, model="normed", bn=bn))

    torch.testing.assert_close(list(trainer.model.buffers()), before, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["swa", "sma"])
def test_batch_norm_of_the_average_is_the_same_after_a_resume(normed, name):
    run = averaged(name, model="normed")
    whole, _, saved = trained(run)

    for checkpoint in saved[1:3]:
        resumed = trained(run, resume=reread(checkpoint))
        assert without_seconds(resumed.result) == without_seconds(whole)


def test_an_averagings_number_is_refused_where_nothing_averages():
    with pytest.raises(ValueError, match="SAM has no hyperparameter 'swad_ratio'"):
        trained(replace(RUN, hyperparameters={"swad_ratio": 0.3}))
