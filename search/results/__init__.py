"""The results of runs in pandas, finished or not; needs neither Ray nor torch.

    from search import results
    found = results.load("runs/pacs")              # or a URI, or several runs
    found.trials, found.evaluations, found.selection
    results.select(found, "worst-source-domain")   # the winner of each study
    results.summary(found, by="dataset").frame()   # the tables, a row per cell
    results.compare(found, "SAGM", "ERM")          # paired differences
    results.ranks(found)                           # mean ranks
    results.importance(found)                      # which hyperparameter matters

Only `importance` needs Optuna.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from search.errors import UserError
from search.nearest import way_out
from search.results import plain_sweep, published_tables, selection
from search.results.plain_sweep import Sweep
from search.results.result_frames import categorical, joined
from search.results.summaries import BY, Summary, summarize
from search.run import tables
from search.run.run_folder import TRIALS, RunFolder

if TYPE_CHECKING:
    from search.results.mean_ranks import Ranks


@dataclass(frozen=True)
class Results:
    """The tables of one run, or of several together, as they stood when they were read.

    trials, evaluations: as docs/files.md has them; texts that repeat are categories, in the order
    of the sweep. sweeps: each run's sweep.yaml, by the run's name. unfinished: studies that have
    not ended.
    """

    trials: pd.DataFrame
    evaluations: pd.DataFrame
    sweeps: Mapping[str, Sweep]
    unfinished: frozenset[str]

    @cached_property
    def selection(self) -> pd.DataFrame:
        """The winner of every study by every selection method, as in selection.parquet."""
        return _select(self, selection.METHODS)


def load(*runs: str | os.PathLike[str]) -> Results:
    """The results of a run folder or URI, or of several runs as if they were one.

    Raises UserError for what is not a run, and for two runs that hold the same study: which of
    its trials were chosen among would be told by no table.
    """
    if not runs:
        raise UserError("name at least one run, such as runs/quickstart")
    sweeps: dict[str, Sweep] = {}
    holder: dict[str, str] = {}
    trials, evaluations, ended = [], [], set[str]()
    for run in runs:
        folder = RunFolder.existing(run)
        sweep = plain_sweep.read(folder)
        for study in plain_sweep.asked_studies(sweep):
            if study["study"] in holder:
                raise UserError(
                    f"{holder[study['study']]} and {folder.uri} both hold the study "
                    f"{study['study']}, and two searches are not mixed; load one at a time"
                )
        holder |= {study["study"]: folder.uri for study in plain_sweep.asked_studies(sweep)}
        sweeps[folder.name if folder.name not in sweeps else folder.uri] = sweep
        ended |= {file.removesuffix(".parquet") for file in folder.list(TRIALS)}
        # In this order: a trial in `trials` has all of its evaluations.
        trials.append(tables.read_trials(folder))
        evaluations.append(tables.read_evaluations(folder))
    asked = _asked(sweeps)
    return Results(
        categorical(joined(trials), asked),
        categorical(joined(evaluations), asked),
        sweeps,
        frozenset(study["study"] for study in asked if study["study"] not in ended),
    )


def select(results: Results, method: str = "training-domain") -> pd.DataFrame:
    """The winner of every study by one selection method: the columns of selection.parquet.

    Raises UserError for an unknown method.
    """
    return _select(results, [method])


def summary(
    results: Results,
    by: str = "held-out",
    methods: Sequence[str] = ("training-domain",),
    published: bool = False,
) -> Summary:
    """The result tables, with held-out domains, datasets or selection methods across (`by`).

    `published` sets the numbers of papers beside them. Raises UserError for an unknown method or
    another `by`.
    """
    if by not in BY:
        raise UserError(f"results are not listed by {by!r}: {way_out(by, BY)}")
    found = summarize(_select(results, methods), by)
    noted = tuple(
        replace(
            table,
            notes=(*table.notes, *about_runs(results, (c.dataset for c in table.columns))),
        )
        for table in found.tables
    )
    if published:
        noted = tuple(published_tables.beside(table) for table in noted)
    return replace(found, tables=noted)


def about_runs(results: Results, datasets: Iterable[str]) -> list[str]:
    """What a table over these datasets must say of the runs that it is made from."""
    notes = []
    datasets = dict.fromkeys(datasets)
    studies = [study for study in _asked(results.sweeps) if study["dataset"] in datasets]
    going_on = sum(study["study"] in results.unfinished for study in studies)
    if going_on:
        notes.append(f"not final: {going_on} of {len(studies)} studies have not ended")
    for dataset in datasets:
        for difference in plain_sweep.differences(results.sweeps, dataset):
            notes.append(f"trained differently on {dataset}: {difference}")
    return notes


def compare(results: Results, a: str, b: str, method: str = "training-domain") -> pd.DataFrame:
    """By how much algorithm `a` is better than `b`, in pairs: see search.results.paired.

    Raises UserError for an algorithm that is not there, and if there are too few pairs.
    """
    from search.results import paired  # late: scipy

    return paired.compare(select(results, method), [a], b)


def ranks(results: Results, method: str = "training-domain") -> Ranks:
    """The mean ranks of all algorithms and whether they differ: see search.results.mean_ranks.

    Raises UserError if there are too few algorithms or too few studies.
    """
    from search.results import mean_ranks  # late: scipy

    return mean_ranks.ranks(select(results, method))


def importance(results: Results) -> pd.DataFrame:
    """How much each hyperparameter mattered to the search objective.

    The one function here that loads Optuna; see hyperparameter_importance.py. Raises UserError if
    there are too few trials.
    """
    from search.results.hyperparameter_importance import importance as found  # late: Optuna

    return found(results.trials, results.sweeps)


def _select(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    asked = _asked(results.sweeps)
    found = selection.select(results.trials, results.evaluations, methods, asked)
    return categorical(found, asked)


def _asked(sweeps: Mapping[str, Sweep]) -> list[dict[str, Any]]:
    return [study for sweep in sweeps.values() for study in plain_sweep.asked_studies(sweep)]
