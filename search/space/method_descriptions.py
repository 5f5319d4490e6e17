"""What an algorithm is, read off the code: for the screen and for the heads of its card."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from search.space import algorithm_names
from search.space.algorithm_names import AVERAGES
from search.space.published_settings import ANY, PUBLISHED, Published, published
from search.space.ranges import extremes, show_number, show_value, text
from search.space.suggested_ranges import (
    CLIPOOD,
    DENSE,
    EMA,
    ERMPP,
    RANGES,
    SWA,
    SWAD,
    TEXT_HEAD,
    TRAINING,
    Suggestion,
    suggestions,
)
from training import averaging
from training.algorithms import OF_TEXTS, PARTS, ZERO_SHOT, hyperparameters
from training.averaging import AVERAGINGS, NONE

# All that can stand in the name of an algorithm, and has a card.
METHODS = ("ERM", ZERO_SHOT, *PARTS, *AVERAGES)

# Every algorithm has these besides its own.
TRAINING_HYPERPARAMETERS = tuple(RANGES[TRAINING])

ERM = "The plain gradient of the mean loss: empirical risk minimization."
ERM_PAPER = "Vapnik 1998; as a baseline Gulrajani & Lopez-Paz 2021, arXiv 2007.01434"
UNTRAINED = (
    "CLIP without training: an image gets the class whose text is most like it.\n\nLikeness is the "
    "cosine of the features of image and text. It needs model.head: text or text-fixed, has no "
    "hyperparameters, and one trial in each study."
)
UNTRAINED_PAPER = "Radford et al. 2021 (CLIP), arXiv 2103.00020"
# What is no part of an update -> what it does, and its source.
UNPARTED = {"ERM": (ERM, ERM_PAPER), ZERO_SHOT: (UNTRAINED, UNTRAINED_PAPER)}
AVERAGING_PAPERS = {
    "SWAD": SWAD,
    "SWA": SWA,
    "SMA": DENSE,
    "EMA": EMA,
    "BMA": CLIPOOD,
    "ERM++": ERMPP,
}


@dataclass(frozen=True)
class Hyperparameter:
    """A row of a table of hyperparameters: texts."""

    name: str
    default: str
    range: str
    source: str


def summary(part: str) -> str:
    """One sentence on a part or an average."""
    return description(part).splitlines()[0]


def description(part: str) -> str:
    """What a part or an average does, its formula and its hyperparameters; a paragraph a line."""
    if part in UNPARTED:
        return UNPARTED[part][0]
    described = AVERAGINGS[AVERAGES[part]] if part in AVERAGES else PARTS[part]
    paragraphs = (inspect.getdoc(described) or "").split("\n\n")
    return "\n\n".join(re.sub(r"\s*\n\s*(?!- )", " ", text) for text in paragraphs)


def cost(part: str) -> str:
    """Forward and backward passes per step; 1 is a step of ERM."""
    if part == ZERO_SHOT:
        return "0"
    if part == "ERM" or part in AVERAGES:
        return "1"
    ordinary = show_number(PARTS[part].cost, digits=3)
    if not hasattr(PARTS[part], "annealed_cost"):
        return ordinary
    plain, again = (PARTS[part]().annealed_cost(redrawn) for redrawn in (False, True))
    return f"{ordinary}; {round(plain)} in its window, about {round(again)} with dropout"


def paper(part: str) -> str:
    """Where a part or an average comes from."""
    if part in AVERAGES:
        return AVERAGING_PAPERS[part]
    return UNPARTED[part][1] if part in UNPARTED else str(PARTS[part].paper)


def defaults(algorithm: str) -> dict[str, float]:
    """The algorithm's own hyperparameters, without the training's, and their defaults."""
    update, average = algorithm_names.split(algorithm)
    return hyperparameters(update) | averaging.hyperparameters(average or NONE)


def own_hyperparameters(algorithm: str) -> list[Hyperparameter]:
    """The algorithm's own hyperparameters, without the training's."""
    values = defaults(algorithm)
    return _rows(values, values, suggestions(_parts(algorithm)))


def training_hyperparameters(fresh: bool, texts: bool = False) -> list[Hyperparameter]:
    """Those of every algorithm; fresh: for a model that starts from random weights.

    texts: for one whose head is made of texts.
    """
    parts = [TEXT_HEAD] if texts else []
    values = {name: entry.value for name, entry in published(parts, fresh=fresh).items()}
    return _rows(TRAINING_HYPERPARAMETERS, values, suggestions(parts, fresh))


def tuning_rates() -> list[Hyperparameter]:
    """The learning rate of each tuning that has one of its own."""
    found = []
    for tuning in ("head", "lora"):
        lr = RANGES[tuning]["lr"]
        default = show_value(published([tuning])["lr"].value)
        found.append(Hyperparameter(f"lr, {tuning}", default, text(lr.range), lr.source))
    return found


def card(part: str) -> str:
    """The head of a method card, in Markdown."""
    lines = [f"# {part}", "", description(part), ""]
    lines += [f"Cost: {cost(part)} (forward and backward passes per step; ERM is 1).", ""]
    lines += [f"Paper: {paper(part)}.", ""]
    if own := own_hyperparameters(part):
        lines += ["| hyperparameter | default | search range | why |", "|---|---|---|---|"]
        lines += [f"| `{h.name}` | {h.default} | {h.range} | {h.source} |" for h in own]
        lines.append("")
    return "\n".join([*lines, *([] if part == ZERO_SHOT else _published(part))])


def _published(part: str) -> list[str]:
    """A row for the default and each dataset that has a setting of its own."""
    parts = _parts(part)
    values: dict[str, dict[str, Published]] = {}
    known = {data for name in (TRAINING, *parts) for data in PUBLISHED[name]} - {ANY}
    for data in (ANY, *sorted(known)):
        values[data] = published(parts, data)
    names = [n for n in (*TRAINING_HYPERPARAMETERS, *defaults(part)) if n in values[ANY]]
    lines = [
        "Default, and settings published for a dataset. A study begins with its own row, then "
        "tries the training values of other algorithms on its dataset:",
        "",
    ]
    lines += [f"| | {' | '.join(f'`{name}`' for name in names)} |", "|---" * (len(names) + 1) + "|"]
    for data, found in values.items():
        default = all(found[name].default for name in names)
        row = "default" if data == ANY else f"{data}, {'default' if default else 'published'}"
        lines.append(f"| {row} | {' | '.join(show_value(found[n].value) for n in names)} |")
    sources = dict.fromkeys(found[name].source for found in values.values() for name in names)
    low = extremes(RANGES[TRAINING]["weight_decay"].range)[0]
    zero = f" A weight decay of 0 is tried as {show_value(low)}, the low end of its range."
    if TEXT_HEAD in parts:
        zero = ""  # its own is fixed
    return [*lines, "", f"From: {'; '.join(sources)}.{zero}", ""]


def _parts(algorithm: str) -> tuple[str, ...]:
    """Its parts and its average, as the tables of ranges and settings have them."""
    _, average = algorithm_names.split(algorithm)
    parts = (*algorithm_names.parts(algorithm), *([average] if average else []))
    return (*parts, *([TEXT_HEAD] if any(part in OF_TEXTS for part in parts) else []))


def _rows(
    names: Iterable[str], values: Mapping[str, float | str], ranges: Mapping[str, Suggestion]
) -> list[Hyperparameter]:
    return [
        Hyperparameter(
            name, show_value(values[name]), text(ranges[name].range), ranges[name].source
        )
        for name in names
    ]
