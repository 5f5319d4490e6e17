"""What the commands `results`, `compare`, `importance` and `pareto` print."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from search import results
from search.results.document import Document, Grid, texts
from search.results.formats import FORMATS
from search.results.fronts import VALUES
from search.results.provenance import saw_held_out
from search.results.run_objectives import objectives
from search.results.selection_rules import RULES
from search.results.summary_document import document


def print_results(
    runs: Sequence[str],
    methods: Sequence[str] | None = None,
    format_: str = "table",
    by: str = "held-out",
    published: bool = False,
    passes: float | None = None,
) -> None:
    """Prints the result tables of runs, complete or not, to standard output.

    Without a method by that of the search's objective, and `by` method by all rules, those of folds
    only if there are any. `passes`: each training run counts up to this cost. Raises SteppeError for
    a run that does not exist, has no trial yet, or an unknown method.
    """
    loaded = _load(runs, passes)
    if by == "method" and not methods:
        folds = (loaded.evaluations["role"] == "left_out").any()
        methods = [name for name in RULES if folds or name != "leave-one-domain-out"]
    found = results.summary(loaded, by, methods, published)
    # The settings behind averages over domains are too many to be read below them.
    FORMATS[format_](document(found, winners=by == "held-out"), sys.stdout)


def print_comparison(
    runs: Sequence[str],
    against: str | None,
    method: str | None,
    format_: str,
    passes: float | None = None,
) -> None:
    """Prints paired differences and mean ranks; `passes` as above.

    Raises SteppeError for an unknown algorithm or method, and if no two algorithms have results in
    common.
    """
    from search.results import comparison

    found = _load(runs, passes)
    method = method or found.method
    selection = results.select(found, method)
    notes = results.about_runs(found, selection["dataset"])
    FORMATS[format_](comparison.document(selection, against, method, notes), sys.stdout)


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
        note = f"from {group['trials'].iloc[0]} trials of {group['studies'].iloc[0]} studies"
        notes = (note, *_oracles(found, str(key[0])))
        grids.append(Grid(", ".join(map(str, key)), ("", "importance"), rows, notes=notes))
    FORMATS[format_](Document(tuple(grids), {"importance": frame}), sys.stdout)


def print_pareto(runs: Sequence[str], format_: str) -> None:
    """Prints the fronts of searches with two objectives.

    Raises SteppeError if there is none.
    """
    found = results.load(*runs)
    frame = results.pareto(found)
    grids = []
    for key, group in frame.groupby(
        ["sweep", "dataset", "model", "algorithm"], sort=False, observed=True
    ):
        sweep = next(sweep for sweep in found.sweeps.values() if sweep["name"] == key[0])
        first, second = objectives(sweep["search"])
        used = [name for name in group if str(name).startswith("hp_") and group[name].notna().any()]
        names = ["held_out", "seed", "number", "best_step"]
        rows = []
        for row in group.to_dict("records"):
            values = [f"{100 * row[value]:.1f}" for value in VALUES]
            rows.append(texts([*(row[n] for n in names), *values, *(row[n] for n in used)]))
        header = ("held out", "seed", "trial", "step", first, second)
        hyperparameters = tuple(str(name).removeprefix("hp_") for name in used)
        notes = (
            "both values, in percent, are of the weights at that step, which the first chose",
            *_oracles(found, str(key[0])),
        )
        title = f"{', '.join(map(str, key))}: what no trial of the same study beats in both"
        grids.append(Grid(title, (*header, *hyperparameters), tuple(rows), notes=notes))
    FORMATS[format_](Document(tuple(grids), {"pareto": frame}), sys.stdout)


def _load(runs: Sequence[str], passes: float | None) -> results.Results:
    found = results.load(*runs)
    return found if passes is None else results.at_cost(found, passes)


def _oracles(found: results.Results, name: str) -> list[str]:
    """What a table over the run of this sweep must say if its search saw held-out domains."""
    return [
        f"not the honest protocol, {why}"
        for sweep in found.sweeps.values()
        if sweep["name"] == name
        for why in saw_held_out(sweep)
    ]
