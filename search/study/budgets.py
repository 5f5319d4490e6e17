"""Budgets of a sweep and what is spent of them: trials, device hours, passes, wall time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.sweep.search_keys import Search

if TYPE_CHECKING:
    import pandas as pd

BUDGET, STUDY_BUDGET = "search.budget", "search.study_budget"
WALL_HOURS = f"{BUDGET}.wall_hours"


@dataclass(frozen=True)
class Spent:
    """What trials count against a budget: their number, seconds of training, and passes."""

    trials: int = 0
    seconds: float = 0.0
    passes: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.trials + other.trials, self.seconds + other.seconds, self.passes + other.passes
        )


@dataclass(frozen=True)
class Limit:
    """A limit of the sweep file, such as `search.budget.passes`, and what is spent of it."""

    key: str
    most: float
    spent: float

    @property
    def reached(self) -> bool:
        """Whether nothing is left."""
        return self.spent >= self.most

    def __str__(self) -> str:
        return f"{self.key}: {_short(self.spent)} of {_short(self.most)} spent"


def _short(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 1000 else f"{amount:.4g}"


def has_limit(budget: Mapping[str, float | None]) -> bool:
    """Whether a budget has any limit."""
    return any(most is not None for most in budget.values())


def has_budget(search: Search) -> bool:
    """Whether the sweep, or each of its studies, may spend only so much."""
    return has_limit(dict(search.budget)) or has_limit(dict(search.study_budget))


def limits(
    key: str,
    budget: Mapping[str, float | None],
    resources: Mapping[str, Any],
    cost: Spent,
    wall_hours: float = 0.0,
) -> list[Limit]:
    """The limits of the budget under `key`; resources: what one trial occupies."""
    hours = cost.seconds / 3600
    spent = {
        "trials": cost.trials,
        # With gpu: auto there is no such limit (search.checks.check_search).
        "gpu_hours": hours * (0.0 if resources["gpu"] == "auto" else resources["gpu"] or 0.0),
        "cpu_hours": hours * (resources["cpu"] or 0.0),
        "passes": cost.passes,
        "wall_hours": wall_hours,
    }
    return [
        Limit(f"{key}.{name}", most, spent[name])
        for name, most in budget.items()
        if most is not None
    ]


def spent_by_study(trials: pd.DataFrame) -> dict[str, Spent]:
    """What the trials of a table have spent, by study."""
    found = {}
    for study, rows in trials.groupby("study", sort=False):
        passes = rows["passes"].sum() if "passes" in rows else 0.0  # old tables have none
        found[str(study)] = Spent(len(rows), float(rows["seconds"].sum()), float(passes))
    return found
