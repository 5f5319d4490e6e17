"""What several commands are given."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    json = "json"


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
MethodOption = Annotated[
    str | None,
    typer.Option(help="A selection method. Without it: that of the search's objective."),
]
PassesOption = Annotated[
    float | None,
    typer.Option(help="At equal cost: each training run counts up to so many passes."),
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]
