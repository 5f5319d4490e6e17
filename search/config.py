"""The sweep file: its keys, their defaults and bounds. What spans keys is in check_config."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

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
    WithJsonSchema,
)

from search.nearest import nearest
from search.space import INTERVALS, KINDS, parse_range, plain, plain_value

# Shapes of an entry of the space. Pydantic names them in the places of its findings.
SHAPES = RANGE, NESTED = "<range>", "<nested>"


def _finite(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("it must be a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("it must be a finite number")
    return value


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(
            "it names the run's folder: begin with a letter or digit, "
            "go on with letters, digits, dots, dashes or underscores"
        )
    return name


def _absolute(path: Path) -> Path:
    # Workers run in folders of their own, where a relative path would mean another place.
    return path.expanduser().absolute()


def _held_out(written: object) -> Literal["all"] | tuple[str, ...]:
    if written == "all":
        return "all"
    if not isinstance(written, list | tuple):
        raise ValueError("it must be all or a list of domains, such as [photo, sketch]")
    if not written:
        raise ValueError("it must be all or name at least one domain")
    for name in written:
        # YAML reads the domains of RotatedDigits, 0 and 75, as numbers.
        if isinstance(name, bool) or not isinstance(name, int | str):
            raise ValueError(f"{name!r} is no name of a domain; put names in quotes")
    return tuple(str(name) for name in written)


def _range_or_nested(written: object) -> str:
    """Whether an entry of the space is a range or the settings of one algorithm, by its shape."""
    if not isinstance(written, Mapping):
        return RANGE
    return RANGE if any(nearest(str(key), KINDS) for key in written) else NESTED


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
_HELD_OUT_SCHEMA = {
    "anyOf": [
        {"const": "all"},
        {
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "minItems": 1,
        },
    ]
}

Whole = Annotated[int, BeforeValidator(_finite)]
Real = Annotated[float, BeforeValidator(_finite)]
Name = Annotated[str, AfterValidator(_folder_name)]
HeldOut = Annotated[
    Literal["all"] | tuple[str, ...],
    PlainValidator(_held_out),
    PlainSerializer(lambda held_out: held_out),
    WithJsonSchema(_HELD_OUT_SCHEMA),
]
WrittenValue = Annotated[Any, PlainValidator(plain_value), WithJsonSchema(_NUMBER)]
WrittenRange = Annotated[
    Any, PlainValidator(parse_range), PlainSerializer(plain), WithJsonSchema(_RANGE_SCHEMA)
]
SpaceEntry = Annotated[
    Annotated[WrittenRange, Tag(RANGE)] | Annotated[dict[str, WrittenRange], Tag(NESTED)],
    Discriminator(_range_or_nested),
]


class Section(BaseModel):
    """A mapping of the file: no key that is not its own, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Dataset(Section):
    name: str = Field(
        description="A dataset of `python -m search datasets`.", examples=["RotatedDigits"]
    )
    root: Annotated[Path, AfterValidator(_absolute)] | None = Field(
        default=None, description="Folder of the images; a bundled dataset needs none."
    )


class Model(Section):
    name: str = Field(description="A model of `python -m search models`.", examples=["cnn"])


class Training(Section):
    steps: Whole = Field(default=5000, ge=1, description="Updates of the weights in a run.")
    evaluate_every: Whole = Field(default=200, ge=1, description="Updates between two evaluations.")
    batch_size: Whole = Field(
        default=32,
        ge=1,
        description="Samples per source domain and step, unless the space names it.",
    )
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    momentum: Real = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd.")
    rho_schedule: Literal["constant", "linear", "cosine"] = Field(
        default="constant", description="How rho changes after the warm-up."
    )
    rho_warmup: Whole = Field(default=0, ge=0, description="Steps in which rho rises from 0.")
    rho_floor: Real = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Fraction of rho left after the last step, if it falls.",
    )
    bn_second_pass: Literal["frozen", "updated"] = Field(
        default="frozen",
        description="What passes after the first do to batch norm's running statistics.",
    )
    evaluations: Literal["needed", "all"] = Field(
        default="needed", description="Score what selection uses, or every split of every domain."
    )
    checkpoint_seconds: Real = Field(
        default=30.0, ge=0, description="Seconds between two checkpoints."
    )


class Search(Section):
    trials: Whole = Field(default=20, ge=1, description="Trials of each study.")
    sampler: Literal["tpe", "gp", "cmaes", "random", "qmc", "grid"] = "tpe"
    scheduler: Literal["asha", "median", "hyperband", "none"] = Field(
        default="asha", description="What stops trials that fall behind."
    )
    objective: Literal["training-domain"] = Field(
        default="training-domain",
        description="What the search maximizes; never sees the held-out domain.",
    )
    seed: Whole = Field(default=0, ge=0, description="Seed of the sampler.")
    grace_steps: Whole | None = Field(
        default=None, ge=1, description="Steps before a trial may be stopped."
    )
    reduction_factor: Whole = Field(
        default=3, ge=2, description="asha and hyperband go on with one in this many trials."
    )
    max_failures: Whole = Field(
        default=3, ge=0, description="Times that a crashed trial is tried again."
    )
    space: dict[str, SpaceEntry] = Field(
        default={},
        description="Ranges by hyperparameter, or by algorithm and then hyperparameter. "
        "What is left out keeps its suggested range.",
    )
    first_trials: tuple[dict[str, WrittenValue], ...] = Field(
        default=(), description="Settings tried first, after the published one."
    )


class Resources(Section):
    """What one trial occupies."""

    cpu: Real = Field(default=1.0, gt=0)
    gpu: Real = Field(default=0.0, ge=0, description="A share of one, or a whole number of them.")


class Sweep(Section):
    """A sweep file as it was read."""

    name: Name = Field(description="Names the run's folder.", examples=["my-sweep"])
    dataset: Dataset = Field(examples=[{"name": "RotatedDigits"}])
    model: Model = Field(examples=[{"name": "cnn"}])
    algorithms: tuple[str, ...] = Field(
        min_length=1,
        description="ERM, or parts joined by +, such as DISAM+SAGM.",
        examples=[["ERM", "SAM", "DISAM+SAGM"]],
    )
    held_out: HeldOut = Field(
        default="all", description="Domains to hold out, each in studies of its own."
    )
    seeds: tuple[Annotated[Whole, Field(ge=0)], ...] = Field(
        default=(0, 1, 2), min_length=1, examples=[[0, 1, 2]]
    )
    training: Training = Training()
    search: Search = Search()
    resources: Resources = Resources()


def json_schema() -> dict[str, Any]:
    """The JSON schema of a sweep file, for editors."""
    return Sweep.model_json_schema()
