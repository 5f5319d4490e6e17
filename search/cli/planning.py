"""The command `plan`: what a sweep will cost, or what is left to pay of a run."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from search.cli.arguments import PlanFormat, PlanFormatOption, short_path


def plan(
    what: Annotated[
        str,
        typer.Argument(metavar="CONFIG|RUN", help="A sweep file, or the folder or URI of a run."),
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replaces a value: `search.trials=8`."),
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="The run's folder, as of `launch`. Without it: `runs/NAME`.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="A run whose trials say how long a pass takes."),
    ] = None,
    format_: PlanFormatOption = PlanFormat.table,
) -> None:
    """Says what a sweep will cost, before it starts: steps, passes, images, disk and hours.

    Of a run, it says what is left to pay. A few steps of each method are timed. Images need not
    be there. Nothing is trained and nothing is written.

    Example: `python -m search plan configs/pacs.yaml --set search.trials=8`
    """
    from search.checks.load_sweep import load, sweep_of
    from search.driver.launch import default_output
    from search.driver.planning import plan_sweep
    from search.errors import SteppeError
    from search.report.bill_document import document, lines
    from search.run.run_folder import RunFolder
    from search.screen import console

    given = set_ or []
    if "://" in what or Path(what).is_dir():
        if given or output:
            option = "--set" if given else "--output"
            raise SteppeError(f"{option} goes with a sweep file, and {short_path(what)} is a run")
        folder = RunFolder.existing(what)
        sweep, source = sweep_of(folder, needed="model"), folder.path("sweep.yaml")
    else:
        sweep, source = load(Path(what), given), what
        folder = RunFolder(output or default_output(sweep))
        if folder.local and Path(folder.root).is_file():
            raise SteppeError(f"--output {output}: it is a file; give the folder of a run")
    keys = [tuple(one.partition("=")[0].split(".")) for one in given]
    # What a launch says of the images goes beside a document.
    aside = redirect_stdout(sys.stderr) if format_ == PlanFormat.json else nullcontext()
    with aside:
        planned = plan_sweep(sweep, folder, source, keys, like)
    if format_ == PlanFormat.json:
        print(json.dumps(document(planned), indent=2))
        return
    screen = console()
    for line in lines(planned):
        screen.print(line)
