"""What TensorBoard would read of a trial."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path


def events(file: Path) -> Iterator[tuple[int, str, float]]:
    """(step, tag, value) of an event file of TensorBoard."""
    from tensorboardX.proto.event_pb2 import Event

    content, at = file.read_bytes(), 0
    while at < len(content):
        (size,) = struct.unpack("<Q", content[at : at + 8])
        event = Event.FromString(content[at + 12 : at + 12 + size])
        yield from ((event.step, v.tag, round(v.simple_value, 6)) for v in event.summary.value)
        at += 16 + size


def objectives(place: Path) -> list[tuple[int, float]]:
    found = [event for file in sorted(place.iterdir()) for event in events(file)]
    return [(step, value) for step, tag, value in found if tag == "ray/tune/objective"]
