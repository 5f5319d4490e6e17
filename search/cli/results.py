"""Commands on the results of a run: tables, figures, and networks that are combined."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from search.cli.arguments import (
    FormatOption,
    MethodOption,
    MovedOption,
    PassesOption,
    RunArgument,
    RunsArgument,
    short_path,
)


class Combination(StrEnum):  # typer takes no list of a Literal
    """A way to combine networks."""

    uniform = "uniform"
    greedy = "greedy"
    ensemble = "ensemble"
    wise_ft = "wise-ft"


def results(
    runs: RunsArgument,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="A selection method, again for more. Without it: that of the search's objective."
        ),
    ] = None,
    by: Annotated[
        Literal["held-out", "dataset", "method"], typer.Option(help="What the columns are.")
    ] = "held-out",
    published: Annotated[
        bool, typer.Option("--published", help="Sets the numbers of papers beside the run's own.")
    ] = False,
    passes: PassesOption = None,
    format_: FormatOption = "table",
) -> None:
    """Prints the accuracy on each held-out domain of the settings that validation chose.

    Of several runs as if they were one, and of runs that are going on.

    Example: `python -m search results runs/quickstart --format latex`
    """
    from search.results.print_results import print_results

    print_results(runs, method, format_, by, published, passes)


def compare(
    runs: RunsArgument,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="ALGORITHM", help="What the others are compared with; else the first."
        ),
    ] = None,
    method: MethodOption = None,
    passes: PassesOption = None,
    format_: FormatOption = "table",
) -> None:
    """Says whether algorithms differ, on these held-out domains and on domains like these.

    Prints differences with corrected intervals: of all to one, of the best to all; and mean ranks.

    Example: `python -m search compare runs/pacs --against ERM`
    """
    from search.results.print_results import print_comparison

    print_comparison(runs, against, method, format_, passes)


def importance(
    runs: RunsArgument,
    format_: FormatOption = "table",
) -> None:
    """Says how much of the variation of the objective each hyperparameter explains (fANOVA).

    Example: `python -m search importance runs/quickstart`
    """
    from search.results.print_results import print_importance

    print_importance(runs, format_)


def pareto(
    runs: RunsArgument,
    format_: FormatOption = "table",
) -> None:
    """Prints the trials of a search with two objectives that no other beats in both.

    Example: `python -m search pareto runs/two-objectives`
    """
    from search.results.print_results import print_pareto

    print_pareto(runs, format_)


def combine(
    run: RunArgument,
    method: Annotated[
        list[Combination] | None,
        typer.Option(
            help="How, again for more: soups, an ensemble, or WiSE-FT of zero-shot and the best "
            "network. Without it: all that can be made of the run."
        ),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=2, help="Only the best networks of each study, this many.")
    ] = None,
    across: Annotated[
        Literal["algorithms", "seeds"] | None,
        typer.Option(
            help="Combines studies that differ in their algorithm, or in their seed. With other "
            "seeds, validation images have trained members, and every table says so."
        ),
    ] = None,
    root: MovedOption = None,
) -> None:
    """Makes soups, ensembles and WiSE-FT of the networks that a run kept, and scores them.

    The run must have `search.keep_weights: all` or a number. Killed, it goes on where it was.

    Example: `python -m search combine runs/quickstart`
    """
    from search.combination.combine import combine as make
    from search.results.print_results import print_combined

    make(run, [str(one) for one in method or ()], top, across, root)
    print_combined(run)
    print(f"\nTable: {short_path(run)}/combinations")


def report(
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option(help="The file to write. Without it: `report.html` in the run.")
    ] = None,
) -> None:
    """Writes one HTML file: the answer, tables, figures, failures, cost, and how it was made.

    It needs nothing else to be opened. Also while the sweep runs.

    Example: `python -m search report runs/quickstart`
    """
    from search.report.page import write

    print(f"Report: {short_path(write(run, output))}")


def dashboard(
    run: RunArgument,
    port: Annotated[int, typer.Option(help="Where it is served on 127.0.0.1; 0: any.")] = 8080,
) -> None:
    """Opens Optuna's dashboard on the studies of a run, also while it runs.

    It only looks: nothing in the run can be changed there.

    Example: `python -m search dashboard runs/quickstart`
    """
    from search.cli.dashboard import serve

    serve(run, port)
