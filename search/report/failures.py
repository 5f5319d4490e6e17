"""Trials that came to no result, and why."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

MOST_ROWS = 100
_LONGEST = 600  # characters of a reason


@dataclass(frozen=True)
class Failure:
    """Trials of an algorithm that ended alike; `example` is one of them."""

    dataset: str
    algorithm: str
    state: str
    reason: str
    trials: int
    example: str


def failures(trials: pd.DataFrame) -> tuple[list[Failure], str]:
    """Failed and diverged trials, the most frequent first, and what was left out if much is."""
    lost = trials[trials["state"].isin(["failed", "diverged"])]
    lost = lost.assign(reason=lost["reason"].fillna("no reason recorded"))
    keys = ["state", "dataset", "algorithm", "reason"]
    found = [
        Failure(
            str(dataset), str(algorithm), str(state), _short(str(reason)), len(rows), rows.iloc[0]
        )
        for (state, dataset, algorithm, reason), rows in lost.groupby(
            keys, sort=False, observed=True
        )["trial"]
    ]
    found.sort(key=lambda failure: (failure.state != "failed", -failure.trials))
    hidden = len(found) - MOST_ROWS
    told = f"{hidden} more kinds of failure are in the table `trials`." if hidden > 0 else ""
    return found[:MOST_ROWS], told


def _short(reason: str) -> str:
    return reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]} …"
