"""The JSON files of a run, checked when they are read."""

from __future__ import annotations

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def parse(content: bytes, kind: type[T]) -> T:
    """What a file says, as a dataclass or pydantic model; keys that it does not know are ignored.

    Raises ValueError, in one line that names the key, if the file says something else.
    """
    try:
        parsed: T = TypeAdapter(kind).validate_json(content)
        return parsed
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from None
