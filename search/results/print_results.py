"""What the commands `results`, `compare`, `importance` and `pareto` print."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pandas as pd

from search import results
from search.results import behind_numbers, combined, comparison_document, wise_ft
from search.results.accuracy_line import grids as line_grids
from search.results.formats import FORMATS, Document, Grid, texts
from search.results.fronts import VALUES
from search.results.loading import LoadedRun
from search.results.selection_rules import RULES
from search.results.summary_document import document, shown_tables


def print_results(
    runs: Sequence[str],
    methods: Sequence[str] | None = None,
    format_: str = "table",
    by: str = "held-out",
    published: bool = False,
    passes: float | None = None,
) -> None:
    """Prints the result tables of runs, complete or not, to standard output.

    methods: of selection; without one, that of the search's objective, and with `by` method all
    rules, those of folds only if there are any. passes: the cost at which each training run is cut
    off. Raises SteppeError for a run that does not exist or has no trial yet, and for an unknown
    method.
    """
    loaded = _load(runs, passes)
    if by == "method" and not methods:
        folds = (loaded.evaluations["role"] == "left_out").any()
        methods = [name for name in RULES if folds or name != "leave-one-domain-out"]
    found = results.summary(loaded, by, methods, published)
    # The settings behind averages over domains are too many to be read below them.
    whole = document(found, winners=by == "held-out")
    if by != "method":
        tables = len(shown_tables(found))
        whole = _with_behind(whole, tables, loaded, methods or [loaded.method])
    FORMATS[format_](_with_combined(whole, loaded, by), sys.stdout)


def print_combined(run: str) -> None:
    """Prints the tables of the combined networks of a run."""
    found = results.load(run)
    if not found.combinations.empty:
        FORMATS["table"](_with_combined(Document(()), found, "held-out"), sys.stdout)


def _with_behind(
    whole: Document, tables: int, loaded: results.Results, methods: Sequence[str]
) -> Document:
    """The document with what stands behind the numbers of its first `tables` tables, below them.

    And with whether the held-out domains can tell methods apart.
    """
    frames = [results.behind(loaded, method) for method in dict.fromkeys(methods)]
    notes = ["the cost is that of the whole search"] if loaded.passes is not None else []
    own = [behind_numbers.grid(frame, notes) for frame in frames]
    line = results.on_the_line(loaded)
    own += line_grids(line)
    return Document(
        (*whole.grids[:tables], *own, *whole.grids[tables:]),
        {**whole.frames, "behind": pd.concat(frames, ignore_index=True), "on_the_line": line},
    )


def _with_combined(whole: Document, found: results.Results, by: str) -> Document:
    """The document with the tables of combined networks, if there are any, after the others."""
    if found.combinations.empty or by == "method":
        return whole
    own = document(combined.summary(found.combinations, found.method, by))
    both: dict[str, pd.DataFrame] = {}
    for name in ("results", "domains"):
        parts = [frames[name] for frames in (whole.frames, own.frames) if name in frames]
        if parts:
            both[name] = pd.concat(parts, ignore_index=True)
    frames = {
        **whole.frames,
        **both,
        "combinations": combined.frame_of(found.combinations),
    }
    curves = wise_ft.curves(found.combinations)
    if not curves.empty:
        frames["wise_ft"] = curves
    return Document((*whole.grids, *own.grids, *wise_ft.grids(found.combinations)), frames)


def print_comparison(
    runs: Sequence[str],
    against: str | None,
    method: str | None,
    format_: str,
    passes: float | None = None,
) -> None:
    """Prints paired differences and mean ranks; `passes` as of `print_results`.

    Raises SteppeError for an unknown algorithm or method, and if no two algorithms have results in
    common.
    """
    found = _load(runs, passes)
    method = method or found.method
    selection = results.select(found, method)
    notes = results.about_runs(found, selection["dataset"])
    whole = comparison_document.document(selection, against, method, notes)
    if not found.combinations.empty:
        more, pairs = combined.compared(selection, found.combinations, method)
        whole = Document((*whole.grids, *more), {**whole.frames, "combinations": pairs})
    line = results.on_the_line(found)
    grids = (*whole.grids, *line_grids(line))
    whole = Document(grids, {**whole.frames, "on_the_line": line})
    FORMATS[format_](whole, sys.stdout)


def print_importance(runs: Sequence[str], format_: str) -> None:
    """Prints how much each hyperparameter mattered.

    Raises SteppeError if there are too few trials.
    """
    found = results.load(*runs)
    frame = results.importance(found)
    grids = []
    for key, group in frame.groupby(["sweep", "dataset", "model", "algorithm"], sort=False):
        rows = tuple(
            texts((name, f"{100 * share:.0f} %"))
            for name, share in zip(group["hyperparameter"], group["importance"], strict=True)
        )
        note = (
            f"from {group['trials'].iloc[0]} completed trials of {group['studies'].iloc[0]} studies"
        )
        notes = (note, *_not_honest(_run_of(found, str(key[0]))))
        grids.append(Grid(", ".join(map(str, key)), ("", "importance"), rows, notes=notes))
    FORMATS[format_](Document(tuple(grids), {"importance": frame}), sys.stdout)


def print_pareto(runs: Sequence[str], format_: str) -> None:
    """Prints the fronts of searches with two objectives.

    Raises SteppeError if there is none.
    """
    found = results.load(*runs)
    frame = results.pareto(found)
    grids = []
    for key, group in frame.groupby(["sweep", "dataset", "model", "algorithm"], sort=False):
        run = _run_of(found, str(key[0]))
        first, second = run.sweep.search.objectives
        used = [name for name in group if str(name).startswith("hp_") and group[name].notna().any()]
        names = ["held_out", "seed", "number", "best_step"]
        rows = []
        for row in group.to_dict("records"):
            values = [f"{100 * row[value]:.1f}" for value in VALUES]
            rows.append(texts([*(row[n] for n in names), *values, *(row[n] for n in used)]))
        header = ("held out", "seed", "trial", "step", first, second)
        hyperparameters = tuple(str(name).removeprefix("hp_") for name in used)
        notes = (
            "values in percent, both of the weights at that step, which the first objective chose",
            *_not_honest(run),
        )
        title = f"{', '.join(map(str, key))}: trials that no other of their study beats in both"
        grids.append(Grid(title, (*header, *hyperparameters), tuple(rows), notes=notes))
    FORMATS[format_](Document(tuple(grids), {"pareto": frame}), sys.stdout)


def _load(runs: Sequence[str], passes: float | None) -> results.Results:
    found = results.load(*runs)
    return found if passes is None else results.at_cost(found, passes)


def _run_of(found: results.Results, sweep: str) -> LoadedRun:
    """The run that has this name in the column `sweep`."""
    return next(run for run in found.runs.values() if run.sweep_name == sweep)


def _not_honest(run: LoadedRun) -> list[str]:
    """The notes of a table over the run if its search saw held-out domains."""
    return [f"not the honest protocol, {why}" for why in run.shaped]
