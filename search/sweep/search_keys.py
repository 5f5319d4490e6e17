"""The section `search` of the sweep file, and `track`: their keys, defaults and bounds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from search.sweep.fields import Real, Section, SpaceEntry, Trials, Whole, WrittenValue, known_names
from search.sweep.objectives import OBJECTIVE_NAMES
from search.yaml_file import as_number

TRACKERS = ("tensorboard", "mlflow", "wandb")
KEPT = ("none", "best", "last", "all")
FREEZE_THAW = "freeze-thaw"
WISE_FT = "wise-ft"
COMBINATIONS = ("uniform", "greedy", "ensemble", WISE_FT)

Amount = Annotated[Real, Field(gt=0)]


class StudyBudget(Section):
    """What the trials of each study may spend together. A budget left out has no limit."""

    gpu_hours: Amount | None = Field(
        default=None, description="Hours of its trials, times resources.gpu."
    )
    cpu_hours: Amount | None = Field(
        default=None, description="Hours of its trials, times resources.cpu."
    )
    passes: Amount | None = Field(
        default=None, description="Forward and backward passes over a batch, as trials count them."
    )


class Budget(StudyBudget):
    """What a whole sweep may spend. A budget left out has no limit."""

    trials: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="Trials of all studies together."
    )
    wall_hours: Amount | None = Field(
        default=None, description="Hours in which drivers are at work on the sweep."
    )


def _absolute(run: str) -> str:
    # A resume may start in another folder, where a relative path would mean another run.
    return run if "://" in run else str(Path(run).expanduser().absolute())


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} comes twice; keep one")
    return names


class WarmStart(Section):
    """Earlier runs whose best settings are tried early: one run, a list, or a mapping."""

    runs: Annotated[
        tuple[Annotated[str, AfterValidator(_absolute)], ...],
        Field(min_length=1, description="Folders or URIs of runs.", examples=[["runs/first"]]),
        AfterValidator(_different),
    ]
    settings: Whole = Field(
        default=3,
        ge=1,
        description="Settings that each study takes, besides default and published ones.",
    )
    held_out: Literal["same", "any"] = Field(
        default="same",
        description="Whose settings a study takes: those of studies with the same held-out domain, "
        "or also of others, which validated on it; every table then says so.",
    )

    @model_validator(mode="before")
    @classmethod
    def _in_short(cls, written: Any) -> Any:
        if isinstance(written, str):
            return {"runs": [written]}
        if isinstance(written, list | tuple):
            return {"runs": written}
        if not isinstance(written, dict | WarmStart):
            raise ValueError("name a run, such as runs/first, or a list of runs")
        return written

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        whole = handler.resolve_ref_schema(handler(core_schema))
        return {"anyOf": [{"type": "string"}, whole["properties"]["runs"], whole]}


def _kept_weights(written: object) -> str | int:
    if written in KEPT:
        return str(written)
    number = as_number(written) if isinstance(written, str) else written
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(f"it must be {', '.join(KEPT)}, or a number of trials from 1")
    return number


def _objectives(written: object) -> str | tuple[str, ...]:
    names = known_names(written, OBJECTIVE_NAMES)
    if isinstance(written, str):
        return str(written)
    if len(names) != 2 or names[0] == names[1]:
        raise ValueError(f"a list needs two different ones of {', '.join(OBJECTIVE_NAMES)}")
    return names


def _list_schema(names: tuple[str, ...], **size: int) -> dict[str, Any]:
    """One of the names, or a list of different ones."""
    one = {"enum": list(names)}
    return {"anyOf": [one, {"type": "array", "items": one, **size, "uniqueItems": True}]}


Track = Annotated[
    tuple[str, ...],
    PlainValidator(partial(known_names, known=TRACKERS)),
    AfterValidator(_different),
    PlainSerializer(list),
    WithJsonSchema(_list_schema(TRACKERS)),
]
KeptWeights = Annotated[
    str | int,
    PlainValidator(_kept_weights),
    PlainSerializer(lambda kept: kept),
    WithJsonSchema({"anyOf": [{"enum": list(KEPT)}, {"type": "integer", "minimum": 1}]}),
]
Combinations = Annotated[
    tuple[str, ...],
    PlainValidator(partial(known_names, known=COMBINATIONS)),
    AfterValidator(_different),
    PlainSerializer(list),
    WithJsonSchema(_list_schema(COMBINATIONS)),
]
ObjectiveNames = Annotated[
    str | tuple[str, ...],
    PlainValidator(_objectives),
    PlainSerializer(lambda names: names if isinstance(names, str) else list(names)),
    WithJsonSchema(_list_schema(OBJECTIVE_NAMES, minItems=2, maxItems=2)),
]


class Search(Section):
    """How each study searches, and what it may spend."""

    trials: Trials = Field(default=20, ge=1, description="Trials of each study.")
    sampler: Literal["random", "tpe", "gp", "cmaes", "nsgaii", "qmc", "grid"] = "random"
    scheduler: Literal["asha", "freeze-thaw", "median", "hyperband", "none"] = Field(
        default="asha",
        description="What stops losing trials early, or lets them wait; with two objectives none.",
    )
    objective: ObjectiveNames = Field(
        default="training-domain",
        description="What the search maximizes, one objective or a list of two. Only oracles see "
        "the held-out domain.",
    )
    objective_over: Literal["none", "seeds"] = Field(
        default="none",
        description="With seeds, a setting's mean over all seeds is what the search maximizes; it "
        "is trained with one seed after the other while this mean may win.",
    )
    allow_oracle: bool = Field(
        default=False,
        description="Whether the objective or the initial weights may have seen the held-out "
        "domain; every table then says so.",
    )
    compare_at: Literal["steps", "passes"] = Field(
        default="steps",
        description="Whether the scheduler compares trials at equal steps or at equal passes.",
    )
    seed: Whole = Field(default=0, ge=0, description="Seed of the sampler.")
    grace_steps: Whole | None = Field(
        default=None, ge=1, description="Steps before a trial may be stopped."
    )
    reduction_factor: Whole = Field(
        default=3, ge=2, description="asha and hyperband continue one in this many trials."
    )
    budget: Budget = Field(
        default=Budget(), description="What the whole sweep may spend before it ends."
    )
    study_budget: StudyBudget = Field(
        default=StudyBudget(), description="What each study may spend before it ends."
    )
    terminator: Literal["none", "stagnation"] = Field(
        default="none",
        description="What ends a study that no longer improves; other studies get its trials.",
    )
    patience: Whole | None = Field(
        default=None,
        ge=1,
        description="Trials without a better one after which a study has stagnated.",
    )
    max_failures: Whole = Field(
        default=3,
        ge=0,
        description="How often a crashed trial is tried again without getting any further.",
    )
    hang_seconds: Real | None = Field(
        default=None,
        gt=0,
        description="Longest time between two evaluations; a trial that takes longer has hung and "
        "is tried again.",
    )
    keep_weights: KeptWeights = Field(
        default="none",
        description="Which weights of each study are kept: the selected ones of its best trial, "
        "the last ones of that trial, or the selected ones of all completed trials; a number: of "
        "that many, the best.",
    )
    combine: Combinations = Field(
        default=(),
        description="How the kept networks of each study are combined when the sweep has ended: "
        "one way, or a list. wise-ft takes the best one, and zero-shot.",
    )
    space: dict[str, SpaceEntry] = Field(
        default={},
        description="Ranges by hyperparameter, or by algorithm and then hyperparameter. "
        "What is left out keeps its suggested range.",
    )
    first_trials: tuple[dict[str, WrittenValue], ...] = Field(
        default=(), description="Settings tried first, after the default and published ones."
    )
    warm_start: WarmStart | None = Field(
        default=None,
        description="Earlier runs whose best settings are tried after default and published ones.",
        examples=["runs/first"],
    )
    share: Literal["none", "seeds", "domains"] = Field(
        default="none",
        description="Whose best settings a study tries while both search: those of its other "
        "seeds, or also of other held-out domains; every table then says so.",
    )
    seed_reduction: Whole | None = Field(
        default=None,
        ge=2,
        description="Only the first seed searches; one in this many of its settings, the best, is "
        "tried with the second seed, and so on.",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_pruning(cls, written: Any) -> Any:
        """Two objectives have no scheduler unless one is named: pruners compare single values."""
        if isinstance(written, dict) and isinstance(written.get("objective"), list | tuple):
            return {"scheduler": "none", **written}
        return written

    @model_validator(mode="before")
    @classmethod
    def _keeping_members(cls, written: Any) -> Any:
        """What is to be combined has to be kept."""
        if isinstance(written, dict) and (asked := written.get("combine")):
            one = asked in (WISE_FT, [WISE_FT], (WISE_FT,))
            return {"keep_weights": "best" if one else "all", **written}
        return written

    @property
    def most_kept(self) -> int | None:
        """The largest number of trials of a study whose weights are kept; None: all."""
        return most_kept(self.keep_weights)

    @property
    def objectives(self) -> tuple[str, ...]:
        """One or two; the first chooses each trial's step, and ranks trials where one must."""
        return (self.objective,) if isinstance(self.objective, str) else self.objective


def most_kept(keep_weights: str | int) -> int | None:
    """The largest number of trials of a study whose weights are kept; None: all."""
    if isinstance(keep_weights, int):
        return keep_weights
    return {"none": 0, "best": 1, "last": 1}.get(keep_weights)
