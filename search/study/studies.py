"""The studies of a sweep: what may be compared with what."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import datasets
from search.errors import UserError
from search.study.study import Study as Study
from search.sweep.per_dataset import OneDataset, by_dataset
from search.sweep.schema import Sweep


def studies(sweep: Sweep) -> tuple[Study, ...]:
    """All studies of a sweep, by dataset, algorithm, held-out domain and seed, in the order of its
    file.

    Raises UserError if two domains have names that no file name can tell apart.
    """
    found = tuple(
        Study(dataset, sweep.model.name, algorithm, domain, seed)
        for dataset, one in by_dataset(sweep).items()
        for algorithm in sweep.algorithms
        for domain in held_out_domains(one)
        for seed in sweep.seeds
    )
    by_id: dict[str, Study] = {}
    for study in found:
        other = by_id.setdefault(study.id, study)
        if other != study:
            raise UserError(
                f"the domains {other.held_out!r} and {study.held_out!r} of {study.dataset} would "
                "share the files of one study; rename one of them"
            )
    return found


def asked_studies(sweep: Sweep) -> list[dict[str, Any]]:
    """The study columns of all tables, a mapping for each study of a sweep."""
    return [{"sweep": sweep.name, "study": s.id, **asdict(s)} for s in studies(sweep)]


def held_out_domains(one: OneDataset) -> tuple[str, ...]:
    """The domains of a dataset that are held out, `all` spelled out in its order."""
    if one.held_out == "all":
        return datasets.describe(one.dataset.name, one.dataset.root).domains
    return one.held_out
