"""What every algorithm must do, whatever it is made of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.contract.settings import ALGORITHMS, DIGITS, PARTS, covering, run_of, settings
from tests.training.digit_runs import Trained, reread, trained, without_seconds
from training import algorithms
from training.algorithms import hyperparameters, parse
from training.evaluation import Evaluation
from training.run import Run
from training.train import Checkpoint, Interrupted, Trainer, train

WITH_PAIRS = [*ALGORITHMS, *(pair for pair in covering() if pair not in ALGORITHMS)]
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
every_pair_too = pytest.mark.parametrize("algorithm", WITH_PAIRS)


@cache
def usual(algorithm: str) -> Trained:
    """What comes of the algorithm with its toy settings."""
    return trained(run_of(algorithm))


def weights_by_step(run: Run) -> Iterator[Tensor]:
    """Of shape [P], after each step of a run."""
    trainer = Trainer(run, DIGITS)
    trainer.learn()
    for _ in range(run.steps):
        trainer.train_one()
        yield trainer.weights.flat.clone()


@cache
def usual_steps(algorithm: str) -> list[Tensor]:
    return list(weights_by_step(run_of(algorithm)))


def weights(run: Trained) -> Tensor:
    """Of shape [P], at the end."""
    last: Tensor = run.saved[-1]["tensors"][0]
    return last


def interrupted(run: Run, after: int) -> Checkpoint:
    """The state of a run that is ended by its report of the evaluation at step `after`."""
    saved: list[Checkpoint] = []

    def report(evaluation: Evaluation) -> None:
        if evaluation.step == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run, DIGITS, report, lambda checkpoint: saved.append(checkpoint()))
    return reread(saved[-1])


def left(run: Run, step: int, resume: Checkpoint) -> Checkpoint:
    """The state of a resumed run that is asked to leave before that step, counted from 0."""
    saved: list[Checkpoint] = []
    asked = iter(range(resume["step"], run.steps))
    with pytest.raises(Interrupted):
        train(
            run,
            DIGITS,
            lambda _: None,
            lambda checkpoint: saved.append(checkpoint()),
            resume,
            leaving=lambda: next(asked) == step,
        )
    return reread(saved[-1])


def assert_equal(one: Any, other: Any) -> None:
    """Equal bit for bit, through all nesting."""
    assert type(one) is type(other)
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for item, other_item in zip(one, other, strict=True):
            assert_equal(item, other_item)
    else:
        assert one == other


def timeless(state: Checkpoint) -> Checkpoint:
    evaluations = [(step, scores, passes) for step, scores, _, passes in state["evaluations"]]
    return {**state, "seconds": None, "evaluations": evaluations}


def test_every_registered_part_has_toy_settings_for_each_of_its_numbers():
    assert PARTS.keys() == algorithms.PARTS.keys()
    for part, numbers in PARTS.items():
        assert numbers.keys() == algorithms.part_hyperparameters(part).keys()


@every_pair_too
def test_training_lowers_the_loss(algorithm):
    result = usual(algorithm).result

    first, last = (sum(score.loss for score in e.scores[:5]) / 5 for e in result.evaluations)
    assert math.log(10) > first > last


def test_another_seed_gives_other_numbers():
    assert not torch.equal(weights(trained(run_of("ERM", seed=1))), weights(usual("ERM")))


@every_pair_too
def test_a_run_resumed_twice_ends_bit_for_bit_like_one_that_was_not_interrupted(algorithm):
    run = run_of(algorithm)
    whole = usual(algorithm)

    # Its first steps are taken anew, so the same run gives the same numbers too.
    after_an_evaluation = interrupted(run, 3)
    between_two = left(run, 5, after_an_evaluation)
    resumed = trained(run, resume=between_two)

    assert (after_an_evaluation["step"], between_two["step"]) == (3, 5)
    assert_equal(timeless(resumed.saved[-1]), timeless(whole.saved[-1]))
    assert resumed.result.best_step == whole.result.best_step
    assert without_seconds(resumed.result) == without_seconds(whole.result)


@pytest.mark.parametrize(
    ("algorithm", "optimizer"),
    [
        *(("SAM", name) for name in ("adamw", "sgd")),
        *(("DISAM+GGA+SAGM", name) for name in ("adamw", "sgd")),
        ("MIRO+SAM", "genie"),
    ],
)
def test_resuming_is_exact_with_every_optimizer_and_without_dropout(algorithm, optimizer):
    schedule = {"rho_schedule": "cosine", "rho_warmup": 3}
    run = run_of(algorithm, {"dropout": 0.0}, optimizer=optimizer, **schedule)

    resumed = trained(run, resume=interrupted(run, 3))

    assert_equal(timeless(resumed.saved[-1]), timeless(trained(run).saved[-1]))


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [
        (algorithm, name)
        for algorithm in WITH_PAIRS
        # Training's own numbers are parts' business only where they make steps of their own.
        for name in (settings if algorithm in ("ERM", "GGA", "Fish") else hyperparameters)(
            algorithm
        )
    ],
)
def test_each_hyperparameter_changes_the_weights(algorithm, name):
    changed = weights_by_step(run_of(algorithm, {name: settings(algorithm)[name][1]}))

    # Until the first step that differs: most numbers tell in the first.
    assert any(not torch.equal(*both) for both in zip(changed, usual_steps(algorithm), strict=True))


@pytest.mark.parametrize(
    ("algorithm", "given", "changed"),
    [
        *((name, {}, {"rho_schedule": "linear"}) for name in ("SAM", "GSAM", "SAGM")),
        ("SAM", {}, {"rho_schedule": "cosine"}),
        ("SAM", {}, {"rho_warmup": 2}),
        ("SAM", {"rho_schedule": "linear"}, {"rho_floor": 0.5}),
        ("SAM", {}, {"optimizer": "adamw"}),
        ("SAM", {}, {"optimizer": "sgd"}),
        ("SAM", {"optimizer": "sgd"}, {"momentum": 0.5}),
        ("SAM", {"optimizer": "sgd"}, {"nesterov": True}),
    ],
    ids=str,
)
def test_each_choice_of_optimizer_and_schedule_changes_the_final_weights(algorithm, given, changed):
    before = trained(run_of(algorithm, **given)) if given else usual(algorithm)

    after = trained(run_of(algorithm, **{**given, **changed}))

    assert not torch.equal(weights(before), weights(after))


@every_algorithm
def test_a_step_cut_short_in_any_pass_leaves_no_trace(algorithm):
    """Weights are as before, and the step, done again, ends as it would have.

    Once GGA's search is over the weights have moved for good, so there only its passes are cut;
    and only those of Fish's first small step, as the optimizer remembers each.
    """
    searches, walks = "GGA" in parse(algorithm), "Fish" in parse(algorithm)
    run = run_of(algorithm)
    looks, domains = 3, 5
    most = looks * (domains + 1) if searches else 1 if walks else 100
    trainer, undisturbed = Trainer(run, DIGITS), Trainer(run, DIGITS)
    passes_left = 0

    def count_down(*_: Any) -> None:
        nonlocal passes_left
        passes_left -= 1
        if passes_left == 0:
            raise Interrupted

    for each in (trainer, undisturbed):
        each.model.train()
        for _ in range(2):  # to the window of GGA
            each.train_one()
    undisturbed.train_one()
    before = trainer.weights.flat.clone()
    handle = trainer.model.classifier.register_forward_hook(count_down)
    cut = 0
    while trainer.step == 2 and cut < most:
        passes_left = cut + 1
        try:
            trainer.train_one()
        except Interrupted:
            cut += 1
            assert torch.equal(trainer.weights.flat, before)
    handle.remove()
    if trainer.step == 2:
        trainer.train_one()

    dearest = max([1, *(int(algorithms.PARTS[part].cost) for part in parse(algorithm))])
    assert cut == most if most < 100 else cut >= dearest
    assert torch.equal(trainer.weights.flat, undisturbed.weights.flat)
