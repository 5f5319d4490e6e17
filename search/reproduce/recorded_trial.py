"""A trial as the tables of its run record it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from search.checks.load_sweep import roots_of, sweep_of
from search.errors import SteppeError, nearest
from search.run import lease, tables
from search.run.columns import FINAL_WEIGHTS
from search.run.run_folder import RunFolder
from search.study.plan import StudyPlan, TrialSpec, plans
from search.study.study import title_of
from search.sweep.schema import Sweep


@dataclass(frozen=True)
class RecordedTrial:
    """A trial that has ended: its spec and its rows.

    row: of `trials`. evaluations: of its own run, not of its folds; `weights` is never null.
    """

    spec: TrialSpec
    row: Mapping[str, Any]
    evaluations: pd.DataFrame

    @property
    def name(self) -> str:
        """Its name in files and tables."""
        return self.spec.trial

    @property
    def plan(self) -> StudyPlan:
        """The plan of its study."""
        return self.spec.plan

    @property
    def settings(self) -> str:
        """Its hyperparameters on one line."""
        return ", ".join(f"{key} {value}" for key, value in self.spec.values.items())

    @property
    def averaged(self) -> bool:
        """Whether its result is an average of its weights, or of a second stage."""
        return self.result != "iterate"

    @property
    def result(self) -> str:
        """Which weights are its result: `iterate`, `average` or `retrained`."""
        kinds = set(self.evaluations["weights"].dropna())
        return next((kind for kind in reversed(FINAL_WEIGHTS) if kind in kinds), "iterate")


@dataclass(frozen=True)
class EndedRun:
    """A run that no driver works on, and its tables."""

    folder: RunFolder
    sweep: Sweep
    trials: pd.DataFrame
    evaluations: pd.DataFrame

    @cached_property
    def plans(self) -> dict[str, StudyPlan]:
        """The plan of each study, by the study's id."""
        return plans(self.sweep)

    def full_name(self, given: str, kinds: Iterable[str] = ("trial",)) -> str:
        """The full name of the one trial that is called `given`, or ends in it.

        kinds: columns of `trials` that are searched. A domain may be given as tables print it, or
        as names of files have it.

        Raises SteppeError if there is no such name, or more than one.
        """
        words, place = " or ".join(kinds), self.folder.uri
        titles = self._titles(kinds)
        if given in set(self.evaluations["trial"]) and not meant_by(given, titles):
            raise SteppeError(
                f"{given} has not ended: `python -m search resume {place}` continues it"
            )
        return one_name(given, titles, f"there is no {words} {given} in {place}")

    def _titles(self, kinds: Iterable[str]) -> dict[str, str]:
        """What tables print of each trial or study, joined by dots, by its name."""
        studies = self.trials.drop_duplicates("study").to_dict("records")
        of_study = {str(row["study"]): title_of(row) for row in studies}
        rows = self.trials[["trial", "study", "number"]].itertuples(index=False)
        of_trial = {str(trial): f"{of_study[str(study)]}.{number}" for trial, study, number in rows}
        found = {"study": of_study, "trial": of_trial}
        return {name: title for kind in kinds for name, title in found[kind].items()}

    def trial(self, name: str) -> RecordedTrial:
        """The trial of a full name."""
        row = plain(self.trials[self.trials["trial"] == name].iloc[0])
        own = self.evaluations[self.evaluations["trial"] == name]
        if "fold" in own:
            own = own[own["fold"].isna()]
        own = own.assign(weights=own["weights"].astype(object).fillna("iterate"))
        return RecordedTrial(self.spec(row), row, own)

    def spec(self, row: Mapping[str, Any]) -> TrialSpec:
        """What the trial of a row of `trials` did; the row has plain values."""
        # Tables have doubles and 64-bit integers, so the values are exactly those suggested.
        values = {
            key.removeprefix("hp_"): value
            for key, value in row.items()
            if key.startswith("hp_") and value is not None
        }
        return self.plans[row["study"]].trial(row["number"], values)


def one_name(given: str, titles: Mapping[str, str], missing: str) -> str:
    """The one name that is called `given`, or ends in it, or whose title does.

    titles: of each name, what tables print. missing: the beginning of the message if there is none.
    Raises SteppeError if there is no such name, or more than one.
    """
    ending = meant_by(given, titles)
    if len(ending) == 1:
        return ending[0]
    if ending:
        more = f" and {len(ending) - 3} more" if len(ending) > 3 else ""
        raise SteppeError(
            f"{given} is the end of {', '.join(ending[:3])}{more}; give more of the name"
        )
    short = {name.split(".", 2)[-1]: name for name in titles}  # without dataset and model
    close = nearest(given, titles) or short.get(nearest(given, short) or "")
    some = f"there are {len(titles)}, such as {next(iter(titles))}"
    raise SteppeError(f"{missing}; {f'did you mean {close}?' if close else some}")


def meant_by(given: str, titles: Mapping[str, str]) -> list[str]:
    """The name `given`, or that with this title, or else those that end in it or whose title does.

    titles: of each name, what tables print.
    """
    whole = [given] if given in titles else [n for n, title in titles.items() if title == given]
    return whole or [
        name
        for name, title in titles.items()
        if name.endswith(f".{given}") or title.endswith(f".{given}")
    ]


def ended_run(run: str, root: Path | None = None) -> EndedRun:
    """The run of a folder or URI. root: where its images lie now, if they have moved.

    Raises SteppeError if there is none, if a driver works on it, or if it cannot be read.
    """
    folder = RunFolder.existing(run)
    holder = lease.read(folder)
    if holder is not None and holder.alive:
        raise SteppeError(
            f"{folder.uri} is going on, driven by process {holder.pid} on {holder.host}; wait for "
            "its end, or stop it first"
        )
    trials, evaluations = tables.read_trials(folder), tables.read_evaluations(folder)
    if trials.empty:
        raise SteppeError(f"no trial of {folder.uri} has ended")
    sweep = sweep_of(folder, roots_of(folder, root))
    tables.check_studies(folder, sweep, trials)
    return EndedRun(folder, sweep, trials, evaluations)


def plain(row: pd.Series[Any]) -> dict[str, Any]:
    """Plain values by column; what is null is None."""

    def value_of(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return value
        return None if pd.isna(value) else value.item() if hasattr(value, "item") else value

    return {str(key): value_of(value) for key, value in row.items()}
