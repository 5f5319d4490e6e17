"""The studies of a sweep: what may be compared with what."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

import datasets
from search.config import Sweep
from search.errors import UserError


@dataclass(frozen=True)
class Study:
    """The search for one (dataset, model, algorithm, held-out domain, seed)."""

    dataset: str
    model: str
    algorithm: str
    held_out: str
    seed: int

    @property
    def id(self) -> str:
        """Name in files, tables and storages: `RotatedDigits.cnn.DISAM+SAGM.75.0`."""
        parts = (self.dataset, self.model, self.algorithm, self.held_out, str(self.seed))
        return ".".join(re.sub(r"[^A-Za-z0-9_+-]", "_", part) for part in parts)


def studies(sweep: Sweep) -> tuple[Study, ...]:
    """All studies of a sweep, by algorithm, held-out domain and seed, in the order of its file.

    Raises UserError if two domains have names that no file name can tell apart.
    """
    found = tuple(
        Study(sweep.dataset.name, sweep.model.name, algorithm, domain, seed)
        for algorithm in sweep.algorithms
        for domain in held_out_domains(sweep)
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


def held_out_domains(sweep: Sweep) -> tuple[str, ...]:
    """The domains held out, `all` spelled out in the dataset's order."""
    if sweep.held_out == "all":
        return datasets.describe(sweep.dataset.name, sweep.dataset.root).domains
    return sweep.held_out
