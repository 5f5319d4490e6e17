"""The studies of a sweep: what may be compared with what."""

from __future__ import annotations

from typing import Any

import datasets
from search.study.study import Study as Study
from search.sweep.per_dataset import OneDataset, by_dataset
from search.sweep.schema import Sweep


def studies(sweep: Sweep) -> tuple[Study, ...]:
    """All studies of a sweep, by dataset, algorithm, held-out domain and seed, in the order of its
    file."""
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


def held_out_domains(one: OneDataset) -> tuple[str, ...]:
    """The domains of a dataset that are held out, `all` spelled out in its order."""
    if one.held_out == "all":
        return datasets.describe(one.dataset.name, one.dataset.root).domains
    return one.held_out
