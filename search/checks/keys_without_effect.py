"""Keys of a sweep file that differ from their defaults where nothing reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
import models
from search.space import algorithm_names
from search.study.folds import makes_folds
from search.study.plan import device
from search.study.study_space import start_of
from search.sweep.config_errors import KeyPath, Problem, show
from search.sweep.fields import Section
from search.sweep.objectives import oracles
from search.sweep.per_dataset import TRAINING_DEFAULTS, DatasetSweep
from search.sweep.schema import Model, batch_norm, has_layer
from search.sweep.training_keys import Training
from training.algorithms import hyperparameters


@dataclass(frozen=True)
class Condition:
    """What must hold so that a key acts. otherwise: why it does not, of `{model}`, `{dataset}`."""

    otherwise: str
    holds: Callable[[DatasetSweep], bool]


SGD = Condition("only sgd has a momentum", lambda s: s.training.optimizer == "sgd")
AVERAGING = Condition(
    "each listed algorithm names its own",
    lambda s: any(algorithm_names.split(name)[1] is None for name in s.algorithms),
)
LR_SEES_A_PLATEAU = Condition(
    "plateau drops lr after the third evaluation or later, and no step would follow",
    lambda s: (
        s.training.lr_schedule != "plateau" or 3 * s.training.evaluate_every < s.training.steps
    ),
)
LR_FALLS = Condition(
    "only linear and cosine fall to a floor",
    lambda s: s.training.lr_schedule in ("linear", "cosine"),
)
LR_STEPS = Condition("only step drops there", lambda s: s.training.lr_schedule == "step")
LR_DROPS = Condition(
    "only step and plateau drop", lambda s: s.training.lr_schedule in ("step", "plateau")
)
ASCENDS = Condition(
    "no listed algorithm climbs",
    lambda s: any("rho" in hyperparameters(algorithm_names.split(n)[0]) for n in s.algorithms),
)
LR_CHANGES = Condition(
    "lr, which rho would follow, is constant",
    lambda s: (
        s.training.rho_schedule != "lr"
        or s.training.lr_schedule != "constant"
        or s.training.lr_warmup > 0
    ),
)
RHO_ALONE = Condition("rho follows lr", lambda s: s.training.rho_schedule != "lr")
RHO_FALLS = Condition(
    "a constant rho does not fall", lambda s: s.training.rho_schedule != "constant"
)
FEATURES_LEARN = Condition(
    "model.tuning is head, and the features stay as they are", lambda s: s.model.tuning != "head"
)
TEXTS = Condition("model.head is linear", lambda s: s.model.head != "linear")
PROBED = Condition(
    "training.start is model",
    lambda s: any(start_of(s, name) != "model" for name in s.algorithms),
)
BATCH_NORM = Condition("{model} has no batch norm", lambda s: has_layer(s.model.name, "batch norm"))
BATCH_NORM_UPDATED = Condition(
    "frozen batch norm is not updated in any pass", lambda s: batch_norm(s) != "frozen"
)
CONVOLUTION = Condition(
    "{model} has no convolution", lambda s: has_layer(s.model.name, "convolution")
)
CUDA = Condition("only NVIDIA GPUs have TF32", lambda s: device(s) == "cuda")
FP32 = Condition("bf16 leaves it no products", lambda s: s.training.precision == "fp32")
PHOTOGRAPHS = Condition(
    "{dataset} is shown as it is",
    lambda s: (  # check_sweep reports an unknown one
        s.dataset.name not in datasets.DATASETS or datasets.DATASETS[s.dataset.name].resizes
    ),
)
FLATNESS = Condition("flatness is none", lambda s: s.training.flatness != "none")
HALVING = Condition(
    "only asha and hyperband use it", lambda s: s.search.scheduler in ("asha", "hyperband")
)
SCHEDULER = Condition("no scheduler stops trials", lambda s: s.search.scheduler != "none")
# The scheduler none does what it says, and two objectives have it without being asked.
STOPS_WHAT_TRAINS = Condition(
    "nothing listed is trained", lambda s: s.search.scheduler == "none" or bool(s.trained)
)
STOPS_BEFORE_THE_END = Condition(
    "a trial is first evaluated at its end",
    lambda s: (
        s.search.scheduler == "none"
        or s.training.evaluate_every < s.training.steps
        or makes_folds(s.search)
    ),
)
FILES = Condition(
    "{dataset} comes with scikit-learn and lies in no folder",
    lambda s: s.dataset.name != "RotatedDigits",
)
NO_FOLDS = Condition(
    "leave-one-domain-out stops trials after a fold, the first or a later one",
    lambda s: not makes_folds(s.search),
)


def _from_file(model: Model) -> bool:
    """Whether the model starts from a file of weights, which may have seen a held-out domain."""
    try:
        return model.weights is not None and model.weights not in models.published(model.name)
    except (ValueError, ModuleNotFoundError):
        return True  # another check reports it


ORACLE = Condition(
    "the objective does not see the held-out domain, and model.weights is no file",
    lambda s: bool(oracles(s.search.objectives)) or _from_file(s.model),
)
NO_GRID = Condition("a grid visits all its points", lambda s: s.search.sampler != "grid")
SEVERAL_SEEDS = Condition("there is one seed", lambda s: len(s.seeds) > 1)


def _several_held_out(sweep: DatasetSweep) -> bool:
    if sweep.held_out != "all":
        return len(sweep.held_out) > 1
    entry = datasets.DATASETS.get(sweep.dataset.name)
    return entry is None or len(entry.description.held_out) != 1  # empty: all domains


SEVERAL_DOMAINS = Condition(
    "one domain is held out; seeds does the same",
    lambda s: s.search.share != "domains" or _several_held_out(s),
)
SHARED_SEEDS = Condition(
    "there is one seed", lambda s: s.search.share != "seeds" or len(s.seeds) > 1
)
SEEDS_AT_ONCE = Condition(
    "with search.seed_reduction later seeds wait for the first",
    lambda s: s.search.share != "seeds" or s.search.seed_reduction is None,
)
TERMINATOR = Condition("search.terminator is none", lambda s: s.search.terminator != "none")
TRAINED = Condition("nothing listed is trained", lambda s: bool(s.trained))
# What acts on a model that is scored as it is.
SCORING = (
    *("device", "precision", "tf32", "deterministic", "channels_last", "compile"),
    *("evaluations", "flatness", "flatness_rho", "flatness_samples", "predictions"),
)

# A key acts if all of its conditions hold; the first that does not is reported.
CONDITIONS: dict[tuple[str, str], tuple[Condition, ...]] = {
    ("dataset", "root"): (FILES,),
    ("dataset", "allow"): (FILES,),
    ("model", "prompts"): (TEXTS,),
    ("training", "start"): (FEATURES_LEARN,),
    ("training", "start_steps"): (PROBED,),
    ("training", "start_lr"): (PROBED,),
    ("training", "momentum"): (SGD,),
    ("training", "nesterov"): (SGD,),
    ("training", "averaging"): (AVERAGING,),
    ("training", "lr_schedule"): (LR_SEES_A_PLATEAU,),
    ("training", "lr_floor"): (LR_FALLS,),
    ("training", "lr_drop_at"): (LR_STEPS,),
    ("training", "lr_drop"): (LR_DROPS,),
    ("training", "rho_schedule"): (ASCENDS, LR_CHANGES),
    ("training", "rho_warmup"): (ASCENDS, RHO_ALONE),
    ("training", "rho_floor"): (ASCENDS, RHO_ALONE, RHO_FALLS),
    ("training", "bn"): (BATCH_NORM, FEATURES_LEARN),
    ("training", "bn_second_pass"): (ASCENDS, BATCH_NORM, FEATURES_LEARN, BATCH_NORM_UPDATED),
    ("training", "tf32"): (CUDA, FP32),
    ("training", "channels_last"): (CONVOLUTION,),
    ("training", "compile"): (FEATURES_LEARN,),
    ("training", "augmentation"): (PHOTOGRAPHS,),
    ("training", "flatness_rho"): (FLATNESS,),
    ("training", "flatness_samples"): (FLATNESS,),
    ("search", "reduction_factor"): (HALVING,),
    ("search", "grace_steps"): (SCHEDULER, NO_FOLDS),
    ("search", "compare_at"): (SCHEDULER, NO_FOLDS),
    ("search", "allow_oracle"): (ORACLE,),
    ("search", "first_trials"): (NO_GRID,),
    ("search", "warm_start"): (NO_GRID,),
    ("search", "share"): (NO_GRID, SEVERAL_DOMAINS, SHARED_SEEDS, SEEDS_AT_ONCE),
    ("search", "seed_reduction"): (SEVERAL_SEEDS,),
    ("search", "objective_over"): (SEVERAL_SEEDS,),
    ("search", "patience"): (TERMINATOR,),
}

OF_TRAINING = (
    ("model", "tuning"),
    *(("training", key) for key in Training.model_fields if key not in SCORING),
    *(
        ("search", key)
        for key in (
            *("trials", "sampler", "compare_at", "grace_steps", "reduction_factor"),
            *("seed", "terminator", "patience", "warm_start", "share", "seed_reduction"),
            *("objective_over", "combine"),
        )
    ),
)
CONDITIONS |= {path: (TRAINED, *CONDITIONS.get(path, ())) for path in OF_TRAINING}
CONDITIONS["search", "scheduler"] = (STOPS_WHAT_TRAINS, STOPS_BEFORE_THE_END)


# Keys that the conditions read.
CONDITION_KEYS: tuple[KeyPath, ...] = (
    ("dataset", "name"),
    ("model",),
    ("resources", "gpu"),
    *(
        ("training", key)
        for key in (
            *("steps", "evaluate_every", "start", "optimizer", "lr_schedule", "lr_warmup"),
            *("rho_schedule", "bn", "device", "precision", "flatness"),
        )
    ),
    *(("search", key) for key in ("sampler", "scheduler", "objective", "terminator")),
)


def keys_without_effect(sweep: DatasetSweep) -> Iterator[Problem]:
    """A problem for each such key; the sweep's model and algorithms must exist."""
    for path, conditions in CONDITIONS.items():
        section = getattr(sweep, path[0])
        value, default = getattr(section, path[1]), type(section).model_fields[path[1]].default
        of_dataset = TRAINING_DEFAULTS.get(sweep.dataset.name, {}) if path[0] == "training" else {}
        if value in (default, of_dataset.get(path[1], default)):
            continue
        failed = next((own for own in conditions if not own.holds(sweep)), None)
        if failed is not None:
            reason = failed.otherwise.format(model=sweep.model.name, dataset=sweep.dataset.name)
            yield Problem(path, f"is {show(_plain(value))} but has no effect: {reason}; remove it")


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    if not isinstance(value, tuple):
        return value
    return [dict(entry) if isinstance(entry, dict) else entry for entry in value]
