"""The key `track`: who else is told of trials while they run."""

from __future__ import annotations

from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from search.errors import way_out

TRACKERS = ("tensorboard", "mlflow", "wandb")


def _names(written: object) -> tuple[str, ...]:
    names = tuple(written) if isinstance(written, list | tuple) else (written,)
    for name in names:
        if name not in TRACKERS:
            raise ValueError(way_out(str(name), TRACKERS))
        if names.count(name) > 1:
            raise ValueError(f"{name} comes twice; keep one")
    return tuple(map(str, names))


_NAME = {"enum": list(TRACKERS)}

Track = Annotated[
    tuple[str, ...],
    PlainValidator(_names),
    PlainSerializer(list),
    WithJsonSchema({"anyOf": [_NAME, {"type": "array", "items": _NAME, "uniqueItems": True}]}),
]
