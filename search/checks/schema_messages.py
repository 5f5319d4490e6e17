"""Pydantic's errors as problems of a sweep file, in plain sentences."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from search.errors import way_out
from search.sweep.config_errors import KeyPath, Problem, dotted, show
from search.sweep.fields import SHAPES
from search.sweep.schema import Sweep

# Hyperparameters that users look for outside of search.space.
SEARCHED = ("lr", "weight_decay", "dropout")

WHOLE = "it must be a whole number"
NUMBER = "it must be a number"
SWITCH = "it must be true or false"
MESSAGES = {
    "int_type": WHOLE,
    "int_parsing": WHOLE,
    "int_parsing_size": "it is too large",
    "int_from_float": WHOLE,
    "bool_type": SWITCH,
    "bool_parsing": SWITCH,
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "string_type": "it must be text; put it in quotes",
    "path_type": "it must be the path of a folder",
    "too_short": "it needs at least one entry",
    "greater_than_equal": "it must be at least {ge:g}",
    "greater_than": "it must be above {gt:g}",
    "less_than_equal": "it must be at most {le:g}",
    "less_than": "it must be below {lt:g}",
}

CONTAINERS = {
    "model_type": "a mapping",
    "dict_type": "a mapping of names",
    "tuple_type": "a list",
}


def problems_of(error: ValidationError) -> list[Problem]:
    """One problem for each error, in the order of the schema's keys."""
    return [
        _problem(found)
        for found in error.errors(include_url=False)
        # A list whose entries are wrong counts as empty.
        if not (found["type"] == "too_short" and found["input"])
    ]


def _problem(found: Any) -> Problem:
    path: KeyPath = tuple(part for part in found["loc"] if part not in SHAPES)
    kind, context, value = found["type"], found.get("ctx", {}), found["input"]
    if kind == "missing":
        return Problem(path, f"is missing; add it{_such_as(path, with_key=True)}")
    if kind == "extra_forbidden":
        return Problem(path, _unknown_key(path))
    if kind == "literal_error":
        text = _choices(path, value)
    elif kind == "value_error":
        text = str(context["error"])
    elif kind in CONTAINERS:
        text = f"it must be {CONTAINERS[kind]}{_such_as(path)}"
    else:
        text = MESSAGES.get(kind, found["msg"]).format(**context)
    return Problem(path, f"is {show(value)}; {text}")


def _choices(path: KeyPath, value: Any) -> str:
    """The choices of a key, or of an entry of a list, with the nearest to the value."""
    entry = isinstance(path[-1], int)
    key = path[:-1] if entry else path
    choices = typing.get_args(_section(key).model_fields[str(key[-1])].annotation)
    return way_out(str(value), typing.get_args(choices[0]) if entry else choices)


def _unknown_key(path: KeyPath) -> str:
    key = str(path[-1])
    if key in SEARCHED:
        return "is not a key; it is a hyperparameter and belongs under search.space"
    # The very key elsewhere is meant rather than a similar one here.
    elsewhere = [
        (*place, name, key)
        for place, section in ((path[:-1], _section(path)), ((), Sweep))
        for name, field in section.model_fields.items()
        if _has(field, key)
    ]
    if elsewhere:
        return f"is not a key; did you mean {dotted(elsewhere[0])}?"
    return f"is not a key; {way_out(key, _section(path).model_fields)}"


def _such_as(path: KeyPath, with_key: bool = False) -> str:
    if isinstance(path[-1], int):
        return ""  # an entry of a list
    field = _section(path).model_fields.get(str(path[-1]))
    examples = field.examples if field else None
    if not examples:
        return ""
    written = show({path[-1]: examples[0]} if with_key else examples[0])
    return ", such as " + (written[1:-1] if with_key else written)


def _has(field: FieldInfo, key: str) -> bool:
    model = _model(field)
    return not _by_name(field) and model is not None and key in model.model_fields


def _section(path: KeyPath) -> type[BaseModel]:
    """The model that the last key of the path belongs to."""
    section: type[BaseModel] = Sweep
    keys = iter(path[:-1])
    for key in keys:
        field = section.model_fields[str(key)]
        model = _model(field)
        assert model is not None
        section = model
        if _by_name(field):
            next(keys, None)
    return section


def _model(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a key holds, or may hold, or holds several of by name."""
    kinds = (field.annotation, *typing.get_args(field.annotation))
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _by_name(field: FieldInfo) -> bool:
    return typing.get_origin(field.annotation) is dict
