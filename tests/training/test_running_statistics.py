"""Batch norm's running statistics move as often, and in such an order, as in the released codes.

Each code is written down once more here, as a plain loop over a module and torch's own optimizer:
which samples go forward together, in which order, and when the statistics are kept.
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

# (model, x of each domain, y of each domain, draws) -> the gradient of each parameter
Loop = Callable[["Model", list[Tensor], list[Tensor], StepDraws], list[Tensor]]


class Model(Toy):
    """The small network with batch norm, and its parameters as one vector."""

    def __init__(self) -> None:
        super().__init__(nn.BatchNorm1d(5))

    def gradients(self, loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, list(self.parameters())))

    def move(self, along: list[Tensor], length: float) -> None:
        norm = flat(along).norm()
        with torch.no_grad():
            for parameter, way in zip(self.parameters(), along, strict=True):
                parameter += length / (norm + 1e-12) * way

    def take(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters(), values, strict=True):
                parameter.copy_(value)

    def kept(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self.parameters()]


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def split(vector: Tensor, model: nn.Module) -> list[Tensor]:
    sizes = [parameter.numel() for parameter in model.parameters()]
    pieces = vector.split(sizes)
    return [piece.view_as(p) for piece, p in zip(pieces, model.parameters(), strict=True)]


def cosines(model: Model, x: list[Tensor], y: list[Tensor]) -> list[Tensor]:
    each = [flat(model.gradients(F.cross_entropy(model(a), b))) for a, b in zip(x, y, strict=True)]
    return [F.cosine_similarity(a, b, dim=0) for a, b in itertools.combinations(each, 2)]


def mean_loss(model: Model, x: list[Tensor], y: list[Tensor]) -> Tensor:
    return F.cross_entropy(model(torch.cat(x)), torch.cat(y))


def gga_l(model: Model, x: list[Tensor], y: list[Tensor], draws: StepDraws) -> list[Tensor]:
    """aristotelisballas/GGA, GGA_L.update_perturbed: the domains first, all samples last."""
    similarity = torch.stack(cosines(model, x, y)).mean()
    gradients = model.gradients(mean_loss(model, x, y))
    noise = split(draws.normal(flat(gradients)), model)
    return [g + 0.1 * (1 - similarity) * n for g, n in zip(gradients, noise, strict=True)]


def gga(model: Model, x: list[Tensor], y: list[Tensor], draws: StepDraws) -> list[Tensor]:
    """The same, ERM_GGA.update_simulated_annealing: domains, then all samples, at each look."""
    featurizer = list(model.featurizer.parameters())
    origin = model.kept()
    kept, best = origin, min(cosines(model, x, y))
    lowest = mean_loss(model, x, y).item()
    for _ in range(4):
        noise = draws.uniform(flat(featurizer)).split([p.numel() for p in featurizer])
        with torch.no_grad():
            for parameter, n in zip(featurizer, noise, strict=True):
                parameter += (2 * n.view_as(parameter) - 1) * 0.01
        smallest, loss = min(cosines(model, x, y)), mean_loss(model, x, y).item()
        if smallest > best and loss - lowest < 0.1:
            kept, best, lowest = model.kept(), smallest, loss
            model.take(origin)
    model.take(kept)
    return model.gradients(mean_loss(model, x, y))


def sam(second: Callable[[nn.Module], AbstractContextManager[None]]) -> Loop:
    def loop(model: Model, x: list[Tensor], y: list[Tensor], _: StepDraws) -> list[Tensor]:
        origin = model.kept()
        model.move(model.gradients(mean_loss(model, x, y)), 0.1)
        with second(model):
            gradients = model.gradients(mean_loss(model, x, y))
        model.take(origin)
        return gradients

    return loop


def gam(model: Model, x: list[Tensor], y: list[Tensor], _: StepDraws) -> list[Tensor]:
    """xxgege/GAM, GAM.step: the first of four passes updates."""
    origin = model.kept()
    g0 = model.gradients(mean_loss(model, x, y))
    with frozen_statistics(model):
        model.move(g0, 0.02)
        g1 = model.gradients(mean_loss(model, x, y))
        model.take(origin)
        model.move([b - a for a, b in zip(g0, g1, strict=True)], 0.1)
        g2 = model.gradients(mean_loss(model, x, y))
        model.move(g2, 0.02)
        g3 = model.gradients(mean_loss(model, x, y))
    model.take(origin)
    peak, normal = flat(g1) + flat(g3), flat(g0) + flat(g2)
    upright = normal - normal.dot(peak) / peak.dot(peak) * peak
    return split(peak - 0.3 * upright, model)


def erm(model: Model, x: list[Tensor], y: list[Tensor], _: StepDraws) -> list[Tensor]:
    """One forward of all domains, as VREx and IRM in DomainBed."""
    return model.gradients(mean_loss(model, x, y))


def apart(model: Model, x: list[Tensor], y: list[Tensor], _: StepDraws) -> list[Tensor]:
    """DomainBed, AbstractMMD.update and GroupDRO.update: each domain goes forward by itself."""
    losses = [F.cross_entropy(model(a), b) for a, b in zip(x, y, strict=True)]
    return model.gradients(torch.stack(losses).mean())


def mixup(model: Model, x: list[Tensor], y: list[Tensor], draws: StepDraws) -> list[Tensor]:
    """DomainBed, Mixup.update: each mixture of two domains goes forward by itself."""
    order = draws.permutation(len(x))
    pairs = [*itertools.pairwise([*order, order[0]])]
    shares = [draws.beta(0.5) for _ in pairs]
    loss = torch.zeros((), dtype=torch.float64)
    for (i, j), share in zip(pairs, shares, strict=True):
        logits = model(share * x[i] + (1 - share) * x[j])
        loss = loss + share * F.cross_entropy(logits, y[i])
        loss = loss + (1 - share) * F.cross_entropy(logits, y[j])
    return model.gradients(loss / len(x))


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
    weights = Weights(model)
    update, base = compose(parts), optimizers.build("sgd", weights.flat, LR, 0.0)
    memory: dict[str, Tensor] = {}
    for number in range(STEPS):
        data = batch(*SIZES)
        data.x.mul_(1 + 0.1 * number).add_(0.3 * data.domain[:, None])
        some = Passes(model, weights, data, freeze_second)
        draws = [StepDraws(0, number, CPU) for _ in range(2)]
        take_step(update, Step(number, some, weights, draws[0], memory), base)

        x, y = [*data.x.split(SIZES)], [*data.y.split(SIZES)]
        gradients = loop(theirs, x, y, draws[1])
        with torch.no_grad():
            for parameter, gradient in zip(theirs.parameters(), gradients, strict=True):
                parameter -= LR * gradient

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
