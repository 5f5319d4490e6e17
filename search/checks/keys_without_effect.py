"""Keys of a sweep file that differ from their defaults where nothing reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import datasets
from search.space import algorithm_names
from search.study.folds import makes_folds
from search.study.plan import device
from search.sweep.config_errors import KeyPath, Problem, show
from search.sweep.fields import Section
from search.sweep.model_layers import batch_norm, has_layer
from search.sweep.objectives import oracles
from search.sweep.per_dataset import DatasetSweep
from training.algorithms import hyperparameters

# A key acts if all of these hold; the first that does not says why it does not.
Conditions = dict[str, Callable[[], bool]]

# Keys that decide whether others act.
SWITCHES: tuple[KeyPath, ...] = (
    ("model",),
    ("training", "optimizer"),
    ("training", "lr_schedule"),
    ("training", "lr_warmup"),
    ("training", "rho_schedule"),
    ("training", "bn"),
    ("training", "device"),
    ("training", "precision"),
    ("training", "flatness"),
    ("search", "sampler"),
    ("search", "scheduler"),
    ("search", "objective"),
    ("search", "terminator"),
    ("resources", "gpu"),
)


def idle_keys(sweep: DatasetSweep) -> Iterator[Problem]:
    """One problem for each; the sweep's model and algorithms must exist."""
    for path, conditions in _conditions(sweep).items():
        section = getattr(sweep, path[0])
        value, default = getattr(section, path[1]), type(section).model_fields[path[1]].default
        if value == default:
            continue
        reason = next((reason for reason, holds in conditions.items() if not holds()), None)
        if reason is not None:
            yield Problem(path, f"is {show(_plain(value))} but has no effect: {reason}; remove it")


def _conditions(sweep: DatasetSweep) -> dict[tuple[str, str], Conditions]:
    training, search, model = sweep.training, sweep.search, sweep.model.name
    sgd: Conditions = {"only sgd has a momentum": lambda: training.optimizer == "sgd"}
    falls: Conditions = {
        "only linear and cosine fall to a floor": lambda: (
            training.lr_schedule in ("linear", "cosine")
        )
    }
    drops: Conditions = {"only step drops": lambda: training.lr_schedule == "step"}
    climbs: Conditions = {
        "no listed algorithm climbs": lambda: any(
            "rho" in hyperparameters(algorithm_names.split(name)[0]) for name in sweep.algorithms
        )
    }
    averages: Conditions = {
        "each listed algorithm names its own": lambda: any(
            algorithm_names.split(name)[1] is None for name in sweep.algorithms
        )
    }
    rho_alone: Conditions = {
        "rho does as lr does": lambda: training.rho_schedule != "lr",
    }
    lr_changes: Conditions = {
        "lr, which rho would follow, is constant": lambda: (
            training.rho_schedule != "lr"
            or training.lr_schedule != "constant"
            or training.lr_warmup > 0
        )
    }
    rho_falls: Conditions = {
        "a constant rho does not fall": lambda: training.rho_schedule != "constant"
    }
    features_learn: Conditions = {
        "model.tuning is head, and the features stay as they are": lambda: (
            sweep.model.tuning != "head"
        )
    }
    normed: Conditions = {
        f"{model} has no batch norm": lambda: has_layer(model, _BatchNorm)
    } | features_learn
    looks_at_batch: Conditions = {
        "frozen batch norm is not updated in any pass": lambda: (
            batch_norm(sweep, training) != "frozen"
        )
    }
    convolves: Conditions = {f"{model} has no convolution": lambda: has_layer(model, nn.Conv2d)}
    rounds: Conditions = {
        "only NVIDIA GPUs have TF32": lambda: device(sweep) == "cuda",
        "bf16 leaves it no products": lambda: training.precision == "fp32",
    }
    photographs: Conditions = {
        f"{sweep.dataset.name} is shown as it is": lambda: _resizes(sweep.dataset.name)
    }
    measures: Conditions = {"flatness is none": lambda: training.flatness != "none"}
    halves: Conditions = {
        "only asha and hyperband use it": lambda: search.scheduler in ("asha", "hyperband")
    }
    stops: Conditions = {"no scheduler stops trials": lambda: search.scheduler != "none"}
    several_seeds: Conditions = {"there is one seed": lambda: len(sweep.seeds) > 1}
    siblings: Conditions = {
        "one domain is held out; seeds does the same": lambda: (
            search.share != "domains" or sweep.held_out == "all" or len(sweep.held_out) > 1
        ),
        "there is one seed": lambda: search.share != "seeds" or len(sweep.seeds) > 1,
        "with search.seed_reduction later seeds wait for the first": lambda: (
            search.share != "seeds" or search.seed_reduction is None
        ),
    }
    within_a_run: Conditions = {
        "leave-one-domain-out stops trials after a fold, the first or a later one": lambda: (
            not makes_folds(search)
        )
    }
    peeks: Conditions = {
        "the objective does not see the held-out domain": lambda: bool(oracles(search.objectives))
    }
    samples: Conditions = {"a grid visits all its points": lambda: search.sampler != "grid"}
    return {
        ("training", "momentum"): sgd,
        ("training", "nesterov"): sgd,
        ("training", "averaging"): averages,
        ("training", "lr_floor"): falls,
        ("training", "lr_drop_at"): drops,
        ("training", "lr_drop"): drops,
        ("training", "rho_schedule"): climbs | lr_changes,
        ("training", "rho_warmup"): climbs | rho_alone,
        ("training", "rho_floor"): climbs | rho_alone | rho_falls,
        ("training", "bn"): normed,
        ("training", "bn_second_pass"): climbs | normed | looks_at_batch,
        ("training", "tf32"): rounds,
        ("training", "channels_last"): convolves,
        ("training", "compile"): features_learn,
        ("training", "augmentation"): photographs,
        ("training", "flatness_rho"): measures,
        ("training", "flatness_samples"): measures,
        ("search", "reduction_factor"): halves,
        ("search", "grace_steps"): stops | within_a_run,
        ("search", "compare_at"): stops | within_a_run,
        ("search", "allow_oracle"): peeks,
        ("search", "first_trials"): samples,
        ("search", "warm_start"): samples,
        ("search", "share"): samples | siblings,
        ("search", "seed_reduction"): several_seeds,
        ("search", "patience"): {"search.terminator is none": lambda: search.terminator != "none"},
    }


def _resizes(dataset: str) -> bool:
    entry = datasets.DATASETS.get(dataset)
    return entry is None or entry.resizes  # an unknown one is said elsewhere


def _plain(value: object) -> object:
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    if not isinstance(value, tuple):
        return value
    return [dict(entry) if isinstance(entry, dict) else entry for entry in value]
