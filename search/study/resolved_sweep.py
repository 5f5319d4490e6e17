"""A sweep with every key written out, and how two sweeps differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from search import yaml_file
from search.space.ranges import KINDS, plain
from search.study.study import held_out_domains
from search.study.study_space import given_ranges, study_space
from search.sweep.config_errors import show
from search.sweep.fields import written
from search.sweep.model_layers import batch_norm
from search.sweep.per_dataset import by_dataset, default_overrides
from search.sweep.schema import Sweep

# Keys that a resumed sweep may change.
FREE = ("search.budget.", "search.study_budget.", "search.combine", "track")
ALLOW = re.compile(r"dataset\.allow|datasets\..+\.allow")


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
    data["training"]["bn"] = batch_norm(sweep, sweep.training)
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


def differences(here: Sweep, there: Sweep) -> list[str]:
    """What differs, in the order of the file: `search.trials: 8 here, 20 in the run`.

    Budgets, trackers, combinations and accepted faults of a dataset's files are left out: a run may
    change them, and fingerprints show whether the images are the same.
    """
    return [
        text
        for key, text in _differences(here, there)
        if not key.startswith(FREE) and ALLOW.fullmatch(key) is None
    ]


def differ(here: Sweep, there: Sweep) -> bool:
    """Whether anything differs."""
    return any(_differences(here, there))


def _differences(here: Sweep, there: Sweep) -> Iterator[tuple[str, str]]:
    ours, theirs = dict(_leaves(resolved(here))), dict(_leaves(resolved(there)))
    for key in {**ours, **theirs}:
        if key not in ours or key not in theirs or ours[key] != theirs[key]:
            yield key, f"{key}: {_shown(ours, key)} here, {_shown(theirs, key)} in the run"


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


def _shown(leaves: Mapping[str, Any], key: str) -> str:
    return show(leaves[key]) if key in leaves else "nothing"
