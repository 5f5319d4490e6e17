from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from training import computation
from training.computation import compiled


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What the log is told, whatever else listens to it."""
    seen: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    computation.log.addHandler(handler)
    yield seen
    computation.log.removeHandler(handler)


def featurizer() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU())


class BackwardFails(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        raise RuntimeError("no kernel\nand more")


class Compiled(nn.Module):
    """What torch.compile would return, in working order or not."""

    def __init__(self, module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module = module
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.module(x))


def raises(*_: object) -> Tensor:
    raise OSError("no compiler here")


def fails_at_once(module: nn.Module) -> nn.Module:
    raises()
    return module


FAILURES = {
    "at once": (fails_at_once, "OSError: no compiler here"),
    "in its first forward": (lambda m: Compiled(m, raises), "OSError: no compiler here"),
    "in its first backward": (
        lambda m: Compiled(m, BackwardFails.apply),
        "RuntimeError: no kernel and more",
    ),
}


@pytest.mark.parametrize("way", FAILURES)
def test_a_failure_leaves_the_module_as_it_was_and_a_warning(monkeypatch, warnings, way):
    failing, reason = FAILURES[way]
    monkeypatch.setattr(torch, "compile", failing)
    module = featurizer()
    before = [tensor.clone() for tensor in module.state_dict().values()]

    result = compiled(module, torch.ones(4, 6))

    assert result is module
    assert all(map(torch.equal, module.state_dict().values(), before))
    assert all(parameter.grad is None for parameter in module.parameters())
    assert warnings == [f"torch.compile failed, the run goes on without it: {reason}"]


def test_what_compiles_is_used_and_its_trial_leaves_no_trace(monkeypatch, warnings):
    monkeypatch.setattr(torch, "compile", lambda module: Compiled(module, lambda x: x))
    module = featurizer()
    before = [tensor.clone() for tensor in module.state_dict().values()]

    result = compiled(module, torch.ones(4, 6))

    assert isinstance(result, Compiled)
    assert all(map(torch.equal, module.state_dict().values(), before))
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not warnings
