"""The command line: its commands, and how they end."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from search.cli import catalog, reproduce, results, sweeps
from search.errors import SteppeError
from search.screen import printable

# Exit statuses that any command may end with; 0: done.
USER_ERROR, INTERRUPTED = 2, 130

# By the headings of `--help`.
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Sweeps": (sweeps.plan, sweeps.launch, sweeps.resume, sweeps.status),
    "Results": (
        results.results,
        results.compare,
        results.importance,
        results.pareto,
        results.combine,
        results.report,
        results.dashboard,
    ),
    "A trial again": (reproduce.rerun, reproduce.export),
    "What there is": (
        catalog.algorithms,
        catalog.models,
        catalog.datasets,
        catalog.schema,
        catalog.prepare,
    ),
}

app = typer.Typer(
    help="Searches the hyperparameters of sharpness-aware training for domain generalization.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _reporting_errors(command: Callable[..., None]) -> Callable[..., None]:
    """The command, which prints a user's error as one message without a traceback."""

    @wraps(command)
    def reporting(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except SteppeError as error:
            raise _refused(str(error)) from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be printed
            where = f"for {error.filename}" if error.filename else "where the output goes"
            raise _refused(f"no space is left {where}: free some, and try again") from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None

    return reporting


def _refused(message: str) -> typer.Exit:
    """Prints a user's error; what ends the command then."""
    lines = map(printable, f"error: {message}".split("\n"))
    print("\n".join(lines), file=sys.stderr)
    return typer.Exit(USER_ERROR)


for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(_reporting_errors(command))
