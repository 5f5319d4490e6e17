"""The sweep file: its keys, their defaults and bounds. What spans keys is in check_config."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    Tag,
    WithJsonSchema,
    model_validator,
)

from search.errors import nearest
from search.space.ranges import INTERVALS, KINDS, parse_range, plain, plain_value
from search.sweep.budget_keys import Budget, StudyBudget
from search.sweep.objective_keys import ObjectiveNames, without_pruning
from search.sweep.problems import show
from search.sweep.section import Real, Section, Whole
from search.sweep.track_key import Track
from search.sweep.training_keys import Training
from search.sweep.warm_start_keys import WarmStart

# Shapes of an entry of the space. Pydantic names them in the places of its findings.
SHAPES = RANGE, NESTED = "<range>", "<nested>"


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(
            "it names the run's folder: begin with a letter or digit, "
            "go on with letters, digits, dots, dashes or underscores"
        )
    return name


def _weights(written: str) -> str:
    path = Path(written).expanduser()
    return str(path.absolute()) if len(path.parts) > 1 or path.suffix else written


def _absolute(path: Path) -> Path:
    # Workers run in folders of their own, where a relative path would mean another place.
    return path.expanduser().absolute()


def _held_out(written: object) -> Literal["all"] | tuple[str, ...]:
    if written == "all":
        return "all"
    if not isinstance(written, list | tuple):
        one = show([written] if isinstance(written, str) else ["photo", "sketch"])
        raise ValueError(f"it must be all or a list of domains, such as {one}")
    if not written:
        raise ValueError("it must be all or name at least one domain")
    for name in written:
        # Python's users may write the domains of RotatedDigits, 0 and 75, as numbers.
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
            # A name without quotes may look like anything.
            "items": {"type": ["string", "number", "boolean", "null"]},
            "minItems": 1,
        },
    ]
}

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


Root = Annotated[
    Annotated[Path, AfterValidator(_absolute)] | None,
    Field(description="Folder of the images; a bundled dataset needs none."),
]
Size = Annotated[
    Annotated[Whole, Field(ge=1)] | None,
    Field(description="Side in pixels of decoded images; 224 if not given."),
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
    Field(description="What may be wrong with the images' files."),
]


class Dataset(Section):
    name: str = Field(
        description="A dataset of `python -m search datasets`.", examples=["RotatedDigits"]
    )
    root: Root = None
    size: Size = None
    allow: Allow = ()


class OneOfSeveral(Section):
    """A dataset among several, and what is not for all of them."""

    root: Root = None
    size: Size = None
    allow: Allow = ()
    held_out: HeldOut | None = Field(
        default=None, description="In the place of the sweep's `held_out`."
    )
    training: Annotated[
        Training, PlainSerializer(lambda own: own.model_dump(mode="json", exclude_unset=True))
    ] = Field(default=Training(), description="In the place of keys of the sweep's `training`.")


class Model(Section):
    name: str = Field(description="A model of `python -m search models`.", examples=["cnn"])
    weights: Annotated[str, AfterValidator(_weights)] | None = Field(
        default=None,
        description="Published weights by name, or a local file; random if left out.",
        examples=["imagenet"],
    )
    tuning: Literal["full", "head", "lora"] = Field(
        default="full",
        description="What trains: all of it, the linear head alone, or the head and a low-rank "
        "change of the attention's matrices.",
    )


class Search(Section):
    trials: Whole = Field(default=20, ge=1, description="Trials of each study.")
    sampler: Literal["random", "tpe", "gp", "cmaes", "nsgaii", "qmc", "grid"] = "random"
    scheduler: Literal["asha", "median", "hyperband", "none"] = Field(
        default="asha",
        description="What stops trials that fall behind; with two objectives there is none.",
    )
    objective: ObjectiveNames = Field(
        default="training-domain",
        description="What the search maximizes, one objective or a list of two. Only oracles see "
        "the held-out domain.",
    )
    allow_oracle: bool = Field(
        default=False,
        description="Whether the objective may see the held-out domain, which every table then "
        "says.",
    )
    compare_at: Literal["steps", "passes"] = Field(
        default="steps",
        description="What trials have spent alike when the scheduler compares them.",
    )
    seed: Whole = Field(default=0, ge=0, description="Seed of the sampler.")
    grace_steps: Whole | None = Field(
        default=None, ge=1, description="Steps before a trial may be stopped."
    )
    reduction_factor: Whole = Field(
        default=3, ge=2, description="asha and hyperband go on with one in this many trials."
    )
    budget: Budget = Field(
        default=Budget(), description="What the whole sweep may spend; then it ends."
    )
    study_budget: StudyBudget = Field(
        default=StudyBudget(), description="What each study may spend; then it ends."
    )
    terminator: Literal["none", "stagnation"] = Field(
        default="none",
        description="What stops a study that no longer improves; others get its trials.",
    )
    patience: Whole | None = Field(
        default=None,
        ge=1,
        description="Trials without a better one after which a study stagnates.",
    )
    max_failures: Whole = Field(
        default=3,
        ge=0,
        description="Times that a crashed trial is tried again before it gets any further.",
    )
    hang_seconds: Real | None = Field(
        default=None,
        gt=0,
        description="Longest time between two evaluations of a trial; one that takes longer has "
        "hung, and is tried again.",
    )
    keep_weights: Literal["none", "best", "last"] = Field(
        default="none",
        description="Which weights of each study's best trial stay in the run: its selected ones, "
        "or its last.",
    )
    space: dict[str, SpaceEntry] = Field(
        default={},
        description="Ranges by hyperparameter, or by algorithm and then hyperparameter. "
        "What is left out keeps its suggested range.",
    )
    first_trials: tuple[dict[str, WrittenValue], ...] = Field(
        default=(), description="Settings tried first, after the published one."
    )
    warm_start: WarmStart | None = Field(
        default=None,
        description="Earlier runs whose best settings are tried right after the published one.",
        examples=["runs/first"],
    )
    share: Literal["none", "seeds", "domains"] = Field(
        default="none",
        description="Whose best settings a study tries while both search: those of its other "
        "seeds, or also of other held-out domains, which every table then says.",
    )
    seed_reduction: Whole | None = Field(
        default=None,
        ge=2,
        description="The first seed searches; one in this many of its settings, the best, is tried "
        "with the second, and so on.",
    )

    _scheduler = model_validator(mode="before")(without_pruning)

    @property
    def objectives(self) -> tuple[str, ...]:
        """One or two; the first chooses each trial's step, and ranks trials where one must."""
        return (self.objective,) if isinstance(self.objective, str) else self.objective


class Resources(Section):
    """What one trial occupies."""

    cpu: Real = Field(default=1.0, gt=0)
    gpu: Real = Field(default=0.0, ge=0, description="A share of one, or a whole number of them.")
    memory: Real | None = Field(
        default=None, gt=0, description="GB; a trial that takes more has failed."
    )

    def in_rays_units(self) -> dict[str, float]:
        """What Ray is asked for, by its names of things; memory in bytes."""
        asked = {"CPU": self.cpu, "GPU": self.gpu, "memory": (self.memory or 0) * 1e9}
        return {name: need for name, need in asked.items() if need}


class Sweep(Section):
    """A sweep file as it was read: over one dataset, or several."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["dataset"]}, {"required": ["datasets"]}]}
    )

    name: Name = Field(description="Names the run's folder.", examples=["my-sweep"])
    dataset: Dataset | None = Field(default=None, examples=[{"name": "RotatedDigits"}])
    datasets: dict[str, OneOfSeveral] = Field(
        default={},
        description="Several datasets by name, in the place of `dataset`.",
        examples=[{"PACS": {"root": "~/data"}, "VLCS": {"root": "~/data"}}],
    )
    model: Model = Field(examples=[{"name": "cnn"}])
    algorithms: tuple[str, ...] = Field(
        min_length=1,
        description="ERM, or parts joined by +, such as DISAM+SAGM; with the average of the "
        "weights that is a trial's result, such as SAGM+SWAD. SWAD alone is ERM's.",
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
    track: Track = Field(
        default=(), description="Who else is told of trials while they run; one, or a list."
    )

    _earlier: bool = PrivateAttr(default=False)

    @property
    def in_earlier_run(self) -> bool:
        """Whether its studies have the names of a run of an earlier commit (see Study)."""
        return self._earlier

    def of_earlier_run(self) -> Sweep:
        """The same sweep, with those names."""
        sweep = self.model_copy()
        sweep._earlier = True
        return sweep


def json_schema() -> dict[str, Any]:
    """The JSON schema of a sweep file, for editors."""
    return Sweep.model_json_schema()
