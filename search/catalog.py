"""What there is: algorithms, models and datasets, described by the code that runs."""

from __future__ import annotations

import inspect

from rich.console import Console
from rich.table import Table
from rich.text import Text

import datasets
import models
from search.errors import UserError
from search.live import console
from search.ranges import suggestions
from search.space import show_number, text
from training.algorithms import PARTS, hyperparameters, parse

COMPOSED = "Parts compose with +: DISAM+SAGM, ASAM+SAGM, GGA+SAM."


def print_algorithms(name: str | None) -> None:
    """All parts in a table, or one algorithm in full. Raises UserError for an unknown name."""
    screen = console()
    if name is not None:
        _print_algorithm(screen, name)
        return
    table = Table(title="Algorithms", title_justify="left")
    for column in ("name", "what it does", "hyperparameters (default)", "cost", "paper"):
        table.add_column(column)
    table.add_row("ERM", "The plain gradient of the mean loss.", "", "1", "Vapnik 1998")
    for part, kind in PARTS.items():
        values = ", ".join(f"{k} ({show_number(v)})" for k, v in hyperparameters(part).items())
        table.add_row(part, Text(_first_line(kind)), values, kind.cost, kind.paper)
    screen.print(table)
    screen.print(
        f"{COMPOSED} Cost: forward and backward passes per step, ERM is 1. "
        "More on one: `python -m search algorithms NAME`"
    )


def _print_algorithm(screen: Console, name: str) -> None:
    try:
        parts = parse(name)
        defaults = hyperparameters(name)
    except ValueError as error:
        raise UserError(str(error)) from None
    screen.print(Text(name, style="bold"))
    for part in parts:
        kind = PARTS[part]
        screen.print(Text(f"\n{part}: {_unwrapped(kind)}\nCost: {kind.cost}."))
    if not parts:
        screen.print("The plain gradient of the mean loss. Cost: 1.")
    suggested = suggestions(parts)
    table = Table()
    for column in ("hyperparameter", "default", "search range", "source"):
        table.add_column(column)
    for key in dict.fromkeys([*suggestions(()), *defaults]):
        default = show_number(defaults[key]) if key in defaults else ""
        table.add_row(key, default, text(suggested[key].range), Text(suggested[key].source))
    screen.print(table)


def print_models() -> None:
    table = Table(title="Models", title_justify="left")
    for column in ("name", "what it is"):
        table.add_column(column)
    for name in models.MODELS:
        table.add_row(name, models.describe(name))
    console().print(table)


def print_datasets() -> None:
    table = Table(title="Datasets", title_justify="left")
    for column in ("name", "domains", "classes", "what it is", "source"):
        table.add_column(column)
    for name in datasets.DATASETS:
        about = datasets.describe(name)
        domains = ", ".join(about.domains)
        table.add_row(name, domains, str(about.classes), about.sentence, about.source)
    console().print(table)


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").splitlines()[0]


def _unwrapped(kind: type) -> str:
    """The docstring with its paragraphs in one line each, for a screen of any width."""
    paragraphs = (inspect.getdoc(kind) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)
