from __future__ import annotations

import os
from contextlib import suppress

import pytest
import torch

from training.computation import backends, rounding


def test_the_default_policy_is_torchs_own():
    torchs = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    with backends():
        now = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    assert now == torchs == (False, True)


def test_all_is_as_before_when_an_exception_passes(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = rounding()

    with suppress(KeyboardInterrupt), backends("all", deterministic=True):
        assert rounding() == ("tf32", "tf32")
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        raise KeyboardInterrupt

    assert rounding() == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_unknown_policy_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="one of none, convolutions, all, but got 'some'"):
        backends("some").__enter__()
