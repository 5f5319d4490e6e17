"""The sweep file: sections, keys, defaults, bounds. Rules that span keys are in search.checks."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainSerializer, PrivateAttr

import models
from models.entry import PROMPT
from search.sweep.fields import (
    LEAST_SHARE,
    Allow,
    Gpu,
    HeldOut,
    Originals,
    Prompts,
    Real,
    Root,
    RunName,
    Section,
    Size,
    Weights,
    Whole,
    in_new_sweeps,
)
from search.sweep.objectives import oracles
from search.sweep.search_keys import Search, Track
from search.sweep.training_keys import Training


class Dataset(Section):
    """The dataset of a sweep over one dataset."""

    name: str = Field(
        description="A dataset of `python -m search datasets`.", examples=["RotatedDigits"]
    )
    root: Root = None
    size: Size = None
    originals: Originals = None
    allow: Allow = ()


class DatasetOverrides(Section):
    """One of several datasets, and the keys that it has for itself."""

    root: Root = None
    size: Size = None
    originals: Originals = None
    allow: Allow = ()
    held_out: HeldOut | None = Field(default=None, description="Instead of the sweep's `held_out`.")
    training: Annotated[
        Training, PlainSerializer(lambda own: own.model_dump(mode="json", exclude_unset=True))
    ] = Field(default=Training(), description="Keys that replace those of the sweep's `training`.")


class Model(Section):
    """The model, what it starts from, and how much of it trains."""

    name: str = Field(description="A model of `python -m search models`.", examples=["cnn"])
    weights: Weights | None = Field(
        default=None,
        description="Published weights by name, or a local file; random if left out.",
        examples=["imagenet"],
    )
    head: Literal["linear", "text", "text-fixed"] = Field(
        default="linear",
        description="What the head starts as: a random linear layer, or CLIP's texts on the "
        "classes, which train or stay fixed.",
    )
    prompts: Prompts = Field(
        default=(PROMPT,),
        description="The texts: a sentence, or a list, with {} for the name of a class.",
    )
    tuning: Literal["full", "head", "lora"] = Field(
        default="full",
        description="What trains: all of it, the linear head alone, or the head and a low-rank "
        "change of the attention's matrices.",
    )


class Resources(Section):
    """What one trial occupies."""

    cpu: Annotated[
        Real, in_new_sweeps(lambda share: share >= LEAST_SHARE, f"at least {LEAST_SHARE}")
    ] = Field(default=1.0, json_schema_extra={"minimum": LEAST_SHARE})
    gpu: Gpu = Field(
        default=0.0,
        description="A share of one, or a whole number of them; auto: a share that the first "
        "trials measure.",
    )
    memory: Real | None = Field(
        default=None, gt=0, description="GB; a trial that takes more has failed."
    )

    @property
    def gpus(self) -> float:
        """GPUs of a trial; with auto, at most."""
        return 1.0 if isinstance(self.gpu, str) else self.gpu

    def as_ray_resources(self) -> dict[str, float]:
        """The same by Ray's names; memory in bytes."""
        needs = {"CPU": self.cpu, "GPU": self.gpus, "memory": (self.memory or 0) * 1e9}
        return {name: need for name, need in needs.items() if need}


class Sweep(Section):
    """A sweep file as it was read, over one dataset or several."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["dataset"]}, {"required": ["datasets"]}]}
    )

    name: RunName = Field(description="Names the run's folder.", examples=["my-sweep"])
    dataset: Dataset | None = Field(default=None, examples=[{"name": "RotatedDigits"}])
    datasets: dict[str, DatasetOverrides] = Field(
        default={},
        description="Several datasets by name, instead of `dataset`.",
        examples=[{"PACS": {"root": "~/data"}, "VLCS": {"root": "~/data"}}],
    )
    model: Model = Field(examples=[{"name": "cnn"}])
    algorithms: tuple[str, ...] = Field(
        min_length=1,
        description="ERM, or parts joined by +, such as DISAM+SAGM; with the average of the "
        "weights that is a trial's result, such as SAGM+SWAD. SWAD alone is ERM's; zero-shot is "
        "the model without training.",
        examples=[["ERM", "SAM", "DISAM+SAGM"]],
    )
    held_out: HeldOut = Field(
        default="all",
        description="Domains to hold out, each in studies of its own. A list of domains in the "
        "list is a set that is held out together.",
        examples=["all", ["photo", ["art_painting", "sketch"]]],
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

    _earlier_names: bool = PrivateAttr(default=False)
    _earlier_search: bool = PrivateAttr(default=False)

    @property
    def trained(self) -> tuple[str, ...]:
        """Its algorithms but for zero-shot, which makes no step and has no hyperparameters."""
        from training.algorithms import ZERO_SHOT  # here, as results are read without torch

        return tuple(name for name in self.algorithms if name != ZERO_SHOT)

    @property
    def in_earlier_run(self) -> bool:
        """Whether its studies are named as in runs of earlier commits (see Study.id)."""
        return self._earlier_names

    @property
    def searches_as_before(self) -> bool:
        """Whether it queues, draws and stops trials as runs of earlier commits (see StudyPlan)."""
        return self._earlier_search

    def of_earlier_run(self, names: bool = True, search: bool = True) -> Sweep:
        """The same sweep, its studies named, or searched, as in runs of earlier commits."""
        sweep = self.model_copy()
        sweep._earlier_names, sweep._earlier_search = names, search
        return sweep


def json_schema() -> dict[str, Any]:
    """The JSON schema of a sweep file, for editors."""
    schema: dict[str, Any] = _with_bounds(Sweep.model_json_schema())
    return schema


# Of a bound behind a validator, as of `Real | None`, pydantic writes its own word.
_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


def _with_bounds(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_bounds(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {_BOUNDS.get(key, key): _with_bounds(value) for key, value in schema.items()}


def saw_held_out(search: Search) -> list[str]:
    """Why labels of held-out domains shaped the settings of a search; empty if they did not."""
    found = []
    for objective in oracles(search.objectives):
        found.append(
            f"search.objective: {objective}: the search maximized accuracy on the held-out domain "
            "itself, so the results are an upper bound"
        )
    if search.share == "domains":
        found.append(
            "search.share: domains: studies were offered settings of studies that trained and "
            "validated on the domain that they hold out"
        )
    if search.warm_start is not None and search.warm_start.held_out == "any":
        found.append(
            "search.warm_start.held_out: any: studies began with settings of studies that may have "
            "trained and validated on the domain that they hold out"
        )
    return found


def batch_norm(sweep: Sweep) -> str:
    """The value of training.bn, `auto` replaced by its meaning for the model.

    It stays `auto` without effect: if the model has no batch norm, or only its head trains.
    """
    if sweep.training.bn != "auto" or not batch_norm_trains(sweep):
        return sweep.training.bn
    return "updated" if sweep.model.weights is None else "frozen"


def batch_norm_trains(sweep: Sweep) -> bool:
    """Whether the model has batch norm in layers that train."""
    return sweep.model.tuning != "head" and has_layer(sweep.model.name, "batch norm")


def has_layer(model: str, kind: Literal["batch norm", "convolution"]) -> bool:
    """Whether the model has a layer of this kind; True if there is no such model."""
    found = _layers(model)
    return found is None or kind in found


@cache
def _layers(model: str) -> frozenset[str] | None:
    """Which of the kinds of has_layer the model has; None if there is no such model."""
    from torch import nn

    from models.torch_private import BatchNorm

    try:
        network = models.outline(model)
    except (ValueError, ModuleNotFoundError):
        return None  # another check reports it
    kinds = {"batch norm": BatchNorm, "convolution": nn.Conv2d}
    return frozenset(
        name for name, kind in kinds.items() for m in network.modules() if isinstance(m, kind)
    )
