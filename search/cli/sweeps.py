"""Commands that plan and run a sweep: `plan`, `launch`, `resume`, `status`.

Commands import what they need when they are called, so that each starts as fast as it can.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from search.cli.arguments import (
    AddressOption,
    MovedOption,
    PlanFormatOption,
    RunArgument,
    short_path,
)

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replaces a value: `search.trials=8`."),
]

TRIALS_FAILED, STOPPED = 1, 130  # exit statuses


def plan(
    what: Annotated[
        str,
        typer.Argument(metavar="CONFIG|RUN", help="A sweep file, or the folder or URI of a run."),
    ],
    set_: SetOption = None,
    output: Annotated[
        str | None, typer.Option(help="The run's folder, as of `launch`. Without it: `runs/NAME`.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="A run whose trials say how long a pass takes."),
    ] = None,
    format_: PlanFormatOption = "table",
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
        sweep, source = load(Path(what), given, output), what
        folder = RunFolder(output or default_output(sweep))
        if folder.local and Path(folder.root).is_file():
            raise SteppeError(f"--output {output}: it is a file; give the folder of a run")
    # What a launch says of the images goes beside a document.
    aside = redirect_stdout(sys.stderr) if format_ == "json" else nullcontext()
    with aside:
        bill = plan_sweep(sweep, folder, source, _keys(given), like)
    if format_ == "json":
        print(json.dumps(document(bill), indent=2))
        return
    screen = console()
    for line in lines(bill):
        screen.print(line)


def launch(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A sweep file, see `configs/`.")],
    set_: SetOption = None,
    address: AddressOption = None,
    output: Annotated[
        str | None, typer.Option(help="The run's folder. Without it: `runs/NAME`.")
    ] = None,
) -> None:
    """Runs a sweep and prints the table of its results.

    Launching the same file again continues where the run was stopped. If the file has more trials,
    algorithms, held-out domains, seeds or datasets by then, the run grows.

    Example: `python -m search launch configs/quickstart.yaml --set search.trials=8`
    """
    from search.checks.load_sweep import load

    # Before the rest is imported, so that an error shows at once.
    sweep = load(config, set_ or [], output)
    from search.driver import local_ray

    with local_ray.starting(address) as local:
        from search.driver.launch import default_output
        from search.driver.launch import launch as run
        from search.run.run_folder import RunFolder

        folder = RunFolder.create(output or default_output(sweep))
        complete = run(sweep, folder, address, str(config), _keys(set_ or []), local)
        _finish(folder.uri, complete, sweep.search.combine)


def resume(run: RunArgument, address: AddressOption = None, root: MovedOption = None) -> None:
    """Continues a sweep that was stopped or killed; no trial is lost or counted twice.

    Example: `python -m search resume runs/quickstart`
    """
    from search.driver import local_ray

    with local_ray.starting(address) as local:
        from search.checks.load_sweep import sweep_of
        from search.driver.launch import resume as go_on

        folder, complete = go_on(run, address, root, local)
        _finish(folder.uri, complete, sweep_of(folder).search.combine)


def status(run: RunArgument, format_: PlanFormatOption = "table") -> None:
    """Shows how far a sweep is, also while it runs.

    Example: `python -m search status runs/quickstart`
    """
    from search.cli.status import print_status

    print_status(run, as_json=format_ == "json")


def _keys(given: Sequence[str]) -> list[tuple[str, ...]]:
    """The paths of the keys that --set gave."""
    return [tuple(one.partition("=")[0].split(".")) for one in given]


def _finish(location: str, complete: bool, combinations: Sequence[str]) -> None:
    """Combines what the sweep kept, if it says so, and prints the results.

    Exits with a status of its own if trials failed or the sweep stopped.
    """
    uri = short_path(location)
    from search.results.print_results import print_results
    from search.run import tables
    from search.run.run_folder import RunFolder

    if not complete:
        print(f"\nStopped. `python -m search resume {uri}` goes on.")
        raise typer.Exit(STOPPED)
    if combinations:
        from search.combination.combine import combine

        combine(location, combinations)
    print_results([uri])
    states = tables.read_trials(RunFolder(uri))["state"].value_counts()
    failed = int(states.get("failed", 0))
    print(f"\nTables: {uri}/trials, {uri}/evaluations, {uri}/selection.parquet")
    if failed:
        plural = "s" * (failed != 1)
        print(f"{failed} trial{plural} failed; why: pandas.read_parquet('{uri}/trials').reason")
        raise typer.Exit(TRIALS_FAILED)
