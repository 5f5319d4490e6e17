"""The results of runs in pandas, finished or not; needs neither Ray nor torch.

    from search import results
    found = results.load("runs/pacs")              # or a URI, or several runs
    found.trials, found.evaluations, found.selection
    results.select(found, "worst-source-domain")   # the winner of each study
    results.summary(found, by="dataset").frame()   # the tables, a row per cell
    results.compare(found, "SAGM", "ERM")          # paired differences, with intervals
    results.compare_best(found)                    # the best against each other
    results.ranks(found)                           # mean ranks
    results.behind(found)                          # cost, luck of the search, calibration
    results.on_the_line(found)                     # whether a domain can tell methods apart
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

from search.errors import SteppeError, way_out
from search.results import (
    accuracy_line,
    behind_numbers,
    comparison,
    fronts,
    notes,
    published_tables,
    selection,
)
from search.results.candidates import within_passes
from search.results.combined import combinations_of
from search.results.display_names import Difference, training_differences, with_display_names
from search.results.loading import (
    LoadedRun,
    categorical,
    in_tables,
    joined,
    main_method,
    read_run,
    run_folders,
    sweeps_of,
)
from search.results.summaries import BY, Summary, summarize
from search.results.winners import about_winners
from search.run import manifest
from search.space.ranges import show_number


@dataclass(frozen=True)
class Results:
    """The tables of one run, or of several together, as they stood when they were read.

    trials, evaluations: as docs/files.md has them; texts that repeat are categories, in the order
    of the sweep. runs: by name. passes: the cost at which every training run is cut off, None if it
    is not (see `at_cost`). combinations: soups and ensembles of kept networks, with the `label` of
    their row in tables. differences: why runs have rows or tables of their own.
    """

    trials: pd.DataFrame
    evaluations: pd.DataFrame
    runs: Mapping[str, LoadedRun]
    combinations: pd.DataFrame
    passes: float | None = None
    differences: Sequence[Difference] = ()

    @property
    def method(self) -> str:
        """The selection method where none is named: that of the search's objective."""
        return main_method(run.sweep for run in self.runs.values())

    @property
    def studies(self) -> Sequence[Mapping[str, Any]]:
        """The study columns of every study of the runs, in the order of the sweeps."""
        return [study for run in self.runs.values() for study in run.study_columns]

    @property
    def unfinished(self) -> frozenset[str]:
        """The studies that have not ended."""
        return frozenset().union(*(run.unfinished for run in self.runs.values()))

    @cached_property
    def selection(self) -> pd.DataFrame:
        """The winner of every study by every selection method, as in selection.parquet."""
        return _select(self, selection.METHODS)


def load(*runs: str | os.PathLike[str]) -> Results:
    """The results of a run folder or URI, or of several runs as if they were one.

    Runs that differ in data, model, training or search keep rows of their own
    (search.results.display_names). Raises SteppeError for what is not a run, for one that is given
    twice, and for two runs that hold the same study.
    """
    folders = run_folders(runs)
    loaded: dict[str, LoadedRun] = {}
    tables: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    for folder in folders:
        name = folder.name if folder.name not in loaded else folder.uri
        images = manifest.fingerprints(folder) if len(folders) > 1 else {}
        weights = manifest.weights_digest(folder) if len(folders) > 1 else None
        loaded[name], *own = read_run(folder, name, images, weights)
        tables.append((own[0], own[1]))
    differences: list[Difference] = []
    if len(loaded) > 1:
        named, differences = with_display_names([*loaded.values()])
        loaded = {run.name: run for run in named}
        tables = [
            (in_tables(trials, run), in_tables(evaluations, run))
            for run, (trials, evaluations) in zip(named, tables, strict=True)
        ]
    studies = [study for run in loaded.values() for study in run.study_columns]
    return Results(
        categorical(joined([trials for trials, _ in tables]), studies),
        categorical(joined([evaluations for _, evaluations in tables]), studies),
        loaded,
        combinations_of(folders, loaded.values()),
        differences=tuple(differences),
    )


def at_cost(results: Results, passes: float) -> Results:
    """The results as if each training run had ended after this many forward and backward passes.

    Raises SteppeError for tables without passes.
    """
    cut = within_passes(results.evaluations, passes)
    none = results.combinations.iloc[:0]  # they stand for whole trials
    return replace(results, evaluations=cut, combinations=none, passes=passes)


def select(results: Results, method: str | None = None) -> pd.DataFrame:
    """The winner of every study by one selection method: the columns of selection.parquet.

    Without a method by `results.method`, here as below. Raises SteppeError for an unknown one.
    """
    return _select(results, [method or results.method])


def summary(
    results: Results,
    by: str = "held-out",
    methods: Sequence[str] | None = None,
    published: bool = False,
) -> Summary:
    """The result tables.

    by: what stands across: `held-out` domains, `dataset` or selection `method`. published: whether
    numbers of papers stand beside the run's own. Raises SteppeError for an unknown method or
    another `by`.
    """
    if by not in BY:
        raise SteppeError(f"results are not listed by {by!r}: {way_out(by, BY)}")
    return summary_of(results, _select(results, methods or [results.method]), by, published)


def summary_of(
    results: Results, chosen: pd.DataFrame, by: str = "held-out", published: bool = False
) -> Summary:
    """The result tables of these winners, with notes on their runs; else as `summary`."""
    sweeps = sweeps_of(results.runs)
    found = summarize(chosen, by, selection.over_seeds_of(sweeps))
    noted = []
    for table in found.tables:
        datasets = [column.dataset for column in table.columns]
        more = (*about_winners(table, chosen, sweeps), *about_runs(results, datasets))
        own = replace(table, notes=(*table.notes, *more))
        noted.append(published_tables.beside(own) if published else own)
    return replace(found, tables=tuple(noted))


def about_runs(results: Results, datasets: Iterable[str]) -> list[str]:
    """The notes of a table over these datasets on the runs that it is made from."""
    found = []
    if results.passes is not None:
        found.append(
            "at equal cost: what each completed trial had reached after "
            f"{show_number(results.passes)} forward and backward passes"
        )
    datasets = dict.fromkeys(datasets)
    count = sum(study["dataset"] in datasets for study in results.studies)
    going_on = 0
    for run in results.runs.values():
        own = results.trials[results.trials["sweep"] == run.sweep_name]
        here = [study for study in run.study_columns if study["dataset"] in datasets]
        if not here:
            continue
        found += notes.about_search(run, own)
        found += notes.about_published(run, here, own)
        found += notes.about_pruning(run, here, results.evaluations)
        found += notes.about_ending(run, here, own)
        if not any(limit.reached for limit in run.budget):
            going_on += sum(study["study"] in run.unfinished for study in here)
    if going_on:
        found.insert(0, f"not final: {going_on} of {count} studies have not ended")
    found += [each.text for each in results.differences if each.datasets & datasets.keys()]
    for dataset in datasets:
        for difference in training_differences([*results.runs.values()], dataset):
            found.append(f"trained differently on {dataset}: {difference}")
    return found


def compare(
    results: Results, a: str | Sequence[str], b: str, method: str | None = None
) -> pd.DataFrame:
    """By how much algorithm `a`, or each of several, is better than `b`.

    The columns are those of search.results.comparison.compare; the intervals of all in `a` hold
    together. Raises SteppeError for an unknown algorithm, and if no pair has results of both.
    """
    return comparison.compare(select(results, method), [a] if isinstance(a, str) else a, b)


def compare_best(results: Results, method: str | None = None) -> pd.DataFrame:
    """By how much the best algorithm is better than each other: see search.results.comparison."""
    return comparison.compare_best(select(results, method))


def ranks(results: Results, method: str | None = None) -> pd.DataFrame:
    """The mean ranks of all algorithms, with the columns of search.results.comparison.Ranks.

    Raises SteppeError if there are too few algorithms with results.
    """
    found = comparison.ranks(select(results, method))
    return pd.concat([ranks.frame() for ranks in found], ignore_index=True)


def behind(results: Results, method: str | None = None) -> pd.DataFrame:
    """What stands behind the numbers of a method: cost, luck of the search, calibration.

    A row per algorithm on a dataset; the columns are those of search.results.behind_numbers.behind.
    """
    tables = results.trials, results.evaluations
    method = method or results.method
    return behind_numbers.behind(*tables, results.studies, sweeps_of(results.runs), method)


def trial_scores(results: Results) -> pd.DataFrame:
    """The trials that have both accuracies, with these: see search.results.accuracy_line.points."""
    return accuracy_line.points(results.trials, results.evaluations)


def on_the_line(results: Results) -> pd.DataFrame:
    """How far validation tells held-out accuracy: see search.results.accuracy_line.lines."""
    return accuracy_line.lines(trial_scores(results), results.trials)


def importance(results: Results) -> pd.DataFrame:
    """How much each hyperparameter mattered to the search objective.

    It alone loads Optuna. Raises SteppeError if there are too few trials.
    """
    from search.results.hyperparameter_importance import importance as found

    _check_whole(results)
    return found(results.trials, [*results.runs.values()])


def pareto(results: Results) -> pd.DataFrame:
    """The front of each study of a search with two objectives: see search.results.fronts.

    Raises SteppeError if there is none.
    """
    _check_whole(results)
    return fronts.pareto(results.trials, [*results.runs.values()])


def _check_whole(results: Results) -> None:
    if results.passes is not None:
        raise SteppeError("the objective is a value of whole trials; ask without a limit of cost")


def _select(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    studies = results.studies
    ended = {study["study"] for study in studies} - results.unfinished
    untried, over = dict[str, str](), selection.over_seeds_of(sweeps_of(results.runs))
    for run in results.runs.values():
        untried |= notes.why_untried(run.sweep, run.study_columns, results.trials, ended)
    found = selection.select(results.trials, results.evaluations, methods, studies, untried, over)
    if results.passes is not None:
        within = f" within {show_number(results.passes)} passes"
        found["reason"] = [
            reason + within if str(reason).startswith("no completed trial has") else reason
            for reason in found["reason"]
        ]
    return categorical(found, studies)
