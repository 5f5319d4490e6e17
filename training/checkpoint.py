"""Checkpoints as bytes, read back without running code from them."""

from __future__ import annotations

import hashlib
import io
import pickle
from typing import Any

import torch

from models.weight_files import DIGEST

Checkpoint = dict[str, Any]


class TornCheckpoint(Exception):
    """The bytes are not a whole checkpoint."""


class Interrupted(Exception):
    """The run was asked to leave and has saved where it stands."""


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The sha256 of what follows, then the checkpoint as `torch.save` writes it."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    content = buffer.getbuffer()
    return b"".join([hashlib.sha256(content).digest(), content])


def from_bytes(content: bytes) -> Checkpoint:
    """The checkpoint, on the CPU. Raises TornCheckpoint if it is cut short, changed or no such."""
    whole = memoryview(content)
    # Compared first: what torch.load raises for damaged bytes, if anything, is hard to foresee.
    if hashlib.sha256(whole[DIGEST:]).digest() != whole[:DIGEST]:
        raise TornCheckpoint(f"the checkpoint of {len(content)} bytes is cut short or damaged")
    stream = io.BytesIO(whole[DIGEST:])
    try:
        loaded: Checkpoint = torch.load(stream, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise TornCheckpoint("it is no checkpoint that Steppe has written") from error
    if not isinstance(loaded, dict):
        raise TornCheckpoint(f"it holds a {type(loaded).__name__} instead of a checkpoint")
    return loaded
