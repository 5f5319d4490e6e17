"""What a report is made of: the tables of a run, and what else its folder knows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from search import results
from search.errors import UserError
from search.results.plain_sweep import Sweep, asked_studies
from search.run.run_folder import MANIFEST, SWEEP, RunFolder
from search.space.ranges import Range, different_settings, parse_range
from search.study.seed_promotion import most_settings
from search.study.spending import Limit


@dataclass(frozen=True)
class Run:
    """A run at one moment. The frames have the columns of docs/files.md.

    `selection` holds one or more methods, `method` among them, and a row for each study that the
    sweep asks for. `sweep`: its sweep.yaml, `configuration` as text.
    """

    name: str
    location: str
    sweep: Sweep
    configuration: str
    manifest: Mapping[str, Any]
    trials: pd.DataFrame
    evaluations: pd.DataFrame
    selection: pd.DataFrame
    method: str
    read: datetime
    unfinished: frozenset[str]
    budget: Sequence[Limit]

    @property
    def datasets(self) -> list[str]:
        """In the order of the sweep."""
        return [str(name) for name in dict.fromkeys(self.selection["dataset"])]

    @property
    def algorithms(self) -> list[str]:
        """In the order of the sweep."""
        return [str(name) for name in dict.fromkeys(self.selection["algorithm"])]

    @property
    def main(self) -> pd.DataFrame:
        """The selection by `method`, which is what the report answers by."""
        return self.selection[self.selection["method"] == self.method]

    @property
    def chosen(self) -> pd.DataFrame:
        """Its winners; a study without one has no row."""
        return self.main[self.main["trial"].notna()]

    @property
    def planned(self) -> int:
        """Trials that the sweep asks for; of studies that have ended, those they had."""
        had = self.trials["study"].value_counts()
        seeds, factor = list(self.sweep["seeds"]), self.sweep["search"].get("seed_reduction")
        return sum(
            most_settings(self._budget(study["algorithm"]), factor, seeds.index(study["seed"]))
            if study["study"] in self.unfinished
            else int(had.get(study["study"], 0))
            for study in asked_studies(self.sweep)
        )

    def space(self, algorithm: str) -> dict[str, Range]:
        """The ranges of an algorithm's hyperparameters."""
        written = self.sweep["search"]["space"].get(algorithm, {})
        return {name: parse_range(range_) for name, range_ in written.items()}

    def _budget(self, algorithm: str) -> int:
        # As search.study.study_space.budget, of the ranges that stand in sweep.yaml.
        trials = int(self.sweep["search"]["trials"])
        most = different_settings(self.space(algorithm))
        return trials if most is None else min(trials, most)


def read(location: str) -> Run:
    """A run as it stands, complete or not. Raises UserError if there is none, or it is damaged."""
    folder = RunFolder.existing(location)
    found = results.load(location)
    (sweep,) = found.sweeps.values()
    return Run(
        name=str(sweep["name"]),
        location=folder.uri.partition("?")[0],
        sweep=sweep,
        configuration=folder.read_bytes(SWEEP).decode(),
        manifest=_manifest(folder),
        trials=found.trials,
        evaluations=found.evaluations,
        selection=found.selection,
        method=found.method,
        read=datetime.now(UTC),
        unfinished=found.unfinished,
        budget=next(iter(found.budgets.values())),
    )


def _manifest(folder: RunFolder) -> dict[str, Any]:
    try:
        return dict(json.loads(folder.read_bytes(MANIFEST)))
    except FileNotFoundError:
        return {}  # nothing has begun
    except (ValueError, TypeError) as error:
        raise UserError(f"{folder.path(MANIFEST)} is damaged: {error}; put a copy back") from error
