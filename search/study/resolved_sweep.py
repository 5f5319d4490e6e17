"""A sweep with every key written out, and how two sweeps differ."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from search import yaml_file
from search.space.ranges import KINDS, plain
from search.study.study import held_out_domains
from search.study.study_space import given_ranges, study_space
from search.sweep.config_errors import dotted, show
from search.sweep.fields import written
from search.sweep.per_dataset import by_dataset, default_overrides, path_in_file
from search.sweep.schema import Sweep, batch_norm
from search.sweep.search_keys import most_kept

# Keys that a run may change without any trial being another: what ends it, how often it is saved
# or tried again, who is told, and where its images lie, as fingerprints tell if they are the same.
FREE = (
    *("search.budget.", "search.study_budget.", "search.combine", "search.max_failures"),
    *("search.hang_seconds", "training.checkpoint_seconds", "resources.memory", "track"),
)
ABOUT_FILES = re.compile(r"(dataset|datasets\..+)\.(allow|root)")
# Keys of which a run may be asked for more.
GROWING_LISTS = ("algorithms", "held_out", "seeds")
GROWING = ("search.trials", *GROWING_LISTS, "datasets")


def resolved(sweep: Sweep) -> dict[str, Any]:
    """The sweep file with every key: defaults, held-out domains and all ranges.

    A batch size that the space does not name stays under `training`, and a dataset's own keys of
    `training` stay under the dataset.
    """
    data = sweep.model_dump(mode="json")
    parts = by_dataset(sweep)
    if sweep.dataset is not None:
        data["training"] = parts[sweep.dataset.name].training.model_dump(mode="json")
        data["dataset"]["originals"] = parts[sweep.dataset.name].dataset.originals
        del data["datasets"]
        data["held_out"] = written(held_out_domains(parts[sweep.dataset.name]))
    else:
        del data["dataset"]
        data["held_out"] = "all"
        for name, one in parts.items():
            given = data["datasets"][name]
            given["originals"] = one.dataset.originals
            given["held_out"] = written(held_out_domains(one))
            given["training"] = default_overrides(sweep.training, name) | given["training"]
    data["training"]["bn"] = batch_norm(sweep)
    one = next(iter(parts.values()))  # the same ranges for all
    data["search"]["space"] = {
        algorithm: {
            name: plain(range_)
            for name, range_ in study_space(one, algorithm).items()
            if name != "batch_size" or name in given_ranges(sweep, algorithm)
        }
        for algorithm in sweep.algorithms
    }
    return data


def as_yaml(sweep: Sweep) -> str:
    """The resolved sweep as a file that launches the same sweep again."""
    return yaml.dump(
        resolved(sweep),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        width=100,
        allow_unicode=True,
    )


@dataclass(frozen=True)
class Changes:
    """What a sweep asks for besides what a run was asked for.

    refused: what would make trials of the run others, or is less than it was asked for, as in
    `differences`. more: what adds studies or trials. other: what else a run may change. Of both,
    the keys in the order of the file, such as `search.trials 4 -> 8` and `seeds + [1, 2]`.
    """

    refused: tuple[str, ...]
    more: tuple[str, ...]
    other: tuple[str, ...]


def differences(here: Sweep, there: Sweep) -> list[str]:
    """What a run cannot take, in the order of the file: `search.trials: 8 here, 20 in the run`."""
    return list(changes(here, there).refused)


def changes(here: Sweep, there: Sweep) -> Changes:
    """How a sweep differs from the sweep of a run, by dataset, so that either may list several."""
    ours, theirs = by_dataset(here), by_dataset(there)
    both = {*here.algorithms} & {*there.algorithms}
    reduced = there.search.seed_reduction is not None or there.search.objective_over != "none"
    refused, more, other = dict[str, None](), dict[str, None](), dict[str, None]()
    if any(name not in ours for name in theirs):
        refused[f"datasets: {show([*ours])} here, {show([*theirs])} in the run"] = None
    for name in [name for name in ours if name in theirs]:
        for key, new, old in _differing(ours[name], theirs[name]):
            shown = dotted(path_in_file(here, name, tuple(key.split("."))))
            if _is_free(key, new, old):
                if not key.endswith(".root"):  # elsewhere in each job, perhaps
                    other[f"{shown} {_shown(old)} -> {_shown(new)}"] = None
            elif (added := _added(key, new, old, both, reduced)) is None:
                order = key == "seeds" and {*old} <= {*new}
                hint = " (keep these first, in their order)" * order
                refused[f"{shown}: {_shown(new)} here, {_shown(old)} in the run{hint}"] = None
            elif added:
                more[f"{shown} {added}"] = None
    new_datasets = [name for name in ours if name not in theirs]
    if new_datasets:
        more[f"datasets + {show(new_datasets, None)}"] = None
    return Changes(tuple(refused), tuple(more), tuple(other))


NOTHING = object()


def _is_free(key: str, new: Any, old: Any) -> bool:
    if key == "search.keep_weights":  # less would delete what is there
        kept, keeps = (math.inf if most is None else most for most in map(most_kept, (old, new)))
        # A file of weights does not say whether it has the last ones.
        return "last" not in (new, old) and keeps >= kept
    if key == "resources.gpu":  # its share; without one, trials compute elsewhere
        return bool(new and old)
    return key.startswith(FREE) or ABOUT_FILES.fullmatch(key) is not None


def _differing(here: Sweep, there: Sweep) -> Iterator[tuple[str, Any, Any]]:
    """Each key with another value, here and there; NOTHING where there is no such key."""
    ours, theirs = dict(_leaves(resolved(here))), dict(_leaves(resolved(there)))
    for key in {**ours, **theirs}:
        new, old = ours.get(key, NOTHING), theirs.get(key, NOTHING)
        if new is NOTHING or old is NOTHING or new != old:
            yield key, new, old


def _added(key: str, new: Any, old: Any, algorithms: Collection[str], reduced: bool) -> str | None:
    """What a key asks for in addition, in words; empty if it says nothing else; None if it does.

    algorithms: those of both sweeps. reduced: whether later seeds wait for the first.
    """
    if key == "search.trials":
        return f"{old} -> {new}" if new > old else None
    if key in GROWING_LISTS:
        added = [value for value in new if value not in old]
        kept = [value for value in new if value in old]
        if len(kept) < len(old):
            return None
        if key == "seeds" and reduced and new[: len(old)] != old:
            return None
        return f"+ {show(added, None)}" if added else ""
    section, _, algorithm = key.rpartition(".")[0].rpartition(".")
    one_has_it = section == "search.space" and algorithm not in algorithms
    return "" if one_has_it else None  # of the algorithm itself `algorithms` tells


class _Dumper(yaml_file.Dumper):
    """Writes a range on one line."""

    def represent_mapping(
        self, tag: str, mapping: Any, flow_style: bool | None = None
    ) -> yaml.MappingNode:
        return super().represent_mapping(tag, mapping, flow_style or _is_range(mapping) or None)


def _is_range(mapping: Mapping[str, Any]) -> bool:
    return bool(mapping) and mapping.keys() <= set(KINDS)


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and not _is_range(value):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _shown(value: Any) -> str:
    return "nothing" if value is NOTHING else show(value)
