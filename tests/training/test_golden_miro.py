"""MIRO against records of its released code, and what it does with other parts."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.golden_case import batches, read, tensor
from training import optimizers
from training.algorithms.miro import MIRO
from training.algorithms.sagm import SAGM
from training.algorithms.sam import SAM
from training.anchor import AnchorState
from training.composition import Part, compose
from training.draws import StepDraws
from training.passes import Passes
from training.update import Step, take_step
from training.weights import Weights

CASES = read("miro")["cases"]
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
        self.update = compose(
            [MIRO(h["lambda"], h["lr_mult"], h["layers"]), *parts],
        )
        self.weights = Weights(self.model)
        self.start = self.weights.flat.clone()

        def optimizer(vector: Tensor, sizes: object = ()) -> optimizers.Optimizer:
            return optimizers.build(
                settings["name"], vector, settings["lr"], settings["weight_decay"]
            )

        self.optimizer = optimizer(self.weights.flat)
        assert self.update.anchor is not None
        self.anchor = AnchorState(
            self.update.anchor, self.model.featurizer, original, SHAPE, optimizer
        )
        self.spent = 0.0

    def named(self) -> list[tuple[str, Tensor]]:
        """Parameters and buffers by the names of the records."""
        features = self.model.featurizer[0]
        tensors = [*features.named_parameters(), *features.named_buffers()]
        return [
            *tensors,
            *((f"classifier.{n}", p) for n, p in self.model.classifier.named_parameters()),
        ]

    def steps(self, count: int = 10, pieces: int = 1) -> list[Tensor]:
        """The value [] of each step's first pass."""
        values = []
        for number, batch in zip(range(count), batches(self.problem), strict=False):
            passes = Passes(self.model, self.weights, batch, pieces=pieces, anchor=self.anchor)
            draws = StepDraws(0, number, torch.device("cpu"))
            step = Step(number, passes, self.weights, draws, anchor=self.anchor)
            values.append(take_step(self.update, step, self.optimizer)[0])
            self.spent = passes.spent
        return values


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case_id"])
def test_miro_passes_through_the_recorded_weights_and_variances(case, pieces):
    first = Golden(case).anchor.parameters
    for number, expected in zip(first, case["initial_variance_parameter"], strict=True):
        close(number.detach(), tensor(expected))
    for steps, recorded in case["params"].items():
        golden = Golden(case)
        losses = golden.steps(int(steps), pieces)

        own = dict(golden.named())
        own |= {f"variance.{i}": number for i, number in enumerate(golden.anchor.parameters)}
        for name, expected in recorded.items():
            close(own[name].detach(), tensor(expected))
        close(torch.stack(losses), tensor([loss for loss, _ in case["losses"][: int(steps)]]))


@pytest.mark.parametrize(
    ("part", "shares"), [(SAM(0.3), (0.0, 1.0)), (SAGM(0.3, 0.01), (0.5, 0.5))], ids=["SAM", "SAGM"]
)
def test_a_climb_neither_moves_the_variances_nor_counts_them(part, shares):
    case = next(case for case in CASES if case["case_id"] == "miro-sgd")
    golden, twin = Golden(case, part), Golden(case)
    batch = next(batches(golden.problem))
    weights, numbers = twin.weights.parameters, twin.anchor.parameters

    def gradients() -> tuple[Tensor, Tensor]:
        passes = Passes(twin.model, twin.weights, batch, anchor=twin.anchor)
        draws = StepDraws(0, 0, torch.device("cpu"))
        step = Step(0, passes, twin.weights, draws, anchor=twin.anchor)
        outputs = passes._forward()
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
