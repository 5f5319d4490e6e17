"""One update is a value; an algorithm is a function that edits it.

All of SAM's family is one step with a few slots:

    w <- optimizer(w, combine(g, grad objective(w + e))),   g = grad [objective + steering](w),
    e = scale(|m g|) m^2 g,   m = metric(w)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields

from torch import Tensor

from training.draws import Draws
from training.optimizers import Optimizer
from training.passes import Objective, Outputs, Passes, mean_loss
from training.weights import Weights


@dataclass(frozen=True)
class Step:
    """What a part may use in one step. `memory` outlives the step and is saved with the run."""

    number: int
    passes: Passes
    weights: Weights
    draws: Draws
    memory: dict[str, Tensor] = field(default_factory=dict)


def at_peak(gradient: Tensor, peak: Tensor) -> Tensor:
    """The gradient at the top of the climb, as SAM uses it."""
    return peak


@dataclass(frozen=True)
class Update:
    """How one step changes the weights. The default is ERM: the plain gradient of the mean loss.

    objective  [Outputs] -> [], what every pass differentiates
    steering   [Outputs] -> [], added to the objective in the first pass only (DISAM)
    metric     Weights -> [P], element-wise shape m of the ball (ASAM); None is 1
    scale      (|m g|, step number) -> [], how far to climb along m^2 g; None makes no climb (ERM)
    combine    (g, gradient at the peak) -> [P], what the optimizer gets; may overwrite both
    before     moves the weights before the step (GGA)
    refine     ([P], Step) -> [P], changes the final gradient (GGA-L)
    """

    objective: Objective = mean_loss
    steering: Objective | None = None
    metric: Callable[[Weights], Tensor] | None = None
    scale: Callable[[Tensor, int], Tensor] | None = None
    combine: Callable[[Tensor, Tensor], Tensor] = at_peak
    before: Callable[[Step], None] | None = None
    refine: Callable[[Tensor, Step], Tensor] | None = None


Part = Callable[[Update], Update]


def compose(parts: Iterable[Part]) -> Update:
    """Folds parts over the plain update.

    Raises ValueError, naming the parts, if two own the same slot, or if one shapes an ascent that
    none makes.
    """
    update, owners = Update(), dict[str, str]()
    for part in parts:
        name = type(part).__name__
        edited = part(update)
        for slot in _differing(update, edited):
            if slot in owners:
                raise ValueError(f"{owners[slot]} and {name} both set the {slot} of the update")
            owners[slot] = name
        update = edited
    if update.scale is None:
        for slot in shaping(update):
            raise ValueError(
                f"{owners[slot]} shapes an ascent that no part makes: add SAM, GSAM or SAGM"
            )
    return update


def shaping(update: Update) -> list[str]:
    """Slots that act only where there is an ascent, and are set."""
    return [
        slot for slot in ("steering", "metric", "combine") if slot in _differing(Update(), update)
    ]


def _differing(before: Update, after: Update) -> list[str]:
    names = (slot.name for slot in fields(Update))
    return [n for n in names if getattr(before, n) is not getattr(after, n)]


def direction(update: Update, step: Step) -> tuple[Tensor, list[Tensor]]:
    """The gradient [P] that the base optimizer gets, and the value [] each pass differentiated."""
    if update.before is not None:
        update.before(step)
    value, gradient = step.passes.gradient(_first_objective(update))
    values = [value]
    if update.scale is not None:
        with step.weights.displaced():
            _climb(update, step, gradient)
            value, peak = step.passes.gradient(update.objective, second=True)
        values.append(value)
        gradient = update.combine(gradient, peak)
    if update.refine is not None:
        gradient = update.refine(gradient, step)
    return gradient, values


def take_step(update: Update, step: Step, optimizer: Optimizer) -> list[Tensor]:
    """One step of the run: changes the weights and returns the value [] of each pass, in order.

    The optimizer steps from the undisplaced weights, so weight decay never sees a perturbation.
    """
    gradient, values = direction(update, step)
    optimizer.step(gradient)
    return values


def _first_objective(update: Update) -> Objective:
    if update.steering is None:
        return update.objective
    steering = update.steering

    def objective(outputs: Outputs) -> Tensor:
        return update.objective(outputs) + steering(outputs)

    return objective


def _climb(update: Update, step: Step, gradient: Tensor) -> None:
    assert update.scale is not None
    flat = step.weights.flat
    if update.metric is None:
        flat.addcmul_(gradient, update.scale(length(gradient), step.number))
        return
    metric = update.metric(step.weights)
    shaped = metric * gradient
    far = update.scale(length(shaped), step.number)
    flat.addcmul_(shaped.mul_(metric), far)


def length(vector: Tensor) -> Tensor:
    """Euclidean norm [] of a vector [P].

    By a dot product, because on a CPU `Tensor.norm` adds up in float32 one by one: with 25 million
    numbers it is off by one part in a thousand, this by less than one in ten thousand.
    """
    return vector.dot(vector).sqrt()
