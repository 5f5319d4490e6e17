"""What there is: algorithms, models and datasets, described by the code that runs."""

from __future__ import annotations

import inspect

from rich.console import Console
from rich.table import Table
from rich.text import Text

import datasets
import models
from search.errors import UserError
from search.ranges import suggestions
from search.space import show_number, text
from training.algorithms import PARTS, hyperparameters, parse

COMPOSED = "Parts compose with +: DISAM+SAGM, ASAM+SAGM, GGA+SAM."


def print_algorithms(name: str | None) -> None:
    """All parts in a table, or one algorithm in full. Raises UserError for an unknown name."""
    console = Console()
    if name is not None:
        _print_algorithm(console, name)
        return
    table = Table(title="Algorithms", title_justify="left")
    for column in ("name", "what it does", "hyperparameters (default)", "cost", "paper"):
        table.add_column(column)
    table.add_row("ERM", "The plain gradient of the mean loss.", "", "1", "Vapnik 1998")
    for part, kind in PARTS.items():
        values = ", ".join(f"{k} ({show_number(v)})" for k, v in hyperparameters(part).items())
        table.add_row(part, Text(_first_line(kind)), values, kind.cost, kind.paper)
    console.print(table)
    console.print(
        f"{COMPOSED} Cost: forward and backward passes per step, ERM is 1. "
        "More on one: `python -m search algorithms NAME`",
        highlight=False,
    )


def _print_algorithm(console: Console, name: str) -> None:
    try:
        parts = parse(name)
        defaults = hyperparameters(name)
    except ValueError as error:
        raise UserError(str(error)) from None
    console.print(Text(name, style="bold"), highlight=False)
    for part in parts:
        kind = PARTS[part]
        console.print(Text(f"\n{part}: {inspect.getdoc(kind)}"))
        console.print(Text(f"Cost {kind.cost}. {kind.paper}."))
    if not parts:
        console.print("The plain gradient of the mean loss. Cost 1.")
    suggested = suggestions(parts)
    table = Table()
    for column in ("hyperparameter", "default", "search range", "source"):
        table.add_column(column)
    for key in dict.fromkeys([*suggestions(()), *defaults]):
        default = show_number(defaults[key]) if key in defaults else ""
        table.add_row(key, default, text(suggested[key].range), Text(suggested[key].source))
    console.print(table)


def print_models() -> None:
    table = Table(title="Models", title_justify="left")
    for column in ("name", "what it is"):
        table.add_column(column)
    for name in models.MODELS:
        table.add_row(name, models.describe(name))
    Console().print(table)


def print_datasets() -> None:
    table = Table(title="Datasets", title_justify="left")
    for column in ("name", "domains", "classes", "what it is", "source"):
        table.add_column(column)
    for name in datasets.DATASETS:
        about = datasets.describe(name)
        domains = ", ".join(about.domains)
        table.add_row(name, domains, str(about.classes), about.sentence, about.source)
    Console().print(table)


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").splitlines()[0]
