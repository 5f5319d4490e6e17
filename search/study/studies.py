"""The studies of a sweep: what may be compared with what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import datasets
from search.space.ranges import Range, different_settings
from search.study.study import Study as Study
from search.sweep.per_dataset import DatasetSweep, by_dataset
from search.sweep.schema import Sweep


def studies(sweep: Sweep) -> tuple[Study, ...]:
    """All studies of a sweep, by dataset, algorithm, held-out domain and seed.

    They come in the order of the file. Where it has the held-out domains written out, as that of a
    run, no dataset is opened.
    """
    return tuple(
        Study(dataset, sweep.model.name, algorithm, domain, seed, sweep.in_earlier_run)
        for dataset, one in by_dataset(sweep).items()
        for algorithm in sweep.algorithms
        for domain in held_out_domains(one)
        for seed in sweep.seeds
    )


def asked_studies(sweep: Sweep) -> list[dict[str, Any]]:
    """The study columns of all tables, a mapping for each study of a sweep."""
    return [{"sweep": sweep.name, "study": s.id, **s.columns} for s in studies(sweep)]


def held_out_domains(one: DatasetSweep) -> tuple[str, ...]:
    """The domains of a dataset that are held out, `all` spelled out in its order."""
    if one.held_out == "all":
        return datasets.describe(one.dataset.name, one.dataset.root).domains
    return one.held_out


def trials_per_study(asked: int, space: Mapping[str, Range]) -> int:
    """Trials of a study: as many as are asked for, or as there are settings to try."""
    # The same seed makes the same run of a setting: trying it again would tell nothing.
    most = different_settings(space)
    return asked if most is None else min(asked, most)
