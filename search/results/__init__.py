"""The results of runs in pandas, finished or not; needs neither Ray nor torch.

    from search import results
    found = results.load("runs/pacs")              # or a URI, or several runs
    found.trials, found.evaluations, found.selection
    results.select(found, "worst-source-domain")   # the winner of each study
    results.summary(found, by="dataset").frame()   # the tables, a row per cell
    results.compare(found, "SAGM", "ERM")          # paired differences, with intervals
    results.compare_best(found)                    # the best against each other
    results.ranks(found)                           # mean ranks
    results.importance(found)                      # which hyperparameter matters
    results.pareto(found)                          # the fronts of a search with two objectives
    results.at_cost(found, 5000)                   # the same runs, each cut off at 5000 passes

Only `importance` needs Optuna.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from search.errors import UserError
from search.nearest import way_out
from search.results import plain_sweep, published_tables, selection
from search.results.budget_notes import about_ending, spent, untried
from search.results.plain_sweep import Sweep
from search.results.provenance import about_origins
from search.results.result_frames import categorical, joined
from search.results.run_objectives import main_method
from search.results.summaries import BY, Summary, summarize
from search.results.told_apart import Difference, Part, told_apart
from search.run import manifest, tables
from search.run.run_folder import RunFolder
from search.study.spending import Limit


@dataclass(frozen=True)
class Results:
    """The tables of one run, or of several together, as they stood when they were read.

    trials, evaluations: as docs/files.md has them; texts that repeat are categories, in the order
    of the sweep. sweeps: each run's sweep.yaml, by the run's name. unfinished: studies that have
    not ended. budgets: by run, the limits of its budget. passes: the cost at which every training
    run is cut off, None if it is not: see `at_cost`. apart: which runs were told apart, and why.
    """

    trials: pd.DataFrame
    evaluations: pd.DataFrame
    sweeps: Mapping[str, Sweep]
    unfinished: frozenset[str]
    budgets: Mapping[str, Sequence[Limit]]
    passes: float | None = None
    apart: Sequence[Difference] = ()

    @property
    def method(self) -> str:
        """The selection method where none is named: that of the search's objective."""
        return main_method(self.sweeps.values())

    @cached_property
    def selection(self) -> pd.DataFrame:
        """The winner of every study by every selection method, as in selection.parquet."""
        return _select(self, selection.METHODS)


def load(*runs: str | os.PathLike[str]) -> Results:
    """The results of a run folder or URI, or of several runs as if they were one.

    Runs that differ in data, model, training or search keep rows of their own, named after the run
    (told_apart.py). Raises UserError for what is not a run, for one that is given twice, and for
    two runs that hold the same study.
    """
    if not runs:
        raise UserError("name at least one run, such as runs/quickstart")
    folders: dict[str, RunFolder] = {}
    for run in runs:
        folder = RunFolder.existing(run)
        place = os.path.realpath(folder.root) if folder.local else folder.uri
        if place in folders:
            raise UserError(f"the run {folder.uri} is given twice; name it once")
        folders[place] = folder
    parts: list[Part] = []
    budgets: dict[str, Sequence[Limit]] = {}
    for folder in folders.values():
        sweep = plain_sweep.read(folder)
        # In this order: a trial in `trials` has all of its evaluations.
        ended = frozenset(tables.ended_studies(folder))
        trials = tables.read_trials(folder)
        evaluations = tables.read_evaluations(folder)
        name = folder.name if folder.name not in budgets else folder.uri
        budgets[name] = spent(folder, sweep, trials)
        data = manifest.fingerprints(folder) if len(folders) > 1 else {}
        parts.append(Part(name, sweep, trials, evaluations, data, ended))
    apart: list[Difference] = []
    if len(parts) > 1:
        parts, apart = told_apart(parts)
    sweeps = {part.run: part.sweep for part in parts}
    ended = frozenset(study for part in parts for study in part.ended)
    asked = _asked(sweeps)
    return Results(
        categorical(joined([part.trials for part in parts]), asked),
        categorical(joined([part.evaluations for part in parts]), asked),
        sweeps,
        frozenset(study["study"] for study in asked if study["study"] not in ended),
        budgets,
        apart=tuple(apart),
    )


def at_cost(results: Results, passes: float) -> Results:
    """The results as if each training run had ended after so many passes (equal_cost.py).

    Raises UserError for tables without passes.
    """
    from search.results.equal_cost import cut

    return replace(results, evaluations=cut(results.evaluations, passes), passes=passes)


def select(results: Results, method: str | None = None) -> pd.DataFrame:
    """The winner of every study by one selection method: the columns of selection.parquet.

    Without a method by `results.method`, here as below.

    Raises UserError for an unknown method.
    """
    return _select(results, [method or results.method])


def summary(
    results: Results,
    by: str = "held-out",
    methods: Sequence[str] | None = None,
    published: bool = False,
) -> Summary:
    """The result tables, with held-out domains, datasets or selection methods across (`by`).

    `published` sets the numbers of papers beside them. Raises UserError for an unknown method or
    another `by`.
    """
    if by not in BY:
        raise UserError(f"results are not listed by {by!r}: {way_out(by, BY)}")
    found = summarize(_select(results, [results.method] if methods is None else methods), by)
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
    if results.passes is not None:
        notes.append(
            f"at equal cost: of each completed trial, what it had reached after {results.passes:g} "
            "forward and backward passes"
        )
    datasets = dict.fromkeys(datasets)
    studies = [study for study in _asked(results.sweeps) if study["dataset"] in datasets]
    going_on = 0
    for name, sweep in results.sweeps.items():
        own = results.trials[results.trials["sweep"] == sweep["name"]]
        here = [s for s in plain_sweep.asked_studies(sweep) if s["dataset"] in datasets]
        if not here:
            continue
        notes += about_origins(name, sweep, own)
        budget = results.budgets[name]
        notes += about_ending(name, sweep, here, results.unfinished, own, budget)
        if not any(limit.reached for limit in budget):
            going_on += sum(study["study"] in results.unfinished for study in here)
    if going_on:
        notes.insert(0, f"not final: {going_on} of {len(studies)} studies have not ended")
    notes += [found.text for found in results.apart if found.datasets & datasets.keys()]
    for dataset in datasets:
        for difference in plain_sweep.differences(results.sweeps, dataset):
            notes.append(f"trained differently on {dataset}: {difference}")
    return notes


def compare(
    results: Results, a: str | Sequence[str], b: str, method: str | None = None
) -> pd.DataFrame:
    """By how much algorithm `a`, or each of several, is better than `b`: see search.results.paired.

    The intervals hold for all that are named in `a` together. Raises UserError for an algorithm
    that is not there, and if no pair has results of both.
    """
    from search.results import paired

    return paired.compare(select(results, method), [a] if isinstance(a, str) else a, b)


def compare_best(results: Results, method: str | None = None) -> pd.DataFrame:
    """By how much the best algorithm is better than each other: see search.results.paired."""
    from search.results import paired

    return paired.compare_best(select(results, method))


def ranks(results: Results, method: str | None = None) -> pd.DataFrame:
    """The mean ranks of all algorithms, a row each, and whether they differ: the columns of
    search.results.mean_ranks.Ranks.

    Raises UserError if there are too few algorithms with results.
    """
    from search.results import mean_ranks

    found = mean_ranks.ranks(select(results, method))
    return pd.concat([ranks.frame() for ranks in found], ignore_index=True)


def importance(results: Results) -> pd.DataFrame:
    """How much each hyperparameter mattered to the search objective.

    The one function here that loads Optuna; see hyperparameter_importance.py. Raises UserError if
    there are too few trials.
    """
    from search.results.hyperparameter_importance import importance as found

    _check_whole(results)
    return found(results.trials, results.sweeps)


def pareto(results: Results) -> pd.DataFrame:
    """The front of each study of a search with two objectives: see search.results.fronts.

    Raises UserError if there is none.
    """
    from search.results.fronts import pareto as found

    _check_whole(results)
    return found(results.trials, results.sweeps)


def _check_whole(results: Results) -> None:
    if results.passes is not None:
        raise UserError("values of the objective are of whole trials; ask without a limit of cost")


def _select(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    asked = _asked(results.sweeps)
    ended = {study["study"] for study in asked} - results.unfinished
    why: dict[str, str] = {}
    for sweep in results.sweeps.values():
        why |= untried(sweep, plain_sweep.asked_studies(sweep), results.trials, ended)
    found = selection.select(results.trials, results.evaluations, methods, asked, why)
    if results.passes is not None:
        within = f" within {results.passes:g} passes"
        found["reason"] = [
            reason + within if str(reason).startswith("no completed trial has") else reason
            for reason in found["reason"]
        ]
    return categorical(found, asked)


def _asked(sweeps: Mapping[str, Sweep]) -> list[dict[str, Any]]:
    return [study for sweep in sweeps.values() for study in plain_sweep.asked_studies(sweep)]
