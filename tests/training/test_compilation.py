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


def fails_at_once(module: nn.Module) -> nn.Module:
    raise OSError("no compiler here")


@pytest.mark.parametrize(
    ("compile", "reason"),
    [
        (fails_at_once, "OSError: no compiler here"),
        (lambda m: Compiled(m, BackwardFails.apply), "RuntimeError: no kernel and more"),
        (lambda m: Compiled(m, lambda x: x), None),
    ],
    ids=["fails at once", "fails in its first backward", "works"],
)
def test_the_module_is_compiled_or_stays_with_a_warning_and_the_trial_leaves_no_trace(
    monkeypatch, warnings, compile, reason
):
    monkeypatch.setattr(torch, "compile", compile)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU())
    before = [tensor.clone() for tensor in module.state_dict().values()]

    result = compiled(module, torch.ones(4, 6))

    assert all(map(torch.equal, module.state_dict().values(), before))
    assert all(parameter.grad is None for parameter in module.parameters())
    if reason is None:
        assert isinstance(result, Compiled)
        assert not warnings
    else:
        assert result is module
        assert warnings == [f"torch.compile failed, the run goes on without it: {reason}"]
