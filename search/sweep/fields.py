"""The types of a sweep file's values: sections, numbers, names, ranges and folders.

A value without quotes arrives as `Unquoted` text: names keep it, numbers and switches parse it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from datasets.domain_dataset import members, set_name
from search.errors import nearest, way_out
from search.space.ranges import INTERVALS, KINDS, parse_range, plain, plain_value
from search.sweep.config_errors import show
from search.yaml_file import Unquoted, as_number

# The context in which what a run recorded is validated: some bounds were wider then.
RECORDED = {"recorded": True}
MOST_WHOLE = 2**63 - 1  # of the columns of the tables

# Shapes of an entry of the space. Pydantic puts them into the paths of its errors.
SHAPES = RANGE, NESTED = "<range>", "<nested>"


class Section(BaseModel):
    """A mapping of the file. Unknown keys are errors; it does not change after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _nulls(cls, written: Any) -> Any:
        """`null` means nothing only where a key may be empty; elsewhere it is a name."""
        if not isinstance(written, dict):
            return written
        optional = {
            name
            for name, field in cls.model_fields.items()
            if NoneType in get_args(field.annotation)
        }
        return {
            key: None if isinstance(value, Unquoted) and value.null and key in optional else value
            for key, value in written.items()
        }


def _finite(value: object) -> object:
    if isinstance(value, str):
        number = as_number(value)
        value = value if number is None else number
    if isinstance(value, bool):
        raise ValueError("it must be a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("it must be a finite number")
    return value


def _in_64_bits(number: int) -> int:
    if number > MOST_WHOLE:
        raise ValueError(f"it must be at most {MOST_WHOLE}, as tables hold 64 bits")
    return number


LEAST_SHARE = 0.001  # of a CPU or a GPU; Ray counts ten-thousandths


def in_new_sweeps(holds: Callable[[float], bool], bound: str) -> AfterValidator:
    """A bound, in words, that what an earlier commit recorded need not keep to."""

    def check(number: float, info: ValidationInfo) -> float:
        if info.context != RECORDED and not holds(number):
            raise ValueError(f"it must be {bound}")
        return number

    return AfterValidator(check)


def _gpu(written: object, info: ValidationInfo) -> float | Literal["auto"]:
    if written == "auto":
        return "auto"
    number, least = _finite(written), 0 if info.context == RECORDED else LEAST_SHARE
    if not isinstance(number, int | float) or not (number == 0 or number >= least):
        raise ValueError(f"it must be auto, 0, or a number of at least {LEAST_SHARE}")
    return float(number)


def _run_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(
            "it names the run's folder: begin with a letter or digit, "
            "continue with letters, digits, dots, dashes or underscores"
        )
    return name


def _weights(written: str) -> str:
    path = Path(written).expanduser()
    return str(path.absolute()) if len(path.parts) > 1 or path.suffix else written


def _prompts(written: object) -> tuple[str, ...]:
    prompts = tuple(written) if isinstance(written, list | tuple) else (written,)
    if not prompts:
        raise ValueError("it must name at least one text, such as 'a photo of a {}.'")
    for prompt in prompts:
        if not isinstance(prompt, str) or "{}" not in prompt:
            raise ValueError(
                f"{prompt!r} lacks {{}}, which stands for the name of a class, as in "
                "'a photo of a {}.'; put it in quotes"
            )
        if prompts.count(prompt) > 1:
            raise ValueError(f"{prompt!r} comes twice; keep one")
    return tuple(map(str, prompts))


def _absolute(path: Path) -> Path:
    # Workers run in other folders, where a relative path would mean another place.
    return path.expanduser().absolute()


def _held_out(written: object) -> Literal["all"] | tuple[str, ...]:
    if written == "all":
        return "all"
    if not isinstance(written, list | tuple):
        example = show([written] if isinstance(written, str) else ["photo", "sketch"])
        raise ValueError(f"it must be all or a list of domains, such as {example}")
    if not written:
        raise ValueError("it must be all or name at least one domain")
    return tuple(map(_set, written))


def _set(written: object) -> str:
    """The name of a domain, or of the set of domains in a list (datasets.domain_dataset)."""
    names = written if isinstance(written, list | tuple) else [written]
    if not names:
        raise ValueError("a set of domains that are held out together must name at least one")
    for name in names:
        # From Python the domains of RotatedDigits, 0 and 75, may come as numbers.
        if isinstance(name, bool) or not isinstance(name, int | str):
            raise ValueError(f"{name!r} is not the name of a domain; put names in quotes")
    domains = [domain for name in names for domain in members(str(name))]
    if len(set(domains)) < len(domains):
        raise ValueError(f"the set {show(list(domains))} has a domain twice; remove one")
    return set_name(domains)


def written(held_out: Literal["all"] | Sequence[str]) -> Literal["all"] | list[str | list[str]]:
    """`held_out` as a sweep file has it: a set of domains is a list."""
    if isinstance(held_out, str):
        return "all"
    several = [list(members(name)) for name in held_out]
    return [names if len(names) > 1 else names[0] for names in several]


def _shape(written: object) -> str:
    """Whether an entry of the space is a range or the ranges of one algorithm."""
    if not isinstance(written, Mapping):
        return RANGE
    return RANGE if any(nearest(str(key), KINDS) for key in written) else NESTED


def known_names(written: object, known: Collection[str]) -> tuple[str, ...]:
    """One name or a list of names, as a tuple. Raises ValueError for one that is not known."""
    names = tuple(written) if isinstance(written, list | tuple) else (written,)
    for name in names:
        if name not in known:
            raise ValueError(way_out(str(name), known))
    return tuple(map(str, names))


_NUMBER = {"anyOf": [{"type": "number"}, {"type": "string"}]}
_ENDS = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}
_VALUES = {"type": "array", "items": _NUMBER, "minItems": 1}
_RANGE_SCHEMA = {
    "description": "An interval, a choice of values, or a constant.",
    "anyOf": [
        *(
            {
                "type": "object",
                "properties": {kind: _ENDS if kind in INTERVALS else _VALUES},
                "required": [kind],
                "additionalProperties": False,
            }
            for kind in KINDS
        ),
        *_NUMBER["anyOf"],
    ],
}
# A name without quotes may look like anything.
_NAME = {"type": ["string", "number", "boolean", "null"]}
_HELD_OUT_SCHEMA = {
    "anyOf": [
        {"const": "all"},
        {
            "type": "array",
            "items": {"anyOf": [_NAME, {"type": "array", "items": _NAME, "minItems": 1}]},
            "minItems": 1,
        },
    ]
}

Whole = Annotated[int, BeforeValidator(_finite), AfterValidator(_in_64_bits)]
Real = Annotated[float, BeforeValidator(_finite)]
Trials = Annotated[
    Whole,
    Field(json_schema_extra={"maximum": 100_000}),
    in_new_sweeps(lambda count: count <= 100_000, "at most 100000"),
]
# What is left of a number that falls.
Falling = Annotated[Real, in_new_sweeps(lambda share: share < 1, "below 1")]
Gpu = Annotated[
    float | Literal["auto"],
    PlainValidator(_gpu),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"const": "auto"}]}),
]
RunName = Annotated[str, AfterValidator(_run_name)]
Weights = Annotated[str, AfterValidator(_weights)]
Prompts = Annotated[
    tuple[str, ...],
    PlainValidator(_prompts),
    PlainSerializer(list),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"\{\}"},
                {"type": "array", "items": {"type": "string", "pattern": r"\{\}"}, "minItems": 1},
            ]
        }
    ),
]
HeldOut = Annotated[
    Literal["all"] | tuple[str, ...],
    PlainValidator(_held_out),
    PlainSerializer(lambda held_out: held_out and written(held_out)),
    WithJsonSchema(_HELD_OUT_SCHEMA),
]
WrittenValue = Annotated[Any, PlainValidator(plain_value), WithJsonSchema(_NUMBER)]
WrittenRange = Annotated[
    Any, PlainValidator(parse_range), PlainSerializer(plain), WithJsonSchema(_RANGE_SCHEMA)
]
SpaceEntry = Annotated[
    Annotated[WrittenRange, Tag(RANGE)] | Annotated[dict[str, WrittenRange], Tag(NESTED)],
    Discriminator(_shape),
]
Root = Annotated[
    Annotated[Path, AfterValidator(_absolute)] | None,
    Field(description="Folder of the images; a bundled dataset needs none."),
]
Size = Annotated[
    Annotated[Whole, Field(ge=1)] | None,
    Field(description="Side in pixels of the square images of the network; 224 if not given."),
]
Originals = Annotated[
    Annotated[Whole, Field(ge=0)] | None,
    Field(
        description="Shorter side in pixels to which larger images are reduced before training "
        "crops are cut from them; 512 if not given. 0: crops are cut from the squares."
    ),
]
Allow = Annotated[
    tuple[
        Literal[
            "counts",
            "missing_classes",
            "stray_folders",
            "layout",
            "duplicates",
            "truncated",
            "unreadable",
        ],
        ...,
    ],
    Field(description="Faults of the image files that are accepted."),
]
