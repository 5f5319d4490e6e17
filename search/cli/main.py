"""The command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from search.cli.arguments import (
    AddressOption,
    Format,
    FormatOption,
    MethodOption,
    PassesOption,
    RunArgument,
    RunsArgument,
)
from search.errors import SteppeError
from search.screen import printable

app = typer.Typer(
    help="Searches the hyperparameters of sharpness-aware training for domain generalization.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

# Exit statuses; 0: done.
TRIALS_FAILED, USER_ERROR, INTERRUPTED = 1, 2, 130
DIFFERS = 1  # what is repeated gives other numbers

# What `--help` lists the commands under.
SWEEPS, RESULTS, AGAIN, THERE_IS = "Sweeps", "Results", "A trial again", "What there is"


class By(StrEnum):
    """What stands across a table of results."""

    held_out = "held-out"
    dataset = "dataset"
    method = "method"


@app.command(rich_help_panel=SWEEPS)
def launch(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A sweep file, see `configs/`.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replaces a value: `search.trials=8`."),
    ] = None,
    address: AddressOption = None,
    output: Annotated[
        str | None, typer.Option(help="The run's folder. Without it: `runs/NAME`.")
    ] = None,
) -> None:
    """Runs a sweep and prints the table of its results.

    Launching the same file again goes on where the run was stopped.

    Example: `python -m search launch configs/quickstart.yaml --set search.trials=8`
    """
    with _user_errors():
        from search.checks.load_sweep import load
        from search.driver.launch import default_output
        from search.driver.launch import launch as run
        from search.run.run_folder import RunFolder

        sweep = load(config, set_ or [])
        folder = RunFolder.create(output or default_output(sweep))
        keys = [tuple(given.partition("=")[0].split(".")) for given in set_ or []]
        complete = run(sweep, folder, address, str(config), keys)
        _finish(folder.uri, complete)


@app.command(rich_help_panel=SWEEPS)
def resume(run: RunArgument, address: AddressOption = None) -> None:
    """Goes on with a sweep that was stopped or killed; no trial is lost or counted twice.

    Example: `python -m search resume runs/quickstart`
    """
    with _user_errors():
        from search.driver.launch import resume as go_on

        folder, complete = go_on(run, address)
        _finish(folder.uri, complete)


@app.command(rich_help_panel=SWEEPS)
def status(run: RunArgument) -> None:
    """Shows how far a sweep is, also while it runs.

    Example: `python -m search status runs/quickstart`
    """
    with _user_errors():
        from search.cli.status import print_status

        print_status(run)


@app.command(rich_help_panel=RESULTS)
def results(
    runs: RunsArgument,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="A selection method, again for more. Without it: that of the search's objective."
        ),
    ] = None,
    by: Annotated[By, typer.Option(help="What stands across.")] = By.held_out,
    published: Annotated[
        bool, typer.Option("--published", help="Sets the numbers of papers beside the run's own.")
    ] = False,
    passes: PassesOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Prints the accuracy on each held-out domain of the settings that validation chose.

    Of several runs as if they were one, and of runs that are going on.

    Example: `python -m search results runs/quickstart --format latex`
    """
    with _user_errors():
        from search.results.print_results import print_results

        print_results(runs, method, format_.value, by.value, published, passes)


@app.command(rich_help_panel=RESULTS)
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
    format_: FormatOption = Format.table,
) -> None:
    """Says whether algorithms differ, on these held-out domains and on domains like these.

    Prints differences with corrected intervals: of all to one, of the best to all; and mean ranks.

    Example: `python -m search compare runs/pacs --against ERM`
    """
    with _user_errors():
        from search.results.print_results import print_comparison

        print_comparison(runs, against, method, format_.value, passes)


@app.command(rich_help_panel=RESULTS)
def importance(
    runs: RunsArgument,
    format_: FormatOption = Format.table,
) -> None:
    """Says how much of the variation of the objective each hyperparameter explains (fANOVA).

    Example: `python -m search importance runs/quickstart`
    """
    with _user_errors():
        from search.results.print_results import print_importance

        print_importance(runs, format_.value)


@app.command(rich_help_panel=RESULTS)
def pareto(
    runs: RunsArgument,
    format_: FormatOption = Format.table,
) -> None:
    """Prints the trials of a search with two objectives that no other beats in both.

    Example: `python -m search pareto runs/two-objectives`
    """
    with _user_errors():
        from search.results.print_results import print_pareto

        print_pareto(runs, format_.value)


@app.command(rich_help_panel=RESULTS)
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
    with _user_errors():
        from search.report.page import write

        print(f"Report: {_short(write(run, output))}")


@app.command(rich_help_panel=RESULTS)
def dashboard(
    run: RunArgument,
    port: Annotated[int, typer.Option(help="Where it is served on 127.0.0.1; 0: any.")] = 8080,
) -> None:
    """Opens Optuna's dashboard on the studies of a run, also while it runs.

    It only looks: nothing in the run can be changed there.

    Example: `python -m search dashboard runs/quickstart`
    """
    with _user_errors():
        from search.cli.dashboard import serve

        serve(run, port)


@app.command(rich_help_panel=AGAIN)
def rerun(
    run: RunArgument,
    trial: Annotated[
        str,
        typer.Argument(metavar="TRIAL", help="Its name in the tables, or enough of its end."),
    ],
) -> None:
    """Repeats one trial and says whether its numbers are those of the tables, to the last bit.

    Exit status 0: they agree; 1: they differ. Nothing in the run is changed.

    Example: `python -m search rerun runs/quickstart RotatedDigits.cnn.SAM.0.0.3`
    """
    with _user_errors():
        from search.reproduce.rerun import rerun as repeat

        if not repeat(run, trial):
            raise typer.Exit(DIFFERS)


@app.command(rich_help_panel=AGAIN)
def export(
    run: RunArgument,
    trial: Annotated[
        str | None,
        typer.Argument(
            metavar="TRIAL",
            help="A trial, or a study, whose winner is taken; not needed if the run has one study.",
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
) -> None:
    """Writes the selected model of a trial, as safetensors and a YAML file that builds it.

    The weights are those that the run kept (`search.keep_weights`); else the trial is repeated.
    Exit status 1: the numbers are not those of the tables.

    Example: `python -m search export runs/quickstart RotatedDigits.cnn.SAM.0.0 --predictions`
    """
    with _user_errors():
        from search.reproduce.export import export as write

        if not write(run, trial, method, output, predictions):
            raise typer.Exit(DIFFERS)


@app.command(rich_help_panel=THERE_IS)
def algorithms(
    name: Annotated[str | None, typer.Argument(help="One algorithm: `SAGM`, `DISAM+GSAM`.")] = None,
) -> None:
    """Lists the algorithms: hyperparameters, defaults, search ranges, cost and paper.

    Example: `python -m search algorithms DISAM+SAGM`
    """
    with _user_errors():
        from search.cli import catalog

        catalog.print_algorithms(name)


@app.command(rich_help_panel=THERE_IS)
def models(
    name: Annotated[
        str | None, typer.Argument(help="One model, `timm/resnet34`, or a family, `timm`.")
    ] = None,
) -> None:
    """Lists the models and the weights that they may start from.

    Example: `python -m search models resnet50`
    """
    with _user_errors():
        from search.cli import catalog

        catalog.print_models(name)


@app.command(rich_help_panel=THERE_IS)
def datasets() -> None:
    """Lists the datasets and their domains.

    Example: `python -m search datasets`
    """
    with _user_errors():
        from search.cli import catalog

        catalog.print_datasets()


@app.command(rich_help_panel=THERE_IS)
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
        from search.cli.prepare import prepare as run

        run(dataset, source, root, size, allow or [])


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
    except SteppeError as error:
        lines = map(printable, f"error: {error}".split("\n"))
        print("\n".join(lines), file=sys.stderr)
        raise typer.Exit(USER_ERROR) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
