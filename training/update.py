"""One update is a value; an algorithm is a function that edits it.

All of SAM's family is one step with a few slots:

    w <- optimizer(w, combine(g, grad F(w + e))),   g = grad [F + steering](w),
    F = objective + penalties,   e = scale(|m f| + epsilon) m^2 f,   f = follow(g),   m = metric(w)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from datasets.batches import DomainBatch
    from training.anchor import AnchorState
    from training.draws import Draws
    from training.optimizers import Optimizer
    from training.outputs import Objective, Outputs
    from training.passes import Passes
    from training.weights import Weights

    Term = Callable[[Outputs, "Step"], Tensor]
    # second=False: value [] and gradient [P] of the whole objective at the current weights. The
    # next call with the same argument overwrites the gradient.
    Gradient = Callable[..., tuple[Tensor, Tensor]]
    # Changes the final gradient [P]; may overwrite it.
    Refinement = Callable[[Tensor], Tensor]

FORWARD = 1 / 3  # of a forward and a backward
PART = 1 << 18  # numbers that are added up in single precision


@dataclass(frozen=True)
class Step:
    """What a part may use in one step.

    memory: what was remembered in earlier steps, saved with the run; to be read only.
    remembered: what this step adds to it once it is over; to be written by `remember` only.
    anchor: the model before training and what learns about it, if the update has an anchor.
    """

    number: int
    passes: Passes
    weights: Weights
    draws: Draws
    memory: dict[str, Tensor] = field(default_factory=dict)
    remembered: dict[str, Tensor] = field(default_factory=dict)
    anchor: AnchorState | None = None

    def remember(self, name: str, value: Tensor) -> Tensor:
        """Keeps a value for the steps that follow, and returns what is kept.

        That is the first value given in a step: all passes share what the first one came to. The
        memory has it when the step is over, so a step that is cut short leaves no trace.
        """
        return self.remembered.setdefault(name, value.detach())


def at_peak(gradient: Tensor, peak: Tensor) -> Tensor:
    """The gradient at the top of the climb, as SAM uses it."""
    return peak


@dataclass(frozen=True)
class Anchor:
    """Asks for feature maps of the model, and for the same of the model before training.

    stem: whether the stem's map is among them, or the stages' alone. initial: the first value of
    the parameter that each channel of each map has. lr_multiple: the rate at which these learn, as
    a multiple of the model's.
    """

    stem: bool
    initial: float
    lr_multiple: float


@dataclass(frozen=True)
class Update:
    """How one step changes the weights. The default is ERM: the plain gradient of the mean loss.

    objective  (Outputs, Step) -> [], what every pass differentiates (GroupDRO); None is mean loss
    penalties  of (Outputs, Step) -> [], added in every pass; parts add theirs to others' (CORAL)
    steering   (Outputs, Step) -> [], added in the first pass only (DISAM)
    metric     Weights -> [P], element-wise shape m of the ball (ASAM); None is 1
    follow     (g, Step) -> [P], what the climb follows; leaves g as it is (VaSSO); None is g
    epsilon    keeps the scale finite where what the climb follows is zero
    scale      (|m f| + epsilon, step number) -> [], how far along m^2 f; None: no climb (ERM)
    combine    (g, gradient at the peak) -> [P], what the optimizer gets; may overwrite both
    climbs     (Step, Gradient) -> ([P], values), in place of the one climb above (GAM)
    before     moves the weights before the step (GGA)
    mix        (DomainBatch, Step) -> the batch that all passes of the step see (Mixup)
    apart      batch norm that looks at the batch sees one domain at a time, as each goes forward
               by itself in the released code (CORAL, MMD, GroupDRO, Mixup)
    refine     Step -> what changes the final gradient; called before the passes (GGA-L)
    walk       (Step, stride) -> values, several small steps in place of one (Fish);
               stride(Passes) -> values is an ordinary step on their batch
    anchor     asks for feature maps of the model and of the model before training (MIRO)
    restarts   steps before which the optimizer's memory is cleared (IRM); parts add theirs
    """

    objective: Term | None = None
    penalties: tuple[Term, ...] = ()
    steering: Term | None = None
    metric: Callable[[Weights], Tensor] | None = None
    follow: Callable[[Tensor, Step], Tensor] | None = None
    epsilon: float = 1e-12
    scale: Callable[[Tensor, int], Tensor] | None = None
    combine: Callable[[Tensor, Tensor], Tensor] = at_peak
    climbs: Callable[[Step, Gradient], tuple[Tensor, list[Tensor]]] | None = None
    before: Callable[[Step], None] | None = None
    mix: Callable[[DomainBatch, Step], DomainBatch] | None = None
    apart: bool = False
    refine: Callable[[Step], Refinement] | None = None
    walk: Callable[[Step, Callable[[Passes], list[Tensor]]], list[Tensor]] | None = None
    anchor: Anchor | None = None
    restarts: frozenset[int] = frozenset()


def take_step(update: Update, step: Step, optimizer: Optimizer) -> list[Tensor]:
    """One step of the run: changes the weights and returns the value [] of each pass, in order.

    The optimizer steps from the undisplaced weights, so weight decay never sees a perturbation.
    """
    if step.number in update.restarts:
        for each in (optimizer, *([step.anchor.optimizer] if step.anchor else [])):
            for remembered in each.state.values():
                remembered.zero_()
    if update.before is not None:
        update.before(step)

    def stride(passes: Passes) -> list[Tensor]:
        # Each stride of a walk knows what those before it remember.
        one = replace(step, passes=passes, memory=step.memory | step.remembered, remembered={})
        gradient, values = direction(update, one)
        optimizer.step(gradient, one.draws)
        if one.anchor is not None:
            one.anchor.step(optimizer.lr, one.draws)
        step.remembered.update(one.remembered)
        return values

    values = stride(step.passes) if update.walk is None else update.walk(step, stride)
    step.memory.update(step.remembered)
    return values


def direction(update: Update, step: Step) -> tuple[Tensor, list[Tensor]]:
    """The gradient [P] that the base optimizer gets, and the value [] each pass differentiated.

    An anchor's parameters get the gradients of the same passes, combined in the same way;
    of climbs of a part's own, that of the last.
    """
    passes, anchor = step.passes, step.anchor
    refine = None if update.refine is None else update.refine(step)
    if update.mix is not None:
        passes = passes.over(update.mix(passes.batch, step))
    if update.apart:
        passes = passes.apart()

    def gradient(second: bool = False) -> tuple[Tensor, Tensor]:
        if anchor is not None:
            anchor.forget()
        found = passes.gradient(_objective(update, step, first=not second), second)
        if anchor is not None:
            anchor.gradient = anchor.read()
        return found

    if update.climbs is not None:
        result, values = update.climbs(step, gradient)
    else:
        value, result = gradient()
        values = [value]
        if update.scale is not None:
            own = None if anchor is None else anchor.gradient
            with step.weights.displaced():
                _climb(update, step, result)
                value, peak = gradient(second=True)
            values.append(value)
            result = update.combine(result, peak)
            if anchor is not None and own is not None:
                anchor.gradient = update.combine(own, anchor.gradient)
    return result if refine is None else refine(result), values


def _objective(update: Update, step: Step, first: bool) -> Objective:
    """What a pass differentiates."""
    from training.outputs import mean_loss

    steering = update.steering if first else None
    terms = update.penalties if steering is None else (*update.penalties, steering)
    if update.objective is None and not terms:
        return mean_loss  # known by its name to passes over a batch in pieces

    def value(outputs: Outputs) -> Tensor:
        own = update.objective
        total = mean_loss(outputs) if own is None else own(outputs, step)
        for term in terms:
            total = total + term(outputs, step)
        return total

    return value


def _climb(update: Update, step: Step, gradient: Tensor) -> None:
    assert update.scale is not None
    flat = step.weights.flat
    followed = gradient if update.follow is None else update.follow(gradient, step)
    metric = None if update.metric is None else update.metric(step.weights)
    shaped = followed if metric is None else metric * followed
    far = update.scale(length(shaped) + update.epsilon, step.number)
    flat.addcmul_(shaped if metric is None else shaped.mul_(metric), far)


def length(vector: Tensor) -> Tensor:
    """Euclidean norm [] of a vector [P].

    On a CPU `Tensor.norm`, and with some processors `Tensor.dot`, add up in float32 one by one:
    with 25 million numbers that is off by one part in a thousand. So parts that are small enough
    are added up first, and then in float64.
    """
    if vector.device.type != "cpu" or len(vector) <= PART:
        return vector.dot(vector).sqrt()
    import torch

    squares = torch.stack([part.dot(part) for part in torch.split(vector, PART)])
    return squares.double().sum().sqrt().to(vector.dtype)
