"""SWAD against the released code, and what a run needs of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.training.golden_case import (
    GoldenNetwork,
    cases,
    close,
    each,
    flat,
    optimizer_of,
    read,
    tensor,
)
from training.averaging import SWAD
from training.weights import Weights

SCALAR = cases("swad", "scalar")
EXACT = 1e-12
CPU = torch.device("cpu")


def of(case: dict[str, Any]) -> SWAD:
    return SWAD(case["n_converge"], case["n_tolerance"], case["tolerance_ratio"])


def checkpoints(case: dict[str, Any], swad: SWAD) -> Iterator[tuple[int, Tensor]]:
    """Plays the record, step 0 being the first update; yields step and segment mean at each
    evaluation, after it.
    """
    losses = iter(case["val_losses"])
    for step, weights in enumerate(case["iterates"]):
        swad.add(tensor(weights), step + 1, len(case["iterates"]))
        if step % case["checkpoint_freq"] == 0:
            mean = swad.state()["segment"]["mean"]
            swad.evaluated(next(losses))
            yield step, mean
            if swad.ended:
                return


@each(SCALAR)
def test_every_evaluation_leaves_the_state_of_the_released_code_and_the_last_its_result(case):
    swad = of(case)
    ends: list[int] = []
    for (step, mean), log in zip(checkpoints(case, swad), case["log"], strict=True):
        ends.append(step)
        swad.result()  # which changes nothing
        assert step == log["step"] == log["segment_end"]
        close(mean, log["segment_mean"], EXACT)
        assert (swad.average is not None) == log["converged"]
        converged_at = None if swad.converged_at is None else ends[swad.converged_at]
        assert converged_at == log["converge_step"]
        assert swad.threshold == pytest.approx(log["threshold"], abs=EXACT)
        assert swad.ended == log["dead"]
        assert (swad.average.count if swad.average else None) == log["n_averaged"]

    close(swad.result(), case["final"]["w"], EXACT)
    assert (ends[-1] if swad.ended else None) == case["stopped_at_step"]
    assert (swad.average is not None) == case["final"]["converged"]


@each(cases("swad", "end_to_end"))
def test_a_whole_training_run_ends_in_the_released_codes_average(case):
    problem = read("swad")["problem"]
    model = GoldenNetwork(problem)
    weights = Weights(model)
    optimizer = optimizer_of(case["optimizer"], weights.flat)
    data = problem["data"]
    x, y = tensor(data["x"]).flatten(0, 1), torch.tensor(data["y"]).flatten()
    held = case["validation"]
    swad, seen = of(case), []
    for step in range(case["n_steps"]):
        room = weights.gradients("first")
        optimizer.step(room.fill(0, F.cross_entropy(model.classifier(model.featurizer(x)), y)))
        swad.add(weights.flat, step + 1, case["n_steps"])
        if step % case["checkpoint_freq"] == 0:
            seen.append(validation(model, held["x"], held["y"]))
            swad.evaluated(seen[-1])
        if swad.ended:
            break

    close(seen, case["val_losses"], EXACT)
    assert swad.threshold == pytest.approx(case["threshold"], abs=EXACT)
    assert (step if swad.ended else None) == case["stopped_at_step"]
    close(swad.result(), flat(case["final"]["params"]), EXACT)


@torch.no_grad()
def validation(model: GoldenNetwork, x: list[Any], y: list[Any]) -> float:
    """Mean over the domains of the cross-entropy on their validation samples."""
    losses = [
        F.cross_entropy(model.classifier(model.featurizer(tensor(xs))), torch.tensor(ys))
        for xs, ys in zip(x, y, strict=True)
    ]
    return float(torch.stack(losses).mean())


@each(SCALAR)
def test_a_state_goes_on_bit_for_bit_wherever_it_was_taken(case):
    undisturbed = of(case)
    steps = [step for step, _ in checkpoints(case, undisturbed)]
    for stop in range(len(steps)):
        first = of(case)
        played = checkpoints(case, first)
        step = [next(played)[0] for _ in range(stop + 1)][-1]
        state = first.state()
        mean = state["recent"][0][2].clone()
        second = of(case)
        second.restore(state, CPU)
        losses = iter(case["val_losses"][stop + 1 :])
        for later in range(step + 1, steps[-1] + 1):
            second.add(tensor(case["iterates"][later]), later + 1, len(case["iterates"]))
            if later % case["checkpoint_freq"] == 0:
                second.evaluated(next(losses))

        assert torch.equal(second.result(), undisturbed.result())
        assert second.ended == undisturbed.ended
        assert torch.equal(state["recent"][0][2], mean)


def test_a_state_taken_inside_a_segment_is_not_changed_by_going_on():
    swad = SWAD()
    swad.add(torch.zeros(2), 1, 9)
    state = swad.state()

    swad.add(torch.ones(2), 2, 9)

    assert torch.equal(state["segment"]["mean"], torch.zeros(2))


def test_the_weights_given_are_copied():
    swad, weights = SWAD(), torch.zeros(2)
    swad.add(weights, 1, 1)
    weights.fill_(7)
    swad.evaluated(1.0)

    assert torch.equal(swad.result(), torch.zeros(2))
