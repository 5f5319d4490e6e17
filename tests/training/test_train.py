from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from datasets.domain_dataset import Domain, DomainDataset
from tests.training.digit_runs import (
    DIGITS,
    HELD_OUT,
    NEEDED,
    Trained,
    quiet,
    reread,
    roles,
    trained,
    without_seconds,
)
from training import trainer as trainer_module
from training.evaluation import Evaluation, Part, Score
from training.run import Run
from training.train import Trainer, train

RUN = Run("RotatedDigits", None, "mlp", "ERM", "30", 0, 10, 4, {"lr": 1e-3, "batch_size": 8})


def scoring(accuracies: Sequence[float]) -> Callable[..., tuple[Score, ...]]:
    """An `evaluate` whose source accuracies are planned, one for each evaluation."""
    planned = iter(accuracies)

    def evaluate(
        model: nn.Module, parts: Sequence[Part], device: torch.device
    ) -> tuple[Score, ...]:
        accuracy = next(planned) if parts[0].role == "source" else 0.5
        return tuple(Score(p.domain.name, p.role, p.split, accuracy, 1.0, 10) for p in parts)

    return evaluate


@pytest.fixture(scope="module")
def whole() -> Trained:
    """What comes of RUN, undisturbed."""
    return trained(RUN)


@pytest.mark.parametrize(
    ("steps", "every", "at"),
    [(10, 4, [4, 8, 10]), (8, 4, [4, 8]), (3, 5, [3]), (3, 1, [1, 2, 3])],
)
def test_evaluations_come_at_multiples_and_after_the_last_step(steps, every, at):
    result, reported, _ = trained(replace(RUN, steps=steps, evaluate_every=every))

    assert [evaluation.step for evaluation in reported] == at
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


def test_all_evaluations_score_every_split_of_every_domain_and_change_no_other_score(whole):
    everything, reported, _ = trained(replace(RUN, evaluations="all"))

    assert list(everything.evaluations) == reported
    assert everything.best_step == whole.result.best_step
    for few, many in zip(whole.result.evaluations, reported, strict=True):
        assert set(few.scores) < set(many.scores)
        assert set(roles(many)) == {
            (domain.name, "held_out" if domain.name == "30" else "source", split)
            for domain in DIGITS.domains
            for split in ("in", "out")
        }


@pytest.mark.parametrize("algorithm", ["ERM", "SAGM"])
def test_a_diverged_run_is_an_outcome(algorithm):
    run = replace(
        RUN, algorithm=algorithm, hyperparameters={"lr": 1e30}, steps=20, evaluate_every=10
    )

    result, reported, _ = trained(run)

    assert result.state == "diverged"
    assert result.reason == "the loss stopped being finite between steps 0 and 10"
    assert (result.best_step, result.validation, result.evaluations) == (None, None, ())
    assert not reported


@pytest.mark.parametrize(("step", "value"), [(7, float("inf")), (8, float("nan"))])
def test_a_run_that_diverges_late_keeps_its_best_weights_held_out_scores(monkeypatch, step, value):
    """Also where the weights break in an interval's last step, whose loss is finite."""
    real = Trainer.train_one

    def train_one(self: Trainer) -> torch.Tensor:
        loss = real(self)
        if self.step == step:
            self.weights.flat.fill_(value)
        return loss

    monkeypatch.setattr(Trainer, "train_one", train_one)

    result = train(RUN, DIGITS, quiet)

    assert result.state == "diverged"
    assert result.reason == "the loss stopped being finite between steps 4 and 8"
    assert result.best_step == 4
    assert [roles(evaluation) for evaluation in result.evaluations] == [NEEDED + HELD_OUT]


def test_runs_in_one_process_do_not_change_each_other():
    dropout = replace(RUN, hyperparameters={"dropout": 0.5, "batch_size": 8})
    alone = without_seconds(train(dropout, DIGITS, quiet))

    def another_run(evaluation: Evaluation) -> None:
        other = replace(dropout, algorithm="GGA-L", held_out="0", seed=3, model="cnn", steps=1)
        train(other, DIGITS, quiet)

    assert without_seconds(train(dropout, DIGITS, another_run)) == alone


def test_a_checkpoint_is_not_changed_by_training_on_nor_by_a_run_that_resumes_from_it(whole):
    first = whole.saved[0]
    moments = first["optimizer"]["mean"].clone()

    for _ in range(2):
        result, reported, _ = trained(RUN, resume=first)

        assert without_seconds(result) == without_seconds(whole.result)
        # Those before the resume are reported again.
        assert [evaluation.step for evaluation in reported] == [4, 8, 10]
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
    normed, second_pass, batches_counted
):
    run = replace(RUN, model="normed", algorithm="SAM", bn_second_pass=second_pass, steps=3)

    saved = trained(run).saved

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
    values = {"lr": np.float64(1e-3), "weight_decay": np.float32(0.1), "batch_size": np.int64(8)}

    assert reread(trained(replace(RUN, hyperparameters=values)).saved[0])["step"] == 4
