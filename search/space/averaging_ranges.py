"""Where the numbers of an averaging are searched, what is reported of them, and by whom."""

from __future__ import annotations

from collections.abc import Mapping

from search.space.published_settings import ANY, Published
from search.space.ranges import Choice, Fixed, Interval, Value
from search.space.suggested_ranges import Suggestion

SWAD = "Cha et al. 2021, arXiv 2102.08604, and its released code"
SWA = "Izmailov et al. 2018, arXiv 1803.05407"
DENSE = "Arpit et al. 2022, arXiv 2110.10832"
EMA = "Tarvainen & Valpola 2017, arXiv 1703.01780"

PAPERS = {"swad": SWAD, "swa": SWA, "ema": EMA}

RANGES: dict[str, dict[str, Suggestion]] = {
    "none": {},
    "swad": {
        "swad_converge": Suggestion(Choice((3, 5)), f"from 3 up ({SWAD})"),
        "swad_tolerance": Suggestion(Choice((4, 6, 8)), f"around 6 ({SWAD})"),
        "swad_ratio": Suggestion(Interval(0.1, 0.5), f"around 0.3, and 0.2 on VLCS ({SWAD})"),
    },
    "swa": {
        "swa_start": Suggestion(
            Interval(0.0, 0.9), f"around 0.75 ({SWA}), or from early on ({DENSE})"
        ),
        "swa_every": Suggestion(Fixed(1), f"every step ({DENSE}); an epoch in {SWA}"),
    },
    "ema": {"ema_decay": Suggestion(Choice((0.99, 0.999)), EMA)},
}


def _all(source: str, **values: Value) -> dict[str, Published]:
    return {name: Published(value, source) for name, value in values.items()}


PUBLISHED: dict[str, dict[str, dict[str, Published]]] = {
    "none": {ANY: {}},
    "swad": {
        ANY: _all(SWAD, swad_converge=3, swad_tolerance=6, swad_ratio=0.3),
        "VLCS": _all(SWAD, swad_ratio=0.2),
    },
    "swa": {ANY: _all(SWA, swa_start=0.75) | _all(DENSE, swa_every=1)},
    "ema": {ANY: _all(EMA, ema_decay=0.999)},
}


def published(dataset: str, averaging: str) -> dict[str, Value]:
    """Reported values of all numbers of an averaging; those of any dataset where none is."""
    return {name: entry.value for name, entry in reported(dataset, averaging).items()}


def reported(dataset: str, averaging: str) -> Mapping[str, Published]:
    """As `published`, with the source of each value."""
    entries = PUBLISHED[averaging]
    return entries[ANY] | entries.get(dataset, {})
