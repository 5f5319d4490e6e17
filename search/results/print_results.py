"""What the commands `results`, `compare` and `importance` print."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from search import results
from search.results.document import Document, Grid, texts
from search.results.formats import FORMATS
from search.results.summary_document import document


def print_results(
    runs: Sequence[str],
    methods: Sequence[str] = ("training-domain",),
    format_: str = "table",
    by: str = "held-out",
    published: bool = False,
) -> None:
    """Prints the result tables of runs, complete or not, to standard output.

    Raises UserError for a run that does not exist, has no trial yet, or an unknown method.
    """
    found = results.summary(results.load(*runs), by, methods, published)
    # The settings behind averages over domains are too many to be read below them.
    FORMATS[format_](document(found, winners=by == "held-out"), sys.stdout)


def print_comparison(runs: Sequence[str], against: str | None, method: str, format_: str) -> None:
    """Prints paired differences and mean ranks.

    Raises UserError for an unknown algorithm or method, and if there is too little for both.
    """
    from search.results import comparison  # late: scipy

    found = results.load(*runs)
    selection = results.select(found, method)
    notes = results.about_runs(found, selection["dataset"])
    FORMATS[format_](comparison.document(selection, against, method, notes), sys.stdout)


def print_importance(runs: Sequence[str], format_: str) -> None:
    """Prints how much each hyperparameter mattered.

    Raises UserError if there are too few trials.
    """
    frame = results.importance(results.load(*runs))
    grids = []
    for key, group in frame.groupby(["sweep", "dataset", "model", "algorithm"], sort=False):
        rows = tuple(
            texts((name, f"{100 * share:.0f} %"))
            for name, share in zip(group["hyperparameter"], group["importance"], strict=True)
        )
        note = f"from {group['trials'].iloc[0]} trials of {group['studies'].iloc[0]} studies"
        grids.append(Grid(", ".join(map(str, key)), ("", "importance"), rows, notes=(note,)))
    FORMATS[format_](Document(tuple(grids), {"importance": frame}), sys.stdout)
