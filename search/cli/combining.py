"""The command `combine`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from search.cli.arguments import MovedOption, RunArgument, short_path


class Combination(StrEnum):
    """A way to combine networks."""

    uniform = "uniform"
    greedy = "greedy"
    ensemble = "ensemble"
    wise_ft = "wise-ft"


class Across(StrEnum):
    """What studies that are combined with each other may differ in."""

    algorithms = "algorithms"
    seeds = "seeds"


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
        int | None, typer.Option(min=2, help="Only so many networks of each study, the best.")
    ] = None,
    across: Annotated[
        Across | None,
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

    make(
        run, [str(one) for one in method or ()], top, None if across is None else str(across), root
    )
    print_combined(run)
    print(f"\nTable: {short_path(run)}/combinations")
