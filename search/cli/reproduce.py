"""Commands that train a recorded trial again: `rerun` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli.arguments import MethodOption, MovedOption, RunArgument

DIFFERS = 1  # exit status: the numbers are not those of the tables


def rerun(
    run: RunArgument,
    trial: Annotated[
        str,
        typer.Argument(metavar="TRIAL", help="Its name in the tables, or enough of its end."),
    ],
    root: MovedOption = None,
) -> None:
    """Repeats one trial and says whether its numbers are those of the tables, to the last bit.

    Exit status 0: they agree; 1: they differ. Nothing in the run is changed.

    Example: `python -m search rerun runs/quickstart RotatedDigits.cnn.SAM.0.0.3`
    """
    from search.reproduce.rerun import rerun as repeat

    if not repeat(run, trial, root):
        raise typer.Exit(DIFFERS)


def export(
    run: RunArgument,
    trial: Annotated[
        str | None,
        typer.Argument(
            metavar="TRIAL",
            help="A trial, or a study, whose winner is taken, or a soup; not needed if the run has "
            "one study.",
        ),
    ] = None,
    method: MethodOption = None,
    output: Annotated[
        Path | None, typer.Option(help="The folder to write. Without it: `exported/TRIAL`.")
    ] = None,
    predictions: Annotated[
        bool,
        typer.Option("--predictions", help="Writes what it says of every sample beside it."),
    ] = False,
    root: MovedOption = None,
) -> None:
    """Writes the selected model of a trial, or a soup: safetensors, and YAML that builds it.

    The weights are those that the run kept (`search.keep_weights`); else the trial is repeated.
    Exit status 1: the numbers are not those of the tables.

    Example: `python -m search export runs/quickstart RotatedDigits.cnn.SAM.0.0 --predictions`
    """
    from search.combination.export import export as write_soup
    from search.combination.export import is_combination
    from search.reproduce.export import export as write

    if trial is not None and is_combination(trial):
        same = write_soup(run, trial, output, predictions, root)
    else:
        same = write(run, trial, method, output, predictions, root)
    if not same:
        raise typer.Exit(DIFFERS)
