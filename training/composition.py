"""Parts become one update, or a sentence that says why they cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields

from training.update import Update

Part = Callable[[Update], Update]

# What a slot says of a step. Only one part may say it.
OWNED = {
    "objective": "what every pass differentiates",
    "steering": "which way the first pass leads",
    "metric": "how the ball is shaped",
    "follow": "what the climb follows",
    "epsilon": "what keeps the climb finite",
    "scale": "how far to climb",
    "combine": "what the optimizer gets",
    "climbs": "which climbs to make",
    "before": "where the weights go before the step",
    "mix": "what the passes see",
    "refine": "how the final gradient changes",
    "walk": "how a step goes from domain to domain",
    "anchor": "what the features are compared with",
}
SHAPING = ("steering", "metric", "follow", "combine")
READING_DOMAINS = ("objective", "penalties", "steering")


def compose(parts: Iterable[Part], names: Sequence[str] = ()) -> Update:
    """Folds parts over the plain update.

    names: what to call the parts; the names of their classes if left out.

    Raises ValueError, naming the parts and saying why, if two own the same slot, if one shapes an
    ascent that none makes, or if one takes away what another looks at.
    """
    update, owners = Update(), dict[str, list[str]]()
    comparing = set[str]()
    parts = list(parts)
    for name, part in zip(names or [type(part).__name__ for part in parts], parts, strict=True):
        edited = part(update)
        for slot in _differing(update, edited):
            if slot in owners and slot in OWNED:
                both = f"{owners[slot][0]} and {name}"
                raise ValueError(f"{both} both say {OWNED[slot]} (slot {slot})")
            owners.setdefault(slot, []).append(name)
        if getattr(part, "compares_domains", False):
            comparing.add(name)
        update = edited
    for reason in _refusals(owners, comparing):
        raise ValueError(reason)
    return update


def shaping(update: Update) -> list[str]:
    """Slots that act only where there is an ascent, and are set."""
    return [slot for slot in _differing(Update(), update) if slot in SHAPING]


def climbing(update: Update) -> bool:
    """Whether the update has an ascent of any kind."""
    return update.scale is not None or update.climbs is not None


def _refusals(owners: dict[str, list[str]], comparing: set[str]) -> Iterable[str]:
    """Why parts that share no slot cannot work together, if they cannot."""

    def those(*slots: str) -> list[str]:
        return [name for slot in slots for name in owners.get(slot, ())]

    for climber in those("climbs"):
        for other in those("scale", *SHAPING):
            yield f"{climber} makes climbs of its own, which leave nothing for {other} to shape"
    if "scale" not in owners:
        for shaper in those(*SHAPING):
            yield f"{shaper} shapes an ascent that no part makes: add SAM, GSAM or SAGM"
    past = those("anchor")  # these look at each sample by itself
    for mixer in those("mix"):
        for other in [name for name in those(*READING_DOMAINS) if name not in past]:
            yield f"{mixer} mixes domains and classes, which {other} must tell apart"
    for walker in those("walk"):
        for other in filter(comparing.__contains__, those(*READING_DOMAINS, "mix", "refine")):
            yield f"{walker} sees one domain at a time, and {other} needs several at once"


def _differing(before: Update, after: Update) -> list[str]:
    names = (slot.name for slot in fields(Update))
    return [n for n in names if getattr(before, n) is not getattr(after, n)]
