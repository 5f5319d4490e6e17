"""Tables of the algorithms, models and datasets, from the code that runs."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

import datasets
import models
from datasets.augmentation.in_words import AUGMENTED
from models.tuning import TUNINGS
from search.errors import SteppeError
from search.run.manifest import CHECKOUT
from search.screen import console
from search.space import algorithm_names
from search.space.algorithm_names import AVERAGES
from search.space.method_descriptions import (
    METHODS,
    Hyperparameter,
    cost,
    defaults,
    description,
    own_hyperparameters,
    paper,
    summary,
    training_hyperparameters,
    tuning_rates,
)
from search.space.ranges import show_number
from training.algorithms import OF_TEXTS, ZERO_SHOT

COMPOSED = "Parts compose with +: DISAM+SAGM, ASAM+SAGM, GGA+SAM, DISAM+SAGM+SWAD."


def print_algorithms(name: str | None) -> None:
    """All parts of algorithms in a table, or one algorithm in full.

    Raises SteppeError for an unknown name.
    """
    screen = console()
    if name is not None:
        _print_algorithm(screen, name)
        return
    table = Table(title="Algorithms", title_justify="left")
    for column in ("name", "what it does", "hyperparameters (default)", "cost", "paper"):
        table.add_column(column)
    for part in METHODS:
        values = ", ".join(f"{k} ({show_number(v)})" for k, v in defaults(part).items())
        table.add_row(part, Text(summary(part)), values, cost(part), paper(part))
    screen.print(table)
    screen.print(
        f"{COMPOSED} Cost: forward and backward passes per step, ERM is 1. "
        "More on one: `python -m search algorithms NAME`"
    )


def _print_algorithm(screen: Console, name: str) -> None:
    try:
        averages = [word for word in algorithm_names.words_of(name) if word in AVERAGES]
        parts = (*algorithm_names.parts(name), *averages) or (name,)
    except ValueError as error:
        raise SteppeError(str(error)) from None
    screen.print(Text(name, style="bold"))
    for part in parts:
        screen.print(Text(f"\n{part}: {description(part)}\nCost: {cost(part)}."))
        card = CHECKOUT / "docs" / "algorithms" / f"{part}.md"
        if card.exists():
            screen.print(Text(f"More: {card.relative_to(CHECKOUT)}"))
    if own := own_hyperparameters(name):
        screen.print(_numbers("", own))
    if name == ZERO_SHOT:
        return
    if any(part in OF_TEXTS for part in parts):
        screen.print(_numbers("Training from CLIP's texts", training_hyperparameters(False, True)))
        return
    for fresh in (False, True):
        start = "random" if fresh else "pretrained"
        screen.print(_numbers(f"Training from {start} weights", training_hyperparameters(fresh)))


def _numbers(title: str, rows: Iterable[Hyperparameter]) -> Table:
    table = Table(title=title or None, title_justify="left")
    for column in ("hyperparameter", "default", "search range", "why"):
        table.add_column(column)
    for h in rows:
        table.add_row(h.name, h.default, h.range, Text(h.source))
    return table


def print_models(name: str | None) -> None:
    """All models in a table, the names of a family's, or one model in full.

    Raises SteppeError for an unknown name or a family whose library is not installed.
    """
    screen = console()
    if name is not None:
        try:
            names = models.names(name) if name in models.FAMILIES else [models.describe(name)]
        except (ValueError, ModuleNotFoundError) as error:
            raise SteppeError(str(error)) from None
        screen.print(Text("\n".join(names)))
        if name not in models.FAMILIES:
            _print_training(screen, name)
        return
    table = Table(title="Models", title_justify="left")
    for column in ("name", "what it is"):
        table.add_column(column)
    for model in models.MODELS:
        table.add_row(model, models.describe(model))
    for family, of in models.FAMILIES.items():
        install = f"pip install '.[{of.extra}]'"
        table.add_row(f"{family}/NAME", Text(f"{of.sentence} Needs {of.package}: {install}"))
    screen.print(table)
    screen.print(
        f"Trains as model.tuning says: {', '.join(TUNINGS)}. Names of a family, or the weights of "
        "a model: `python -m search models NAME`"
    )


def _print_training(screen: Console, name: str) -> None:
    """The ranges of a model's training, by the weights it starts from and the part that trains."""
    screen.print(_numbers("From random weights", training_hyperparameters(fresh=True)))
    if models.published(name):
        screen.print(_numbers("From published weights", training_hyperparameters(fresh=False)))
        screen.print(_numbers("The same, with model.tuning", tuning_rates()))
        try:
            models.text_tower(name, models.published(name)[0])
        except ValueError:
            return
        screen.print(_numbers("With its texts as head", training_hyperparameters(False, True)))


def print_datasets() -> None:
    """All datasets in a table."""
    table = Table(title="Datasets", title_justify="left")
    for column in ("name", "domains", "classes", "what it is", "source"):
        table.add_column(column)
    for name in datasets.DATASETS:
        about = datasets.describe(name)
        domains = ", ".join(about.domains)
        table.add_row(name, domains, str(about.classes or ""), about.sentence, about.source)
    screen = console()
    screen.print(table)
    stored = ", ".join(name for name, entry in datasets.DATASETS.items() if not entry.resizes)
    screen.print(
        f"{stored} are shown as they are stored. Images of the others are brought to dataset.size "
        "(224), normalised as the model's weights want it, and augmented in training: "
        f"{AUGMENTED}; training.augmentation: none leaves that out."
    )
