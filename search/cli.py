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


class By(StrEnum):
    """What stands across a table of results."""

    held_out = "held-out"
    dataset = "dataset"
    method = "method"


Address = Annotated[
    str | None,
    typer.Option(help="A Ray cluster to run on, from one of its nodes: `auto` or `host:6379`."),
]
RunsArgument = Annotated[
    list[str], typer.Argument(metavar="RUN", help="The folder or URI of a run; or of several.")
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
        from search.config.load_config import load
        from search.driver.launch import default_output
        from search.driver.launch import launch as run
        from search.run.run_folder import RunFolder

        sweep = load(config, set_ or [])
        folder = RunFolder.create(output or default_output(sweep))
        complete = run(sweep, folder, address)
        _finish(folder.uri, complete)


@app.command()
def resume(run: RunArgument, address: Address = None) -> None:
    """Goes on with a sweep that was stopped or killed; no trial is lost or counted twice.

    Example: `python -m search resume runs/quickstart`
    """
    with _user_errors():
        from search.driver.launch import resume as go_on

        folder, complete = go_on(run, address)
        _finish(folder.uri, complete)


@app.command()
def status(run: RunArgument) -> None:
    """Shows how far a sweep is, also while it runs.

    Example: `python -m search status runs/quickstart`
    """
    with _user_errors():
        from search.status import print_status

        print_status(run)


@app.command()
def results(
    runs: RunsArgument,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="A selection method: `training-domain` (default), `oracle`, ...; again for more."
        ),
    ] = None,
    by: Annotated[By, typer.Option(help="What stands across.")] = By.held_out,
    published: Annotated[
        bool, typer.Option("--published", help="Sets the numbers of papers beside the run's own.")
    ] = False,
    format_: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
) -> None:
    """Prints the accuracy on each held-out domain of the settings that validation chose.

    Of several runs as if they were one, and of runs that are going on.

    Example: `python -m search results runs/quickstart --format latex`
    """
    with _user_errors():
        from search.results.print_results import print_results
        from search.results.selection_rules import RULES

        methods = method or (list(RULES) if by is By.method else ["training-domain"])
        print_results(runs, methods, format_.value, by.value, published)


@app.command()
def compare(
    runs: RunsArgument,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="ALGORITHM", help="What the others are compared with; else the first."
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="A selection method.")] = "training-domain",
    format_: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
) -> None:
    """Says whether algorithms differ: paired differences with intervals, and mean ranks.

    Example: `python -m search compare runs/pacs --against ERM`
    """
    with _user_errors():
        from search.results.print_results import print_comparison

        print_comparison(runs, against, method, format_.value)


@app.command()
def importance(
    runs: RunsArgument,
    format_: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
) -> None:
    """Says how much of the variation of the objective each hyperparameter explains (fANOVA).

    Example: `python -m search importance runs/quickstart`
    """
    with _user_errors():
        from search.results.print_results import print_importance

        print_importance(runs, format_.value)


@app.command()
def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder or URI of a run.")],
    output: Annotated[
        Path | None, typer.Option(help="The file to write. Without it: `report.html` in the run.")
    ] = None,
) -> None:
    """Writes one HTML file: the answer, tables, figures, failures, cost, and how it was made.

    It needs nothing else to be opened. Also while the sweep runs.

    Example: `python -m search report runs/quickstart`
    """
    with _user_errors():
        from search.report.write import write

        print(f"Report: {_short(write(run, output))}")


@app.command()
def dashboard(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder or URI of a run.")],
    port: Annotated[int, typer.Option(help="Where it is served on 127.0.0.1; 0: any.")] = 8080,
) -> None:
    """Opens Optuna's dashboard on the studies of a run, also while it runs.

    It only looks: nothing in the run can be changed there.

    Example: `python -m search dashboard runs/quickstart`
    """
    with _user_errors():
        from search.dashboard import serve

        serve(run, port)


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
    """Lists the algorithms: hyperparameters, defaults, search ranges, cost and paper.

    Example: `python -m search algorithms DISAM+SAGM`
    """
    with _user_errors():
        from search import catalog

        catalog.print_algorithms(name)


@app.command()
def models(
    name: Annotated[
        str | None, typer.Argument(help="One model, `timm/resnet34`, or a family, `timm`.")
    ] = None,
) -> None:
    """Lists the models and the weights that they may start from.

    Example: `python -m search models resnet50`
    """
    with _user_errors():
        from search import catalog

        catalog.print_models(name)


@app.command()
def datasets() -> None:
    """Lists the datasets and their domains.

    Example: `python -m search datasets`
    """
    with _user_errors():
        from search import catalog

        catalog.print_datasets()


def _finish(location: str, complete: bool) -> None:
    """Prints what came out and ends with the status that says so."""
    uri = _short(location)
    from search.results.print_results import print_results
    from search.run import tables
    from search.run.run_folder import RunFolder

    if not complete:
        print(f"\nStopped. `python -m search resume {uri}` goes on.")
        raise typer.Exit(INTERRUPTED)
    print_results([uri])
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
