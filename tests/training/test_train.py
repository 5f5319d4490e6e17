from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import datasets
import models
from datasets.domain_dataset import Domain, DomainDataset
from training import trainer as trainer_module
from training.checkpoint import from_bytes, to_bytes
from training.evaluation import Evaluation, Part, Score
from training.run import Run
from training.train import Checkpoint, Trainer, TrainResult, train

DIGITS = datasets.load("RotatedDigits")
RUN = Run("RotatedDigits", None, "mlp", "ERM", "30", 0, 10, 4, {"lr": 1e-3, "batch_size": 8})


def quiet(evaluation: Evaluation) -> None:
    """A report that nobody reads."""


def roles(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    return [(score.domain, score.role, score.split) for score in evaluation.scores]


NEEDED = [(name, "source", "out") for name in ("0", "15", "45", "60", "75")]
HELD_OUT = [("30", "held_out", "in"), ("30", "held_out", "out")]


def without_seconds(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    return [replace(evaluation, seconds=0.0) for evaluation in evaluations]


def scoring(accuracies: Sequence[float]) -> Callable[..., tuple[Score, ...]]:
    """An `evaluate` whose source accuracies are planned, one for each evaluation."""
    planned = iter(accuracies)

    def evaluate(
        model: nn.Module, parts: Sequence[Part], device: torch.device
    ) -> tuple[Score, ...]:
        accuracy = next(planned) if parts[0].role == "source" else 0.5
        return tuple(Score(p.domain.name, p.role, p.split, accuracy, 1.0, 10) for p in parts)

    return evaluate


class Whole(NamedTuple):
    """What comes of RUN, undisturbed."""

    result: TrainResult
    reported: list[Evaluation]
    saved: list[Checkpoint]


@pytest.fixture(scope="module")
def whole() -> Whole:
    reported: list[Evaluation] = []
    saved: list[Checkpoint] = []
    result = train(RUN, DIGITS, reported.append, lambda checkpoint: saved.append(checkpoint()))
    return Whole(result, reported, saved)


def break_after(monkeypatch: pytest.MonkeyPatch, step: int, value: float) -> None:
    """All weights become `value` in the last of so many steps."""
    real = Trainer.train_one

    def train_one(self: Trainer) -> torch.Tensor:
        loss = real(self)
        if self.step == step:
            self.weights.flat.fill_(value)
        return loss

    monkeypatch.setattr(Trainer, "train_one", train_one)


@pytest.mark.parametrize(
    ("steps", "every", "at"),
    [(10, 4, [4, 8, 10]), (8, 4, [4, 8]), (3, 5, [3]), (3, 1, [1, 2, 3])],
)
def test_evaluations_come_at_multiples_and_after_the_last_step(steps, every, at):
    seen: list[int] = []

    result = train(
        replace(RUN, steps=steps, evaluate_every=every), DIGITS, lambda e: seen.append(e.step)
    )

    assert seen == at
    assert [evaluation.step for evaluation in result.evaluations] == at
    assert (result.state, result.reason, result.steps) == ("completed", "", steps)


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [([0.2, 0.5, 0.5], 8), ([0.5, 0.5, 0.5], 4), ([0.1, 0.2, 0.3], 10), ([0.3, 0.2, 0.1], 4)],
)
def test_the_best_step_is_the_first_among_equals(monkeypatch, accuracies, best):
    monkeypatch.setattr(trainer_module, "evaluate", scoring(accuracies))

    result = train(RUN, DIGITS, quiet)

    assert result.best_step == best
    assert result.validation == pytest.approx(max(accuracies))


def test_the_held_out_domain_is_scored_at_the_best_and_the_last_step_only(monkeypatch):
    monkeypatch.setattr(trainer_module, "evaluate", scoring([0.1, 0.9, 0.3]))

    result = train(replace(RUN, evaluate_every=3, steps=9), DIGITS, quiet)

    assert [roles(evaluation) for evaluation in result.evaluations] == [
        NEEDED,
        NEEDED + HELD_OUT,
        NEEDED + HELD_OUT,
    ]


def test_the_best_steps_held_out_scores_are_those_of_the_best_weights(monkeypatch):
    stopped_early = train(replace(RUN, steps=4), DIGITS, quiet).evaluations[-1]
    steps = iter([0.9, 0.1, 0.1])
    real = trainer_module.evaluate

    def evaluate(model: nn.Module, parts: Sequence[Part], device: torch.device):
        scores = real(model, parts, device)
        if parts[0].role == "held_out":
            return scores
        accuracy = next(steps)
        return tuple(replace(score, accuracy=accuracy) for score in scores)

    monkeypatch.setattr(trainer_module, "evaluate", evaluate)

    result = train(RUN, DIGITS, quiet)

    assert result.best_step == 4
    assert result.evaluations[0].scores[-2:] == stopped_early.scores[-2:]
    assert result.evaluations[0].scores[-2:] != result.evaluations[-1].scores[-2:]


def test_reports_and_checkpoints_hold_no_held_out_score(whole):
    assert [roles(evaluation) for evaluation in whole.reported] == [NEEDED] * 3
    scores = [score for _, scores, *_ in whole.saved[-1]["evaluations"] for score in scores]
    assert {role for _, role, *_ in scores} == {"source"}


def test_every_split_of_every_domain_is_scored_where_all_evaluations_are_asked_for():
    reported: list[Evaluation] = []
    everything = [
        (name, "held_out" if name == "30" else "source", split)
        for name in ("0", "15", "30", "45", "60", "75")
        for split in ("in", "out")
    ]

    result = train(replace(RUN, evaluations="all"), DIGITS, reported.append)

    assert [roles(evaluation) for evaluation in reported] == [everything] * 3
    assert list(result.evaluations) == reported


def test_scores_do_not_depend_on_which_are_asked_for(whole):
    everything = train(replace(RUN, evaluations="all"), DIGITS, quiet)

    assert whole.result.best_step == everything.best_step
    for few, many in zip(whole.result.evaluations, everything.evaluations, strict=True):
        assert set(few.scores) < set(many.scores)


@pytest.mark.parametrize("algorithm", ["ERM", "SAGM"])
def test_a_diverged_run_is_an_outcome(algorithm):
    reported: list[Evaluation] = []
    run = replace(
        RUN, algorithm=algorithm, hyperparameters={"lr": 1e30}, steps=20, evaluate_every=10
    )

    result = train(run, DIGITS, reported.append)

    assert result.state == "diverged"
    assert result.reason == "the loss stopped being finite between steps 0 and 10"
    assert (result.best_step, result.validation, result.evaluations) == (None, None, ())
    assert not reported


def test_a_run_that_diverges_late_keeps_its_best_weights_held_out_scores(monkeypatch):
    break_after(monkeypatch, 7, float("inf"))

    result = train(RUN, DIGITS, quiet)

    assert result.state == "diverged"
    assert result.reason == "the loss stopped being finite between steps 4 and 8"
    assert result.best_step == 4
    assert [roles(evaluation) for evaluation in result.evaluations] == [NEEDED + HELD_OUT]


def test_weights_that_break_in_an_intervals_last_step_count_as_diverged(monkeypatch):
    break_after(monkeypatch, 8, float("nan"))

    assert train(RUN, DIGITS, quiet).state == "diverged"


def test_runs_in_one_process_do_not_change_each_other():
    dropout = replace(RUN, hyperparameters={"dropout": 0.5, "batch_size": 8})
    alone = without_seconds(train(dropout, DIGITS, quiet).evaluations)

    def another_run(evaluation: Evaluation) -> None:
        other = replace(dropout, algorithm="GGA-L", held_out="0", seed=3, model="cnn", steps=1)
        train(other, DIGITS, quiet)

    assert without_seconds(train(dropout, DIGITS, another_run).evaluations) == alone


def test_a_checkpoint_is_not_changed_by_training_on_nor_by_a_run_that_resumes_from_it(whole):
    first = whole.saved[0]
    moments = first["optimizer"]["mean"].clone()

    for _ in range(2):
        seen: list[int] = []
        result = train(RUN, DIGITS, lambda e, seen=seen: seen.append(e.step), resume=first)

        assert without_seconds(result.evaluations) == without_seconds(whole.result.evaluations)
        assert seen == [4, 8, 10]  # those before the resume are reported again
    assert torch.equal(first["optimizer"]["mean"], moments)


def test_a_finished_run_can_be_resumed_for_its_result(whole):
    again = train(RUN, DIGITS, quiet, resume=whole.saved[-1])

    assert again.evaluations == whole.result.evaluations
    assert again.best_step == whole.result.best_step


def test_time_spent_before_a_resume_counts(whole):
    result = train(RUN, DIGITS, quiet, resume={**whole.saved[0], "seconds": 1000.0})

    assert 1000 < result.seconds < 1100
    assert result.evaluations[-1].seconds == result.seconds


def test_checkpoint_is_saved_before_its_evaluation_is_reported():
    order: list[str] = []

    train(
        replace(RUN, steps=4),
        DIGITS,
        lambda evaluation: order.append(f"report {evaluation.step}"),
        lambda checkpoint: order.append(f"save {checkpoint()['evaluations'][-1][0]}"),
    )

    assert order == ["save 4", "report 4"]


@pytest.mark.parametrize(("second_pass", "batches_counted"), [("frozen", 3), ("updated", 6)])
def test_batch_norm_counts_the_second_pass_only_where_the_run_says_so(
    monkeypatch, second_pass, batches_counted
):
    def featurizer(shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64)), 64

    monkeypatch.setitem(models.MODELS, "bn", models.Entry(featurizer, ""))
    run = replace(RUN, model="bn", algorithm="SAM", bn_second_pass=second_pass, steps=3)
    saved: list[Checkpoint] = []

    train(run, DIGITS, quiet, lambda checkpoint: saved.append(checkpoint()))

    assert saved[-1]["tensors"][-1] == batches_counted


def test_the_held_out_domain_is_never_in_a_batch():
    trainer = Trainer(replace(RUN, held_out="75"), DIGITS)

    assert trainer.batches(0).sizes == (8,) * 5
    sources = [part for part in trainer.parts if part.role == "source"]
    assert "75" not in {part.domain.name for part in sources}


def test_the_split_of_a_domain_does_not_depend_on_which_is_held_out():
    def indices(held_out: str) -> list[list[int]]:
        trainer = Trainer(replace(RUN, held_out=held_out), DIGITS)
        return [part.indices.tolist() for part in trainer.parts]

    assert indices("0") == indices("75")


def test_an_unknown_held_out_domain_is_refused():
    with pytest.raises(ValueError, match="domain of RotatedDigits"):
        train(replace(RUN, held_out="31"), DIGITS, quiet)


def test_a_domain_too_small_to_validate_on_is_refused():
    labels = np.arange(10, dtype=np.int64)
    images = np.zeros((10, 8, 8, 1), dtype=np.uint8)
    domains = (Domain("a", images, labels), Domain("b", images[:4], labels[:4]))
    tiny = DomainDataset("Tiny", domains, tuple("0123456789"), "")

    with pytest.raises(ValueError, match="domain 'b' of Tiny has 4 samples"):
        Trainer(replace(RUN, dataset="Tiny", held_out="a"), tiny)


def test_numbers_of_other_types_leave_a_checkpoint_that_loads():
    """A value out of numpy or a table must not end in the pickle of the optimizer's state."""
    saved: list[Checkpoint] = []
    values = {"lr": np.float64(1e-3), "weight_decay": np.float32(0.1), "batch_size": np.int64(8)}
    train(
        replace(RUN, hyperparameters=values),
        DIGITS,
        quiet,
        lambda checkpoint: saved.append(checkpoint()),
    )

    assert from_bytes(to_bytes(saved[0]))["step"] == 4
