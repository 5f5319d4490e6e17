from __future__ import annotations

import pytest
import torch

from training.computation import device_of


def test_a_device_that_is_there_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    assert [device_of("cpu").type, device_of("cuda").type] == ["cpu", "cuda"]


@pytest.mark.parametrize(
    ("name", "module"), [("cuda", torch.cuda), ("mps", torch.backends.mps)], ids=["cuda", "mps"]
)
def test_a_device_that_is_not_there_is_refused_in_one_sentence(monkeypatch, name, module):
    monkeypatch.setattr(module, "is_available", lambda: False)

    with pytest.raises(ValueError, match=f"device is '{name}', but torch finds none on this mach"):
        device_of(name)


def test_an_unknown_device_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="device must be one of cpu, cuda, mps, but got 'tpu'"):
        device_of("tpu")
