from __future__ import annotations

import os

import pytest
import torch

from training.computation import backends, rounding


@pytest.mark.parametrize(
    ("tf32", "expected"),
    [("none", ("ieee", "ieee")), ("convolutions", ("ieee", "tf32")), ("all", ("tf32", "tf32"))],
)
def test_the_policy_holds_inside_and_the_one_before_after(tf32, expected):
    before = rounding()

    with backends(tf32):
        assert rounding() == expected

    assert rounding() == before


def test_the_default_policy_is_torchs_own():
    torchs = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    with backends():
        now = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    assert now == torchs == (False, True)


def test_deterministic_kernels_are_asked_for_inside_only(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)

    with backends(deterministic=True):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"

    assert not torch.are_deterministic_algorithms_enabled()


def test_all_is_as_before_when_an_exception_passes():
    before = rounding()

    with pytest.raises(RuntimeError, match="stop"), backends("all", deterministic=True):
        raise RuntimeError("stop")

    assert rounding() == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_unknown_policy_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="one of none, convolutions, all, but got 'some'"):
        backends("some").__enter__()
