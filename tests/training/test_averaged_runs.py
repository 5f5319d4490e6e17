"""Runs whose result is an average of the weights they passed through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import datasets
import models
from datasets.domain_dataset import DomainDataset
from training import trainer as trainer_module
from training.averaging import AVERAGINGS
from training.checkpoint import from_bytes, to_bytes
from training.evaluation import Evaluation, Part, Score, evaluate
from training.run import Run
from training.train import Checkpoint, Trainer, TrainResult, train

DIGITS = datasets.load("RotatedDigits")
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
NEEDED = [(name, "source", "out") for name in ("0", "15", "45", "60", "75")]
HELD_OUT = [("30", "held_out", "in"), ("30", "held_out", "out")]
# Falls, converges at the second, and leaves the valley: dead at the sixth evaluation.
VALLEY = [2.0, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]

every_averaging = pytest.mark.parametrize("name", AVERAGINGS)


def averaged(name: str, **fields: Any) -> Run:
    return replace(RUN, averaging=name, hyperparameters=VALUES | NUMBERS[name], **fields)


def trained(run: Run, resume: Checkpoint | None = None) -> tuple[TrainResult, list[Checkpoint]]:
    saved: list[Checkpoint] = []
    result = train(run, DIGITS, lambda _: None, lambda make: saved.append(make()), resume)
    return result, saved


@cache
def usual(name: str) -> TrainResult:
    """Of a run with an averaging, or with none."""
    return trained(RUN if name == "none" else averaged(name))[0]


def roles(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    return [(score.domain, score.role, score.split) for score in evaluation.scores]


def scores(evaluations: Sequence[Evaluation]) -> list[tuple[int, str, tuple[Score, ...]]]:
    return [(e.step, e.weights, e.scores) for e in evaluations]


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
    result = usual(name)
    *iterates, average = result.evaluations

    assert [e.weights for e in iterates] == ["iterate"] * 6
    assert (average.weights, average.step) == ("average", 12)
    assert [roles(e) for e in iterates] == [NEEDED] * 6
    assert roles(average) == NEEDED + HELD_OUT
    assert (result.best_step, result.validation) == (12, average.validation)
    assert (result.state, result.steps) == ("completed", 12)


@every_averaging
def test_averaging_does_not_touch_training(name):
    for one, other in zip(usual(name).evaluations[:-1], usual("none").evaluations, strict=True):
        assert one.scores == other.scores[:5]


def test_the_averages_scores_are_those_of_a_model_with_the_mean_of_the_weights(monkeypatch):
    path: list[Tensor] = []
    real = Trainer.train_one

    def train_one(self: Trainer) -> Tensor:
        loss = real(self)
        path.append(self.weights.flat.clone())
        return loss

    monkeypatch.setattr(Trainer, "train_one", train_one)
    values = VALUES | {"swa_start": 0.5}
    result, _ = trained(replace(RUN, averaging="swa", hyperparameters=values))
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
    result, _ = trained(averaged(name, evaluations="all"))

    assert [len(e.scores) for e in result.evaluations] == [12] * 7


@every_averaging
def test_reports_and_checkpoints_hold_neither_the_average_nor_a_held_out_score(name):
    reported: list[Evaluation] = []
    saved: list[Checkpoint] = []
    train(averaged(name), DIGITS, reported.append, lambda make: saved.append(make()))

    assert [e.weights for e in reported] == ["iterate"] * 6
    assert [roles(e) for e in reported] == [NEEDED] * 6
    assert len(saved[-1]["evaluations"]) == 6
    assert saved[-1]["best"] is None


@every_averaging
def test_a_resumed_run_ends_bit_for_bit_like_one_that_was_not_interrupted(name):
    run = averaged(name, algorithm="ERM")
    whole, saved = trained(run)

    for at, checkpoint in enumerate(saved):
        resumed, rest = trained(run, from_bytes(to_bytes(checkpoint)))

        assert scores(resumed.evaluations) == scores(whole.evaluations)
        assert len(rest) == len(saved) - at - 1


@every_averaging
def test_a_checkpoint_may_be_resumed_from_twice(name):
    run = averaged(name, algorithm="DISAM+SAGM")
    whole, saved = trained(run)

    for _ in range(2):
        resumed, _ = trained(run, saved[2])
        assert scores(resumed.evaluations) == scores(whole.evaluations)


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
    def mean(run: Run) -> Tensor:
        monkeypatch.setattr(trainer_module, "evaluate", with_losses(VALLEY))
        seen: list[Tensor] = []
        real = Trainer.load_average

        def load_average(self: Trainer) -> None:
            real(self)
            seen.append(self.weights.flat.clone())

        with monkeypatch.context() as patched:
            patched.setattr(Trainer, "load_average", load_average)
            trained(run)
        return seen[0]

    usual = averaged(name)
    changed = replace(usual, hyperparameters={**usual.hyperparameters, number: value})

    assert not torch.equal(mean(changed), mean(usual))


def test_a_dead_valley_ends_the_run_as_completed(monkeypatch):
    monkeypatch.setattr(trainer_module, "evaluate", with_losses(VALLEY))
    reported: list[int] = []
    numbers = VALUES | {"swad_converge": 3, "swad_tolerance": 2, "swad_ratio": 0.1}
    run = replace(RUN, averaging="swad", steps=40, hyperparameters=numbers)

    result = train(run, DIGITS, lambda evaluation: reported.append(evaluation.step))

    # The mean loss at convergence is 1.1, the threshold 1.21: the queue is above at 1.3, 1.4.
    assert (result.state, result.reason) == ("completed", "")
    assert (result.steps, result.best_step) == (12, 12)
    assert [(e.step, e.weights) for e in result.evaluations[-2:]] == [
        (12, "iterate"),
        (12, "average"),
    ]
    # The last could only serve to stop a trial that stops by itself.
    assert reported == [2, 4, 6, 8, 10]


def test_a_run_whose_valley_died_can_be_resumed_for_its_result(monkeypatch):
    numbers = VALUES | {"swad_converge": 3, "swad_tolerance": 2, "swad_ratio": 0.1}
    run = replace(RUN, averaging="swad", steps=40, hyperparameters=numbers)
    monkeypatch.setattr(trainer_module, "evaluate", with_losses(VALLEY))
    whole, saved = trained(run)
    monkeypatch.setattr(trainer_module, "evaluate", with_losses(VALLEY[6:]))
    reported: list[int] = []

    again = train(run, DIGITS, lambda evaluation: reported.append(evaluation.step), None, saved[-1])

    assert scores(again.evaluations) == scores(whole.evaluations)
    assert reported == [2, 4, 6, 8, 10]


@every_averaging
def test_a_run_that_diverges_has_no_average(name):
    values = VALUES | NUMBERS[name] | {"lr": 1e30}

    result, _ = trained(replace(RUN, averaging=name, hyperparameters=values, algorithm="ERM"))

    assert result.state == "diverged"
    assert (result.best_step, result.validation) == (None, None)
    assert "average" not in [e.weights for e in result.evaluations]


def normed(shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU()), 16


def statistics_after(run: Run, dataset: DomainDataset = DIGITS) -> tuple[Trainer, list[Tensor]]:
    """A trainer with its average loaded, and the buffers it had before."""
    trainer = Trainer(run, dataset)
    trainer.learn()
    for _ in range(4):
        trainer.train_one()
    before = [buffer.clone() for buffer in trainer.model.buffers()]
    trainer.load_average()
    return trainer, before


def test_batch_norm_is_measured_anew_for_the_average(monkeypatch):
    monkeypatch.setitem(models.MODELS, "normed", models.Entry(normed, ""))
    trainer, before = statistics_after(averaged("ema", model="normed", steps=4))
    flatten, linear, norm, _ = trainer.model.featurizer[0]

    inputs = [linear(flatten(trainer.batches(step).x)) for step in range(4, 504)]
    mean = torch.stack([x.mean(0) for x in inputs]).mean(0)
    variance = torch.stack([x.var(0) for x in inputs]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert not torch.equal(norm.running_mean, before[0])
    assert norm.momentum == 0.1


def test_sma_averages_running_statistics_too_and_resumes_with_them(monkeypatch):
    monkeypatch.setitem(models.MODELS, "normed", models.Entry(normed, ""))
    run = averaged("sma", model="normed")
    trainer, _ = statistics_after(run)
    path: list[Tensor] = []
    other = Trainer(run, DIGITS)
    other.learn()
    for _ in range(4):
        other.train_one()
        path.append(other.model.featurizer[0][2].running_mean.clone())

    torch.testing.assert_close(trainer.model.featurizer[0][2].running_mean, path[3])

    whole, saved = trained(run)
    for checkpoint in saved[1:4]:
        resumed, _ = trained(run, from_bytes(to_bytes(checkpoint)))
        assert scores(resumed.evaluations) == scores(whole.evaluations)


def test_frozen_batch_norm_is_left_as_it_is_for_the_average(monkeypatch):
    monkeypatch.setitem(models.MODELS, "normed", models.Entry(normed, ""))
    trainer, before = statistics_after(averaged("ema", model="normed", bn="frozen"))

    assert all(map(torch.equal, trainer.model.buffers(), before))


def test_batch_norm_measured_anew_is_the_same_after_a_resume(monkeypatch):
    monkeypatch.setitem(models.MODELS, "normed", models.Entry(normed, ""))
    run = averaged("swa", model="normed")
    whole, saved = trained(run)
    torch.manual_seed(9)  # whatever random state the resuming process happens to have

    resumed, _ = trained(run, saved[1])

    assert scores(resumed.evaluations) == scores(whole.evaluations)


def test_an_averagings_number_is_refused_where_nothing_averages():
    with pytest.raises(ValueError, match="SAM has no hyperparameter 'swad_ratio'"):
        trained(replace(RUN, hyperparameters={"swad_ratio": 0.3}))
