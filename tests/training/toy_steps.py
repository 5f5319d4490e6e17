"""Steps of the small network, and what one pass over its batch gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from tests.training.toy import batch, passes
from training import optimizers
from training.composition import Part, compose
from training.draws import StepDraws
from training.outputs import Outputs, mean_loss
from training.passes import Passes
from training.update import Step, Update, direction, take_step
from training.weights import Weights

CPU = torch.device("cpu")


def step_of(model: nn.Module, *sizes: int, number: int = 0) -> Step:
    """A step over `sizes` samples of as many domains."""
    some, weights = passes(model, *sizes)
    return Step(number, some, weights, StepDraws(0, number, CPU))


def outputs_of(step: Step) -> Outputs:
    """One forward pass of the step's batch, with its graph."""
    seen: list[Outputs] = []
    step.passes.gradient(lambda outputs: seen.append(outputs) or mean_loss(outputs))
    (outputs,) = seen
    return Outputs(
        outputs.features.detach().requires_grad_(),
        outputs.logits.detach().requires_grad_(),
        outputs.y,
        outputs.sizes,
    )


def watched(update: Update, look: Callable[[Outputs, Step], object]) -> Update:
    """The update of the mean loss; `look` is called in each of its passes."""

    def objective(outputs: Outputs, step: Step) -> Tensor:
        look(outputs, step)
        return mean_loss(outputs)

    return replace(update, objective=objective)


def direction_of(step: Step, *parts: Part) -> Tensor:
    return direction(compose(parts), step)[0].clone()


def values_of(step: Step, *parts: Part) -> list[Tensor]:
    """What each pass of a step differentiates; the weights move a little."""
    return stepped(compose(parts), step)


def stepped(update: Update, step: Step) -> list[Tensor]:
    """What each pass of a step of plain gradient descent differentiates."""
    return take_step(update, step, optimizers.build("sgd", step.weights.flat, 0.1, 0.0))


def run_of(model: nn.Module, *parts: Part, steps: int, sizes: tuple[int, ...]) -> list[Tensor]:
    """The weights after each of some steps of Adam, all on one batch."""
    weights = Weights(model)
    update, adam = compose(parts), optimizers.build("adam", weights.flat, 0.1, 0.0)
    memory: dict[str, Tensor] = {}
    after = []
    for number in range(steps):
        some = Passes(model, weights, batch(*sizes))
        take_step(update, Step(number, some, weights, StepDraws(0, number, CPU), memory), adam)
        after.append(weights.flat.clone())
    return after
