from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.training.toy import Toy, batch
from tests.training.toy_steps import run_of, step_of, values_of
from training.algorithms.fish import Fish
from training.algorithms.sam import SAM


def normalized() -> Toy:
    return Toy(nn.BatchNorm1d(5))


def walk_of(model: nn.Module, steps: int, part: float) -> None:
    """Fish with a copy of the model, torch's own Adam and a loop over all that a model holds."""
    state = None
    data = batch(4, 4, 4)
    for _ in range(steps):
        inner = copy.deepcopy(model)
        adam = torch.optim.Adam(inner.parameters(), lr=0.1)
        if state is not None:
            adam.load_state_dict(state)
        for x, y in zip(data.x.split(4), data.y.split(4), strict=True):
            adam.zero_grad()
            F.cross_entropy(inner(x), y).backward()
            adam.step()
        state = adam.state_dict()
        with torch.no_grad():
            for own, there in zip(
                model.state_dict().values(), inner.state_dict().values(), strict=True
            ):
                if own.is_floating_point():
                    own += part * (there - own)


@pytest.mark.parametrize("part", [0.3, 1.0])
def test_weights_and_running_statistics_go_a_part_of_the_way(part):
    expected, model = normalized(), normalized()
    walk_of(expected, 3, part)

    run_of(model, Fish(part), steps=3, sizes=(4, 4, 4))

    for name, value in expected.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(model.state_dict()[name], value)


def test_a_domain_that_is_absent_from_the_batch_is_passed_over():
    assert len(values_of(step_of(Toy(), 4, 0, 4), Fish())) == 2


def test_small_steps_are_those_of_the_other_parts():
    one, walking = step_of(Toy(), 4), step_of(Toy(), 4)
    before = one.weights.flat.clone()
    values_of(one, SAM(0.5))

    values = values_of(walking, Fish(0.25), SAM(0.5))

    assert len(values) == 2
    torch.testing.assert_close(walking.weights.flat, before.lerp(one.weights.flat, 0.25))


@pytest.mark.parametrize("passes_before", [0, 1, 2, 3])
def test_a_walk_cut_short_leaves_weights_and_statistics_as_they_were(passes_before):
    model = normalized()
    step = step_of(model, 4, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    left = passes_before

    def interrupt(*_: object) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1

    model.classifier.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        values_of(step, Fish(), SAM())

    for name, value in model.state_dict().items():
        assert not value.is_floating_point() or torch.equal(value, before[name])
