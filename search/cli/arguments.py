"""Arguments that several commands take, and how commands show a path."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="The folder of a run, `runs/NAME`, or its URI.")
]
RunsArgument = Annotated[
    list[str],
    typer.Argument(metavar="RUN", help="The folder of a run, `runs/NAME`, or its URI; or several."),
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="A Ray cluster to run on, from one of its nodes: `auto` or `host:6379`."),
]
MovedOption = Annotated[
    Path | None,
    typer.Option("--root", help="Where the images are now, if they have moved."),
]
MethodOption = Annotated[
    str | None,
    typer.Option(help="A selection method. Without it: that of the search's objective."),
]
PassesOption = Annotated[
    float | None,
    typer.Option(help="At equal cost: each training run counts up to this many passes."),
]
_HOW_TO_PRINT = typer.Option("--format", help="How to print.")
PlanFormatOption = Annotated[Literal["table", "json"], _HOW_TO_PRINT]
FormatOption = Annotated[Literal["table", "markdown", "latex", "csv", "json"], _HOW_TO_PRINT]


def short_path(location: str) -> str:
    """A path relative to the current folder, if it lies below it."""
    path = Path(location)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else location
