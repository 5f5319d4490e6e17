"""What a report is made of: the tables of a run, and what else its folder holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import pandas as pd

from search import results
from search.results import Results, accuracy_line
from search.results.loading import LoadedRun, ranges_of
from search.results.scored_trials import scored
from search.run import manifest
from search.run.run_folder import SWEEP, RunFolder
from search.space.ranges import Range
from search.study.study import max_settings, trials_per_study
from search.sweep.schema import Sweep

FIRST = ("rho", "alpha", "lr")  # what readers look for first


@dataclass(frozen=True, kw_only=True)
class ReportedRun(Results):
    """The results of one run at one moment, under the name of its sweep.

    configuration: its sweep.yaml as text. read: when.
    """

    location: str
    configuration: str
    manifest: Mapping[str, Any]
    read: datetime

    @property
    def loaded(self) -> LoadedRun:
        """The run."""
        (run,) = self.runs.values()
        return run

    @property
    def name(self) -> str:
        """The name of its sweep."""
        return self.loaded.name

    @property
    def sweep(self) -> Sweep:
        """Its sweep.yaml."""
        return self.loaded.sweep

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
        """The selection by `method`, from which the report answers."""
        return self.selection[self.selection["method"] == self.method]

    @property
    def winners(self) -> pd.DataFrame:
        """The trials that `method` selected; a study without one has no row."""
        return self.main[self.main["trial"].notna()]

    @cached_property
    def selected(self) -> set[str]:
        """The names of the winners."""
        return set(self.winners["trial"])

    @property
    def planned(self) -> int:
        """Trials that the sweep asks for; of studies that have ended, those they had."""
        had = self.trials["study"].value_counts()
        seeds, search = list(self.sweep.seeds), self.sweep.search
        count = 0
        for study in self.loaded.studies.values():
            if study.id in self.loaded.unfinished:
                trials = trials_per_study(search.trials, self.space(study.algorithm))
                count += max_settings(trials, search.seed_reduction, seeds.index(study.seed))
            else:
                count += int(had.get(study.id, 0))
        return count

    def space(self, algorithm: str) -> Mapping[str, Range]:
        """The ranges of an algorithm's hyperparameters."""
        return ranges_of(self.sweep, algorithm)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Its completed trials with their scores, see `scored`."""
        return scored(self.trials, self.evaluations)

    @cached_property
    def comparable(self) -> pd.DataFrame:
        """The trials by which validation is judged, see `accuracy_line.points`."""
        return accuracy_line.points(self.trials, self.evaluations, self.scores)

    @cached_property
    def lines(self) -> pd.DataFrame:
        """The line of each held-out domain, see `accuracy_line.lines`."""
        return accuracy_line.lines(self.comparable, self.trials)


def read(location: str) -> ReportedRun:
    """A run as it stands, complete or not.

    Raises SteppeError if there is none, or it is damaged.
    """
    folder = RunFolder.existing(location)
    found = results.load(location)
    (run,) = found.runs.values()
    name = run.sweep.name
    return ReportedRun(
        **vars(replace(found, runs={name: replace(run, name=name)})),
        location=folder.uri.partition("?")[0],
        configuration=folder.read_bytes(SWEEP).decode(),
        manifest=manifest.read(folder) or {},
        read=datetime.now(UTC),
    )


def searched(trials: pd.DataFrame) -> list[str]:
    """Hyperparameters that differ between these trials; rho, alpha and lr come first."""
    columns = [str(column) for column in trials if str(column).startswith("hp_")]
    names = [name.removeprefix("hp_") for name in columns if trials[name].nunique() > 1]
    return [name for name in FIRST if name in names] + [n for n in names if n not in FIRST]
