"""What the search of a run maximized, and how its results are selected if nobody says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from search.results.plain_sweep import Sweep
from search.sweep.objectives import peeking

DEFAULT = "training-domain"  # DomainBed's honest rule


def objectives(search: Mapping[str, Any]) -> list[str]:
    """What a search maximized, from the `search` section of a sweep."""
    named = search.get("objective", DEFAULT)
    return [named] if isinstance(named, str) else list(named)


def main_method(sweeps: Iterable[Sweep]) -> str:
    """The selection method of results where none is named: the one that the search maximized.

    The first objective, if it is that of all these sweeps and does not see the held-out domain;
    else training-domain.
    """
    firsts = {objectives(sweep.get("search") or {})[0] for sweep in sweeps}
    first, *others = firsts
    return DEFAULT if others or peeking([first]) else first
