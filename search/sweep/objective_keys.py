"""The key `search.objective`, and what it does to the default of another."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from search.errors import way_out
from search.sweep.objectives import NAMES


def _names(written: object) -> str | tuple[str, ...]:
    names = list(written) if isinstance(written, list | tuple) else [written]
    for name in names:
        if name not in NAMES:
            raise ValueError(way_out(str(name), NAMES))
    if isinstance(written, str):
        return str(written)
    if len(names) != 2 or names[0] == names[1]:
        raise ValueError(f"a list needs two different ones of {', '.join(NAMES)}")
    return tuple(map(str, names))


_NAME = {"enum": list(NAMES)}
_TWO = {"type": "array", "items": _NAME, "minItems": 2, "maxItems": 2, "uniqueItems": True}

ObjectiveNames = Annotated[
    str | tuple[str, ...],
    PlainValidator(_names),
    PlainSerializer(lambda names: names if isinstance(names, str) else list(names)),
    WithJsonSchema({"anyOf": [_NAME, _TWO]}),
]


def without_pruning(written: Any) -> Any:
    """The keys of `search`, with two objectives without a scheduler unless one is named.

    Optuna's pruners compare single values.
    """
    if isinstance(written, dict) and isinstance(written.get("objective"), list | tuple):
        return {"scheduler": "none", **written}
    return written
