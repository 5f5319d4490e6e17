"""The command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from search.errors import UserError

app = typer.Typer(
    help="Searches the hyperparameters of sharpness-aware training for domain generalization.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

COMPLETE, TRIALS_FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    json = "json"


Address = Annotated[
    str | None,
    typer.Option(help="A Ray cluster to run on, from one of its nodes: `auto` or `host:6379`."),
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's folder: `runs/NAME`.")]


@app.command()
def launch(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A sweep file, see `configs/`.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replaces a value: `search.trials=8`."),
    ] = None,
    address: Address = None,
    output: Annotated[
        str | None, typer.Option(help="The run's folder. Without it: `runs/NAME`.")
    ] = None,
) -> None:
    """Runs a sweep and prints the table of its results.

    Launching the same file again goes on where the run was stopped.

    Example: `python -m search launch configs/quickstart.yaml --set search.trials=8`
    """
    with _user_errors():
        from search.launch import launch as run
        from search.load_config import load
        from search.run_folder import RunFolder

        sweep = load(config, set_ or [])
        folder = RunFolder.create(output or Path("runs") / sweep.name)
        complete = run(sweep, folder, address)
        _finish(folder.uri, complete)


@app.command()
def resume(run: RunArgument, address: Address = None) -> None:
    """Goes on with a sweep that was stopped or killed; no trial is lost or counted twice."""
    with _user_errors():
        from search.launch import resume as go_on

        folder, complete = go_on(run, address)
        _finish(folder.uri, complete)


@app.command()
def status(run: RunArgument) -> None:
    """Shows how far a sweep is, also while it runs."""
    with _user_errors():
        from search.status import print_status

        print_status(run)


@app.command()
def results(
    run: RunArgument,
    method: Annotated[
        list[str] | None,
        typer.Option(help="A selection method: `training-domain` (default), `oracle`, ..."),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
) -> None:
    """Prints the accuracy on each held-out domain of the settings that validation chose.

    Example: `python -m search results runs/quickstart --format latex`
    """
    with _user_errors():
        from search.results import print_results

        print_results(run, method or ["training-domain"], format_.value)


@app.command()
def prepare(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="A dataset of `python -m search datasets`.")
    ],
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A folder, a zip or tar archive, or a URL of one."),
    ],
    root: Annotated[
        Path | None, typer.Option(help="Where an archive is unpacked. Without it: `data`.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Side in pixels of the decoded images. Without it: 224.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Accepts what is not as it should be: `counts`, ..."),
    ] = None,
) -> None:
    """Verifies a dataset's images and decodes each once, into a cache that all trials share.

    Called again after an interruption it goes on. Without it the first launch does the same.

    Example: `python -m search prepare PACS ~/Downloads/PACS.zip --root ~/data`
    """
    with _user_errors():
        from search.prepare import prepare as run

        run(dataset, source, root, size, allow or [])


@app.command()
def algorithms(
    name: Annotated[str | None, typer.Argument(help="One algorithm: `SAGM`, `DISAM+GSAM`.")] = None,
) -> None:
    """Lists the algorithms: hyperparameters, defaults, search ranges, cost and paper."""
    with _user_errors():
        from search import catalog

        catalog.print_algorithms(name)


@app.command()
def models() -> None:
    """Lists the models."""
    with _user_errors():
        from search import catalog

        catalog.print_models()


@app.command()
def datasets() -> None:
    """Lists the datasets and their domains."""
    with _user_errors():
        from search import catalog

        catalog.print_datasets()


def _finish(location: str, complete: bool) -> None:
    """Prints what came out and ends with the status that says so."""
    uri = _short(location)
    from search import tables
    from search.results import print_results
    from search.run_folder import RunFolder

    if not complete:
        print(f"\nStopped. `python -m search resume {uri}` goes on.")
        raise typer.Exit(INTERRUPTED)
    print_results(uri, ["training-domain"], "table")
    states = tables.read_trials(RunFolder(uri))["state"].value_counts()
    failed = int(states.get("failed", 0))
    print(f"\nTables: {uri}/trials, {uri}/evaluations, {uri}/selection.parquet")
    if failed:
        print(f"{failed} trials failed; why: pandas.read_parquet('{uri}/trials').reason")
        raise typer.Exit(TRIALS_FAILED)


def _short(location: str) -> str:
    """A path as it is typed here, if it lies below this folder."""
    path = Path(location)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else location


@contextmanager
def _user_errors() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(USER_ERROR) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
