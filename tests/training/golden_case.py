"""Runs a golden case: its network, its batches and its random numbers, all from the record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from datasets.batches import DomainBatch
from training import optimizers
from training.algorithms.alignment import CORAL, MMD
from training.algorithms.asam import ASAM, ElementwiseASAM
from training.algorithms.disam import DISAM
from training.algorithms.fish import Fish
from training.algorithms.fishr import Fishr
from training.algorithms.fsam import FSAM
from training.algorithms.gam import GAM
from training.algorithms.gga import GGA, GGAL, pair_cosines
from training.algorithms.groupdro import GroupDRO
from training.algorithms.gsam import GSAM
from training.algorithms.irm import IRM
from training.algorithms.mixup import Mixup
from training.algorithms.sagm import SAGM
from training.algorithms.sam import SAM
from training.algorithms.vasso import VaSSO
from training.algorithms.vrex import VREx
from training.composition import Part, compose
from training.outputs import Objective, Outputs, mean_loss
from training.passes import Passes
from training.schedules import Schedule
from training.update import Step, Update, take_step
from training.weights import Weights

FOLDER = Path(__file__).parents[1] / "golden"
NAMES = ("w1", "b1", "w2", "b2")
FEATURIZER = ("w1", "b1")
STEPS = 10


@cache
def read(file: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{file}.json").read_text())
    return content


def cases(file: str, kind: str | None = None) -> list[dict[str, Any]]:
    return [case for case in read(file)["cases"] if kind is None or case["kind"] == kind]


def each(cases: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["case_id"])


def case_of(file: str, case_id: str) -> dict[str, Any]:
    return next(case for case in read(file)["cases"] if case["case_id"] == case_id)


def flat(named: dict[str, Any], names: Sequence[str] = NAMES) -> Tensor:
    return torch.cat([tensor(named[name]).reshape(-1) for name in names])


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(actual: Any, expected: Any, atol: float = 1e-9) -> None:
    """What is recorded, but for rounding; either may be a list of numbers."""
    both = (v if isinstance(v, Tensor) else tensor(v) for v in (actual, expected))
    torch.testing.assert_close(*both, rtol=0, atol=atol)


def optimizer_of(settings: dict[str, Any], weights: Tensor) -> optimizers.Optimizer:
    """The optimizer of a record."""
    assert settings.get("betas", [0.9, 0.999]) == [0.9, 0.999]
    assert settings.get("eps", 1e-8) == 1e-8
    return optimizers.build(
        settings["name"],
        weights,
        settings["lr"],
        settings["weight_decay"],
        settings.get("momentum", 0.0),
        settings.get("nesterov", False),
    )


class GoldenNetwork(nn.Module):
    """Linear(6, 5), perhaps batch norm, tanh, Linear(5, 3) in float64, with the problem's weights.

    names: those of its parameters in the records, in order. statistics: those of its buffers.
    """

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__()
        before, hidden, after = problem["model"]["layers"]
        normed = problem["model"]["batchnorm_after_first_linear"]
        norm = [nn.BatchNorm1d(hidden)] if normed else []
        self.featurizer = nn.Sequential(nn.Linear(before, hidden), *norm, nn.Tanh())
        self.classifier = nn.Linear(hidden, after)
        self.names = ("w1", "b1", "bn_gamma", "bn_beta", "w2", "b2") if normed else NAMES
        self.statistics = ("bn_running_mean", "bn_running_var") if normed else ()
        self.double()
        own = zip((*self.parameters(), *self.buffers()), self.names + self.statistics, strict=False)
        with torch.no_grad():
            for values, name in own:
                values.copy_(tensor(problem["init"][name]))


def batches(problem: dict[str, Any]) -> Iterator[DomainBatch]:
    """The recorded batch of each step: the domains' samples one after another."""
    x = [tensor(values) for values in problem["data"]["x"]]
    y = [torch.tensor(values) for values in problem["data"]["y"]]
    for chosen in problem["batches"]:
        sizes = tuple(len(indices) for indices in chosen)
        yield DomainBatch(
            torch.cat([x[i][indices] for i, indices in enumerate(chosen)]),
            torch.cat([y[i][indices] for i, indices in enumerate(chosen)]),
            torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)),
            sizes,
        )


class RecordedDraws:
    """Hands out the draws of a record, each kind in its order."""

    def __init__(
        self, draws: Sequence[Tensor], order: Sequence[int] = (), shares: Sequence[float] = ()
    ) -> None:
        self._draws = iter(draws)
        self._order = list(order)
        self._shares = iter(shares)

    def uniform(self, like: Tensor, out: Tensor | None = None) -> Tensor:
        room = torch.empty_like(like) if out is None else out
        return room.copy_(next(self._draws).reshape(like.shape))

    normal = uniform

    def permutation(self, count: int) -> list[int]:
        assert len(self._order) == count
        return self._order

    def beta(self, alpha: float) -> float:
        return next(self._shares)


def draws(case: dict[str, Any], step: int) -> RecordedDraws:
    recorded: list[Tensor] = []
    for search in case.get("search", []):
        if search["step"] == step:
            recorded += [flat(noise, FEATURIZER) for noise in search["uniform"]]
    if "normal" in case:
        recorded.append(flat(case["normal"][step]))
    mixing = case["random"][step] if "random" in case else {"perm": (), "lam": ()}
    return RecordedDraws(recorded, mixing["perm"], mixing["lam"])


def schedule(hparams: dict[str, Any]) -> Schedule:
    return Schedule(
        hparams.get("rho_schedule", "linear"),
        STEPS,
        hparams.get("warmup_steps", 0),
        hparams["rho_min"] / hparams["rho_max"],
    )


# The hyperparameters of these are all their own, here in the order of the part's fields.
OF_ONE_PART: dict[str, tuple[Callable[..., Part], tuple[str, ...]]] = {
    "GroupDRO": (GroupDRO, ("groupdro_eta",)),
    "VREx": (VREx, ("vrex_lambda", "vrex_penalty_anneal_iters")),
    "IRM": (IRM, ("irm_lambda", "irm_penalty_anneal_iters")),
    "CORAL": (CORAL, ("mmd_gamma",)),
    "MMD": (MMD, ("mmd_gamma",)),
    "Mixup": (Mixup, ("mixup_alpha",)),
    "Fish": (Fish, ("meta_lr",)),
    "Fishr": (Fishr, ("lambda", "penalty_anneal_iters", "ema")),
}


def update(case: dict[str, Any]) -> Update:
    """The case's algorithm, of the parts that its name and its hyperparameters ask for."""
    h, parts = case["hparams"], list[Part]()
    algorithm = case["algorithm"]
    if algorithm in OF_ONE_PART:
        part, names = OF_ONE_PART[algorithm]
        return compose([part(*(h[name] for name in names))])
    if algorithm == "gam":
        betas = (h["beta_1"], abs(h["beta_2"]), h["beta_3"])
        return compose([GAM(h["grad_norm_rho"], h["grad_rho"], *betas, h["gamma"])])
    if algorithm == "vasso":
        parts.append(VaSSO(h["theta"]))
    if algorithm == "fsam":
        parts.append(FSAM(h["sigma"], h["lmbda"]))
    if algorithm == "gga":
        length = h["end_step"] - h["start_step"]
        tolerance = h["loss_tolerance"]
        parts.append(GGA(h["neighborhood"], h["search_steps"], h["start_step"], length, tolerance))
    if algorithm == "gga_l":
        parts.append(GGAL(h["gamma"]))
    if "lambda" in h:
        parts.append(DISAM(h["lambda"], h["variance"]))
    if algorithm == "asam_layer_eta":
        parts.append(ASAM(h["eta"]))
    if algorithm == "asam_elementwise" or h.get("adaptive"):
        parts.append(ElementwiseASAM())
    if algorithm.endswith("sagm"):
        parts.append(SAGM(h["rho_max"], h["alpha"], schedule(h)))
    elif algorithm.endswith("gsam"):
        parts.append(GSAM(h["rho_max"], h["alpha"], schedule(h)))
    elif "rho" in h:
        parts.append(SAM(h["rho"]))
    return compose(parts)


class WatchedOptimizer:
    """The case's optimizer; keeps what it is given."""

    def __init__(self, settings: dict[str, Any], weights: Tensor, seen: Trajectory) -> None:
        self._inner = optimizer_of(settings, weights)
        self.state = self._inner.state
        self._seen = seen

    def step(self, gradient: Tensor, draws: object = None) -> None:
        self._seen.gradients.append(gradient.clone())
        self._inner.step(gradient)


@dataclass
class Trajectory:
    """What a run did: everything that a record can be compared with."""

    weights: dict[int, Tensor] = field(default_factory=dict)  # after that many steps
    losses: list[list[float]] = field(default_factory=list)  # [step][pass]
    plain: list[list[Tensor]] = field(default_factory=list)  # [step][pass] the mean loss alone
    by_domain: list[list[Tensor]] = field(default_factory=list)  # [step][pass] losses of domains
    points: list[list[Tensor]] = field(default_factory=list)  # [step][pass] weights of the pass
    gradients: list[Tensor] = field(default_factory=list)  # [step] what the optimizer got
    searched: list[list[Tensor]] = field(default_factory=list)  # [step][look] weights
    cosines: list[list[Tensor]] = field(default_factory=list)  # [step][look] of all pairs


class WatchedPasses(Passes):
    """Passes that write down where they were and what they saw."""

    def __init__(
        self, model: nn.Module, weights: Weights, batch: DomainBatch, seen: Trajectory
    ) -> None:
        super().__init__(model, weights, batch)
        self._flat = weights.flat
        self._seen = seen
        for log in (seen.points, seen.plain, seen.by_domain, seen.searched, seen.cosines):
            log.append([])

    def gradient(self, objective: Objective, second: bool = False) -> tuple[Tensor, Tensor]:
        self._seen.points[-1].append(self._flat.clone())

        def watched(outputs: Outputs) -> Tensor:
            self._seen.plain[-1].append(mean_loss(outputs).detach())
            self._seen.by_domain[-1].append(outputs.domain_losses.detach())
            return objective(outputs)

        return super().gradient(watched, second)

    def domain_gradients(self) -> tuple[list[Tensor], Tensor]:
        losses, gradients = super().domain_gradients()
        self._seen.searched[-1].append(self._flat.clone())
        self._seen.cosines[-1].append(pair_cosines(gradients))
        return losses, gradients


@cache
def play(file: str, case_id: str) -> Trajectory:
    """The case's steps on its problem."""
    case = case_of(file, case_id)
    problem = read(file)["problems"][case["problem"]]
    model = GoldenNetwork(problem)
    weights = Weights(model)
    seen = Trajectory()
    base = WatchedOptimizer(case["optimizer"], weights.flat, seen)
    edited = update(case)
    memory = dict[str, Tensor]()
    for number, batch in enumerate(batches(problem)):
        passes = WatchedPasses(model, weights, batch, seen)
        step = Step(number, passes, weights, draws(case, number), memory)
        losses = take_step(edited, step, base)
        seen.losses.append([float(loss) for loss in losses])
        seen.weights[number + 1] = weights.flat.clone()
    return seen
