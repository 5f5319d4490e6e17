from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from training.checkpoint import TornCheckpoint, from_bytes, to_bytes
from training.train import Checkpoint

CHECKPOINT: Checkpoint = {
    "step": 5,
    "seconds": 1.5,
    "tensors": [torch.arange(6.0), torch.tensor(3)],
    "optimizer": {"step": torch.tensor(5.0)},
    "memory": {},
    "best": None,
    "evaluations": [(5, [("0", "source", "out", 0.5, 1.2, 10)], 1.5)],
}
CONTENT = to_bytes(CHECKPOINT)


def test_a_checkpoint_survives_the_way_through_bytes():
    loaded = from_bytes(CONTENT)

    assert torch.equal(loaded["tensors"][0], CHECKPOINT["tensors"][0])
    assert torch.equal(loaded["tensors"][1], CHECKPOINT["tensors"][1])
    assert loaded["optimizer"] == CHECKPOINT["optimizer"]
    for key in ("step", "seconds", "memory", "best", "evaluations"):
        assert loaded[key] == CHECKPOINT[key]


def test_a_checkpoint_cut_short_anywhere_is_torn():
    for end in range(len(CONTENT)):
        with pytest.raises(TornCheckpoint, match=f"checkpoint of {end} bytes"):
            from_bytes(CONTENT[:end])


def test_a_checkpoint_with_one_bit_changed_anywhere_is_torn():
    bits = random.Random(0)
    for at in range(len(CONTENT)):
        changed = bytearray(CONTENT)
        changed[at] ^= 1 << bits.randrange(8)
        with pytest.raises(TornCheckpoint):
            from_bytes(bytes(changed))


def test_a_checkpoint_with_bytes_after_its_end_is_torn():
    with pytest.raises(TornCheckpoint):
        from_bytes(CONTENT + b"\0")


def test_code_in_a_checkpoint_is_not_run():
    ran: list[int] = []

    class Code:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return ran.append, (1,)

    with pytest.raises(TornCheckpoint, match="no checkpoint that Steppe"):
        from_bytes(to_bytes({"step": Code()}))
    assert not ran
