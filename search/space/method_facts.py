"""What is known of an algorithm, read off the code: for the screen and for its card."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from search.space import algorithm_names, averaging_ranges, tuning_ranges
from search.space.algorithm_names import AVERAGES
from search.space.published_settings import ANY, PUBLISHED, Published, published, reported
from search.space.ranges import show_number, show_value, text
from search.space.suggested_ranges import suggestions
from training import averaging
from training.algorithms import PARTS, hyperparameters, parse
from training.averaging import AVERAGINGS, NONE

# Whatever can stand in the name of an algorithm, and has a card.
METHODS = ("ERM", *PARTS, *AVERAGES)

# Those that every algorithm has, besides its own.
TRAINING = ("lr", "weight_decay", "dropout", "batch_size")

ERM = "The plain gradient of the mean loss: empirical risk minimization."
ERM_PAPER = "Vapnik 1998; as a baseline Gulrajani & Lopez-Paz 2021, arXiv 2007.01434"


@dataclass(frozen=True)
class Hyperparameter:
    """One number of an algorithm, or of the training."""

    name: str
    default: str
    range: str
    source: str


def summary(part: str) -> str:
    """One sentence on a part."""
    return description(part).splitlines()[0]


def description(part: str) -> str:
    """What a part or an average does, its formula and its numbers; a paragraph a line."""
    if part == "ERM":
        return ERM
    described = AVERAGINGS[AVERAGES[part]] if part in AVERAGES else PARTS[part]
    paragraphs = (inspect.getdoc(described) or "").split("\n\n")
    return "\n\n".join(re.sub(r"\s*\n\s*(?!- )", " ", text) for text in paragraphs)


def cost(part: str) -> str:
    """Forward and backward passes of a step; ERM's is 1."""
    return "1" if part == "ERM" or part in AVERAGES else str(PARTS[part].cost)


def paper(part: str) -> str:
    if part in AVERAGES:
        return averaging_ranges.PAPERS[AVERAGES[part]]
    return ERM_PAPER if part == "ERM" else str(PARTS[part].paper)


def own_numbers(algorithm: str) -> dict[str, float]:
    """The hyperparameters of an algorithm beside the training's, with their defaults."""
    update, average = algorithm_names.split(algorithm)
    return hyperparameters(update) | averaging.hyperparameters(average or NONE)


def numbers(algorithm: str) -> list[Hyperparameter]:
    """The hyperparameters of an algorithm beside the training's."""
    own = own_numbers(algorithm)
    update, average = algorithm_names.split(algorithm)
    suggested = suggestions(parse(update)) | averaging_ranges.RANGES[average or NONE]
    return [
        Hyperparameter(
            name, show_number(own[name]), text(suggested[name].range), suggested[name].source
        )
        for name in own
    ]


def training_ranges(fresh: bool) -> list[Hyperparameter]:
    """Where the training's numbers are searched, of a model from random weights or another."""
    found = suggestions((), fresh)
    values = published(ANY, "ERM", fresh)
    return [
        Hyperparameter(name, show_value(values[name]), text(found[name].range), found[name].source)
        for name in TRAINING
    ]


def tuning_rates() -> list[Hyperparameter]:
    """Where the learning rate is searched with a tuning of a part of the model."""
    found = []
    for tuning, ranges in tuning_ranges.RANGES.items():
        if "lr" in ranges:
            default = show_value(tuning_ranges.PUBLISHED[tuning]["lr"].value)
            lr = ranges["lr"]
            found.append(Hyperparameter(f"lr, {tuning}", default, text(lr.range), lr.source))
    return found


def card(part: str) -> str:
    """The head of a method card, in Markdown."""
    own = own_numbers(part)
    lines = [f"# {part}", "", description(part), ""]
    lines += [f"Cost: {cost(part)} (forward and backward passes per step; ERM is 1).", ""]
    lines += [f"Paper: {paper(part)}.", ""]
    if own:
        lines += ["| hyperparameter | default | search range | why |", "|---|---|---|---|"]
        lines += [f"| `{h.name}` | {h.default} | {h.range} | {h.source} |" for h in numbers(part)]
        lines.append("")
    return "\n".join([*lines, *_published(part)])


def _published(part: str) -> list[str]:
    """A row for the default and each dataset that a paper or released code has a setting for."""
    update, average = algorithm_names.split(part)
    tables = [PUBLISHED[name] for name in ("training", *parse(update))]
    tables.append(averaging_ranges.PUBLISHED[average or NONE])
    datasets = [ANY, *sorted({data for table in tables for data in table} - {ANY})]
    names = [name for name in (*TRAINING, *own_numbers(part)) if name in _reported(ANY, part)]
    rule = "|---" * (len(names) + 1) + "|"
    lines = ["Published settings, the first trial of a study:", ""]
    lines += [f"| | {' | '.join(f'`{name}`' for name in names)} |", rule]
    sources: dict[str, None] = {}
    for data in datasets:
        found = _reported(data, part)
        sources |= dict.fromkeys(found[name].source for name in names)
        lines.append(f"| {data} | {' | '.join(show_value(found[n].value) for n in names)} |")
    return [*lines, "", f"From: {'; '.join(sources)}.", ""]


def _reported(data: str, part: str) -> dict[str, Published]:
    update, average = algorithm_names.split(part)
    return {**reported(data, update), **averaging_ranges.reported(data, average or NONE)}
