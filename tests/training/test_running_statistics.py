"""Batch norm's running statistics move as often, and in such an order, as in the released codes.

Each code is written down once more here, as a plain loop over a module: which samples go
forward together, in which order, and when the statistics are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.training.toy import Toy, batch, forwards, passes
from training import optimizers
from training.algorithms.alignment import CORAL, MMD
from training.algorithms.disam import DISAM
from training.algorithms.fsam import FSAM
from training.algorithms.gam import GAM
from training.algorithms.gga import GGA, GGAL
from training.algorithms.groupdro import GroupDRO
from training.algorithms.irm import IRM
from training.algorithms.mixup import Mixup
from training.algorithms.sam import SAM
from training.algorithms.vrex import VREx
from training.composition import Part, compose
from training.draws import StepDraws
from training.outputs import Objective
from training.outputs import mean_loss as passes_mean_loss
from training.passes import Passes, frozen_statistics
from training.update import Step, take_step
from training.weights import Weights

CPU = torch.device("cpu")
SIZES = (6, 6, 6)
STEPS = 10
LR = 0.05

# (model, x of each domain, y of each domain, draws) -> gradient [P]
Loop = Callable[["Model", list[Tensor], list[Tensor], StepDraws], Tensor]


class Model(Toy):
    """The small network with batch norm, and its parameters as one vector."""

    def __init__(self) -> None:
        super().__init__(nn.BatchNorm1d(5))
        self.weights = Weights(self)
        self.flat = self.weights.flat

    def gradient(self, loss: Tensor) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(self.parameters()))])

    def move(self, along: Tensor, length: float) -> None:
        self.flat.add_(length / (along.norm() + 1e-12) * along)


def cosines(model: Model, x: list[Tensor], y: list[Tensor]) -> list[Tensor]:
    each = [model.gradient(F.cross_entropy(model(a), b)) for a, b in zip(x, y, strict=True)]
    return [F.cosine_similarity(a, b, dim=0) for a, b in itertools.combinations(each, 2)]


def mean_loss(model: Model, x: list[Tensor], y: list[Tensor]) -> Tensor:
    return F.cross_entropy(model(torch.cat(x)), torch.cat(y))


def gga_l(model: Model, x: list[Tensor], y: list[Tensor], draws: StepDraws) -> Tensor:
    """aristotelisballas/GGA, GGA_L.update_perturbed: the domains first, all samples last."""
    similarity = torch.stack(cosines(model, x, y)).mean()
    gradient = model.gradient(mean_loss(model, x, y))
    return gradient + 0.1 * (1 - similarity) * draws.normal(gradient)


def gga(model: Model, x: list[Tensor], y: list[Tensor], draws: StepDraws) -> Tensor:
    """The same, ERM_GGA.update_simulated_annealing: domains, then all samples, at each look."""
    featurizer = model.flat[model.weights.featurizer]
    origin = featurizer.clone()
    kept, best = origin, min(cosines(model, x, y))
    lowest = mean_loss(model, x, y).item()
    for _ in range(4):
        featurizer += (2 * draws.uniform(featurizer) - 1) * 0.01
        smallest, loss = min(cosines(model, x, y)), mean_loss(model, x, y).item()
        if smallest > best and loss - lowest < 0.1:
            kept, best, lowest = featurizer.clone(), smallest, loss
            featurizer.copy_(origin)
    featurizer.copy_(kept)
    return model.gradient(mean_loss(model, x, y))


def sam(second: Callable[[nn.Module], AbstractContextManager[None]]) -> Loop:
    def loop(model: Model, x: list[Tensor], y: list[Tensor], _: StepDraws) -> Tensor:
        origin = model.flat.clone()
        model.move(model.gradient(mean_loss(model, x, y)), 0.1)
        with second(model):
            gradient = model.gradient(mean_loss(model, x, y))
        model.flat.copy_(origin)
        return gradient

    return loop


def gam(model: Model, x: list[Tensor], y: list[Tensor], _: StepDraws) -> Tensor:
    """xxgege/GAM, GAM.step: the first of four passes updates."""
    origin = model.flat.clone()
    g0 = model.gradient(mean_loss(model, x, y))
    with frozen_statistics(model):
        model.move(g0, 0.02)
        g1 = model.gradient(mean_loss(model, x, y))
        model.flat.copy_(origin)
        model.move(g1 - g0, 0.1)
        g2 = model.gradient(mean_loss(model, x, y))
        model.move(g2, 0.02)
        g3 = model.gradient(mean_loss(model, x, y))
    model.flat.copy_(origin)
    peak, normal = g1 + g3, g0 + g2
    upright = normal - normal.dot(peak) / peak.dot(peak) * peak
    return peak - 0.3 * upright


def erm(model: Model, x: list[Tensor], y: list[Tensor], _: StepDraws) -> Tensor:
    """One forward of all domains, as VREx and IRM in DomainBed."""
    return model.gradient(mean_loss(model, x, y))


def apart(model: Model, x: list[Tensor], y: list[Tensor], _: StepDraws) -> Tensor:
    """DomainBed, AbstractMMD.update and GroupDRO.update: each domain goes forward by itself."""
    losses = [F.cross_entropy(model(a), b) for a, b in zip(x, y, strict=True)]
    return model.gradient(torch.stack(losses).mean())


def mixup(model: Model, x: list[Tensor], y: list[Tensor], draws: StepDraws) -> Tensor:
    """DomainBed, Mixup.update: each mixture of two domains goes forward by itself."""
    order = draws.permutation(len(x))
    pairs = [*itertools.pairwise([*order, order[0]])]
    shares = [draws.beta(0.5) for _ in pairs]
    loss = torch.zeros((), dtype=torch.float64)
    for (i, j), share in zip(pairs, shares, strict=True):
        logits = model(share * x[i] + (1 - share) * x[j])
        loss = loss + share * F.cross_entropy(logits, y[i])
        loss = loss + (1 - share) * F.cross_entropy(logits, y[j])
    return model.gradient(loss / len(x))


@pytest.mark.parametrize(
    ("parts", "loop", "freeze_second"),
    [
        ([GGAL(0.1)], gga_l, True),
        ([GGA(0.01, search_steps=4, start=0, length=99)], gga, True),
        ([SAM(0.1)], sam(frozen_statistics), True),
        ([SAM(0.1)], sam(lambda model: nullcontext()), False),
        # MediaBrain-SJTU/DISAM: both passes update. Where a penalty weighs nothing, here and below,
        # the golden records have it: what counts is what goes forward together.
        ([DISAM(0.0), SAM(0.1)], sam(lambda model: nullcontext()), False),
        # nblt/F-SAM: frozen in the second pass; with sigma 0 the climb is SAM's.
        ([FSAM(sigma=0.0), SAM(0.1)], sam(frozen_statistics), True),
        ([GAM(0.1, 0.02, gam_gamma=0.3)], gam, True),
        ([CORAL(0.0)], apart, True),
        ([MMD(0.0)], apart, True),
        ([GroupDRO(0.0)], apart, True),
        ([Mixup(0.5)], mixup, True),
        ([VREx(0.0, 0)], erm, True),
        ([IRM(0.0, 0)], erm, True),
    ],
    ids=lambda value: type(value[0]).__name__ if isinstance(value, list) else None,
)
def test_ten_steps_leave_the_statistics_of_the_released_code(
    parts: list[Part], loop: Loop, freeze_second: bool
) -> None:
    model, theirs = Model(), Model()
    update, base = compose(parts), optimizers.build("sgd", model.flat, LR, 0.0)
    memory: dict[str, Tensor] = {}
    for number in range(STEPS):
        data = batch(*SIZES)
        data.x.mul_(1 + 0.1 * number).add_(0.3 * data.domain[:, None])
        some = Passes(model, model.weights, data, freeze_second)
        draws = [StepDraws(0, number, CPU) for _ in range(2)]
        take_step(update, Step(number, some, model.weights, draws[0], memory), base)

        x, y = [*data.x.split(SIZES)], [*data.y.split(SIZES)]
        theirs.flat.sub_(LR * loop(theirs, x, y, draws[1]))

    expected = theirs.state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("norm", "sizes"), [(nn.BatchNorm1d(5), [6, 6, 6]), (nn.BatchNorm1d(5).eval(), [18])], ids=str
)
def test_where_no_batch_norm_looks_all_domains_go_forward_together(
    norm: nn.Module, sizes: list[int]
) -> None:
    seen = forwards(model := Toy(norm))

    some = passes(model, *SIZES)[0].apart()
    some.gradient(lambda outputs: outputs.domain_losses.mean())

    assert seen == sizes
    assert some.spent == 1


@pytest.mark.parametrize("objective", [passes_mean_loss, lambda outputs: outputs.losses.mean()])
def test_pieces_of_a_batch_are_of_one_domain_where_domains_go_forward_apart(
    objective: Objective,
) -> None:
    norm = nn.BatchNorm1d(5)

    passes(Toy(norm), *SIZES, pieces=2)[0].apart().gradient(objective)

    assert norm.num_batches_tracked == 2 * len(SIZES)
