"""Keys that carry the best settings of one study to another, and what they need."""

from __future__ import annotations

from collections.abc import Iterator

from search.sweep.config_errors import Problem
from search.sweep.search_keys import Search

KEYS = ("warm_start", "share", "seed_reduction")


def check_early_settings(search: Search) -> Iterator[Problem]:
    """Which settings are the best is told by one objective."""
    if len(search.objectives) == 1:
        return
    for key in KEYS:
        if getattr(search, key) != Search.model_fields[key].default:
            yield Problem(
                ("search", key),
                "needs one objective to say which settings are the best, and search.objective "
                "lists two; remove one of them",
            )
