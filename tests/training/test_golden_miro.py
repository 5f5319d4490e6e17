"""MIRO against records of its released code, and what it does with other parts."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from datasets.batches import DomainBatch
from tests.training.golden_case import batches, cases, close, each, optimizer_of, read, tensor
from training.algorithms.miro import MIRO
from training.algorithms.sagm import SAGM
from training.algorithms.sam import SAM
from training.anchor import AnchorState
from training.composition import Part, compose
from training.draws import StepDraws
from training.passes import Passes
from training.update import Step, take_step
from training.weights import Weights

CASES = cases("miro")
SHAPE = (3, 4, 4)


class GoldenFeatures(nn.Sequential):
    """A tiny network with the layers of a ResNet by name, in float64."""

    def __init__(self) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv1"] = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        layers["bn1"] = nn.BatchNorm2d(3)
        layers["relu"] = nn.ReLU()
        layers["maxpool"] = nn.MaxPool2d(2)
        for number, (before, after) in enumerate(((3, 4), (4, 4), (4, 5), (5, 5)), 1):
            size = 3 if number == 1 else 1
            conv = nn.Conv2d(before, after, size, padding=size // 2)
            layers[f"layer{number}"] = nn.Sequential(conv, nn.ReLU())
        layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        super().__init__(layers)


class Golden:
    """A recorded problem, trained by some parts."""

    def __init__(self, case: dict[str, Any], *parts: Part) -> None:
        self.problem = read("miro")["problems"][case["problem"]]
        self.model = nn.Module()
        self.model.featurizer = nn.Sequential(GoldenFeatures(), nn.Dropout(0.0))
        self.model.classifier = nn.Linear(5, 3)
        self.model.double().eval()  # batch norm rests
        own = dict(self.named())
        with torch.no_grad():
            for name, values in self.problem["init"].items():
                own[name].copy_(tensor(values))
        original = copy.deepcopy(self.model.featurizer)
        settings, h = case["optimizer"], case["hparams"]
        self.update = compose([MIRO(h["lambda"], h["lr_mult"], h["layers"]), *parts])
        self.weights = Weights(self.model)
        self.start = self.weights.flat.clone()
        self.optimizer = optimizer_of(settings, self.weights.flat)
        assert self.update.anchor is not None
        self.anchor = AnchorState(
            self.update.anchor,
            self.model.featurizer,
            original,
            SHAPE,
            lambda numbers, sizes=(): optimizer_of(settings, numbers),
        )
        self.spent = 0.0

    def named(self) -> list[tuple[str, Tensor]]:
        """Parameters and buffers by the names of the records."""
        features = self.model.featurizer[0]
        own = [(f"classifier.{n}", p) for n, p in self.model.classifier.named_parameters()]
        return [*features.named_parameters(), *features.named_buffers(), *own]

    def steps(self, count: int = 10, pieces: int = 1) -> list[Tensor]:
        """The value [] of each step's first pass."""
        values = []
        for number, batch in zip(range(count), batches(self.problem), strict=False):
            step = self.step(batch, number, pieces)
            values.append(take_step(self.update, step, self.optimizer)[0])
            self.spent = step.passes.spent
        return values

    def step(self, batch: DomainBatch, number: int = 0, pieces: int = 1) -> Step:
        passes = Passes(self.model, self.weights, batch, pieces=pieces, anchor=self.anchor)
        draws = StepDraws(0, number, torch.device("cpu"))
        return Step(number, passes, self.weights, draws, anchor=self.anchor)


@pytest.mark.parametrize("pieces", [1, 2])
@each(CASES)
def test_miro_passes_through_the_recorded_weights_and_variances(case, pieces):
    first = Golden(case).anchor.parameters
    for number, expected in zip(first, case["initial_variance_parameter"], strict=True):
        close(number.detach(), expected)
    for steps, recorded in case["params"].items():
        golden = Golden(case)
        losses = golden.steps(int(steps), pieces)

        own = dict(golden.named())
        own |= {f"variance.{i}": number for i, number in enumerate(golden.anchor.parameters)}
        for name, expected in recorded.items():
            close(own[name].detach(), expected)
        close(torch.stack(losses), [loss for loss, _ in case["losses"][: int(steps)]])


@pytest.mark.parametrize(
    ("part", "shares"), [(SAM(0.3), (0.0, 1.0)), (SAGM(0.3, 0.01), (0.5, 0.5))], ids=["SAM", "SAGM"]
)
def test_a_climb_neither_moves_the_variances_nor_counts_them(part, shares):
    case = next(case for case in CASES if case["case_id"] == "miro-sgd")
    golden, twin = Golden(case, part), Golden(case)
    batch = next(batches(golden.problem))
    weights, numbers = twin.weights.parameters, twin.anchor.parameters

    def gradients() -> tuple[Tensor, Tensor]:
        step = twin.step(batch)
        outputs = step.passes._forward()
        value = outputs.losses.mean() + twin.update.penalties[0](outputs, step)
        found = torch.autograd.grad(value, [*weights, *numbers])
        flat = [one.reshape(-1) for one in found]
        return torch.cat(flat[: len(weights)]), torch.cat(flat[len(weights) :])

    first, own_first = gradients()
    far = 0.3 / first.norm() - (0.01 if isinstance(part, SAGM) else 0.0)
    twin.weights.flat.add_(far * first)
    second, own_second = gradients()
    rate, decay = case["optimizer"]["lr"], case["optimizer"]["weight_decay"]
    step = shares[0] * first + shares[1] * second + decay * golden.start
    own = torch.cat([number.detach() for number in numbers])
    own_step = shares[0] * own_first + shares[1] * own_second + decay * own

    golden.steps(1)

    close(golden.weights.flat, golden.start - rate * step)
    learnt = torch.cat([number.detach() for number in golden.anchor.parameters])
    close(learnt, own - 10 * rate * own_step)
    assert golden.spent == pytest.approx(2 + 1 / 3)  # both passes see the same maps


def test_an_anchors_optimizer_forgets_when_the_models_does():
    golden = Golden(CASES[0])
    golden.update = replace(golden.update, restarts=frozenset({2}))
    golden.steps(3)

    assert golden.anchor.optimizer.state["step"] == 1
    assert set(golden.anchor.tensors()) == {"numbers", "step", "mean", "square"}


def test_features_that_stay_as_they_are_are_refused():
    golden = Golden(CASES[0])
    golden.model.featurizer.requires_grad_(False)
    with pytest.raises(ValueError, match="stay as they are"):
        AnchorState(golden.update.anchor, golden.model.featurizer, nn.Identity(), SHAPE, None)
