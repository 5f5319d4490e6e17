"""What is known of an algorithm, read off the code: for the screen and for its card."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from search.published import ANY, PUBLISHED, reported
from search.ranges import suggestions
from search.space import show_number, show_value, text
from training.algorithms import PARTS, hyperparameters, parse

# Those that every algorithm has, besides its own.
TRAINING = ("lr", "weight_decay", "dropout", "batch_size")

ERM = "The plain gradient of the mean loss: empirical risk minimization."
ERM_PAPER = "Vapnik 1998; as a baseline Gulrajani & Lopez-Paz 2021, arXiv 2007.01434"


@dataclass(frozen=True)
class Hyperparameter:
    """One number of an algorithm; `default` is empty for those of the training."""

    name: str
    default: str
    range: str
    source: str


def summary(part: str) -> str:
    """One sentence on a part."""
    return description(part).splitlines()[0]


def description(part: str) -> str:
    """What a part does, its formula and its numbers; a paragraph a line."""
    if part == "ERM":
        return ERM
    paragraphs = (inspect.getdoc(PARTS[part]) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)


def cost(part: str) -> str:
    """Forward and backward passes of a step; ERM's is 1."""
    return "1" if part == "ERM" else str(PARTS[part].cost)


def paper(part: str) -> str:
    return ERM_PAPER if part == "ERM" else str(PARTS[part].paper)


def numbers(algorithm: str) -> list[Hyperparameter]:
    """All hyperparameters of an algorithm: the training's, then its own."""
    own = hyperparameters(algorithm)
    suggested = suggestions(parse(algorithm))
    return [
        Hyperparameter(
            name,
            show_number(own[name]) if name in own else "",
            text(suggested[name].range),
            suggested[name].source,
        )
        for name in (*TRAINING, *own)
    ]


def card(part: str) -> str:
    """The head of a method card, in Markdown."""
    own = hyperparameters(part)
    lines = [f"# {part}", "", description(part), ""]
    lines += [f"Cost: {cost(part)} (forward and backward passes per step; ERM is 1).", ""]
    lines += [f"Paper: {paper(part)}.", ""]
    if own:
        lines += ["| hyperparameter | default | search range | why |", "|---|---|---|---|"]
        lines += [
            f"| `{h.name}` | {h.default} | {h.range} | {h.source} |"
            for h in numbers(part)
            if h.name in own
        ]
        lines.append("")
    return "\n".join([*lines, *_published(part)])


def _published(part: str) -> list[str]:
    """A row for the default and each dataset that a paper or released code has a setting for."""
    known = {data for name in parse(part) or ("training",) for data in PUBLISHED.get(name, {})}
    datasets = [ANY, *sorted(known - {ANY})]
    names = [name for name in (*TRAINING, *hyperparameters(part)) if name in reported(ANY, part)]
    rule = "|---" * (len(names) + 1) + "|"
    lines = ["Published settings, the first trial of a study:", ""]
    lines += [f"| | {' | '.join(f'`{name}`' for name in names)} |", rule]
    sources: dict[str, None] = {}
    for data in datasets:
        found = reported(data, part)
        sources |= dict.fromkeys(found[name].source for name in names)
        lines.append(f"| {data} | {' | '.join(show_value(found[n].value) for n in names)} |")
    return [*lines, "", f"From: {'; '.join(sources)}.", ""]
