"""How searches of the same studies compare: figures with intervals over held-out domains."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.played_search import Played

ALL = "all"


@dataclass(frozen=True)
class Compared:
    """The searches of one study. known: the best validation that any of its trials came to."""

    algorithm: str
    held_out: str
    seed: int
    known: float
    played: Mapping[str, Played]

    def summary(self) -> dict[str, Any]:
        """Its outcomes, without the curves."""
        return {
            "algorithm": self.algorithm,
            "held_out": self.held_out,
            "seed": self.seed,
            "known": self.known,
            "searches": {
                name: {
                    "passes": one.spent,
                    "trials": one.trials,
                    "stopped": one.stopped,
                    "switches": one.switches,
                    "validation": one.validation[-1],
                    "held_out": one.held_out[-1],
                    "missed": one.missed,
                }
                for name, one in self.played.items()
            },
        }


@dataclass(frozen=True)
class Mean:
    """A mean over studies and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """How a search compares with the protocol.

    spent, wall: passes, and passes from beginning to end, as a share of the protocol's. until:
    passes until validation is as good as the protocol's choice, as a share likewise; all of it
    where it never is. reached: share of studies in which it is. until_held_out, reached_held_out:
    the same of held-out accuracy, counted from where it stays as good. validation, held_out: of the
    choice, less the protocol's; with third, of that after a third of the protocol's passes. regret:
    the study's best known validation less the choice's. missed: share of studies in which a stopped
    trial would have beaten the choice.
    """

    search: str
    algorithm: str
    studies: int
    trials: float
    stopped: float
    spent: Mean
    wall: Mean
    until: Mean
    reached: Mean
    until_held_out: Mean
    reached_held_out: Mean
    validation: Mean
    held_out: Mean
    third_validation: Mean
    third_held_out: Mean
    regret: Mean
    missed: Mean


def rows_of(compared: Sequence[Compared], protocol: str) -> list[Row]:
    """A row for each search over all algorithms, then for each search of each algorithm."""
    algorithms = list(dict.fromkeys(one.algorithm for one in compared))
    rows = []
    for algorithm in [ALL, *algorithms] if len(algorithms) > 1 else algorithms:
        own = [one for one in compared if algorithm in (ALL, one.algorithm)]
        rows += [row_of(own, search, protocol, algorithm) for search in own[0].played]
    return rows


def row_of(compared: Sequence[Compared], search: str, protocol: str, algorithm: str) -> Row:
    def mean(figure: Callable[[Played, Played, float], float]) -> Mean:
        by_domain: dict[str, list[float]] = {}
        for one in compared:
            value = figure(one.played[search], one.played[protocol], one.known)
            by_domain.setdefault(one.held_out, []).append(value)
        return interval(list(by_domain.values()))

    def until(curve: str, one: Played, other: Played) -> float | None:
        return one.until(getattr(one, curve), getattr(other, curve)[-1])

    def share(curve: str) -> Mean:
        def capped(one: Played, other: Played, _: float) -> float:
            passes = until(curve, one, other)
            return min(1.0 if passes is None else passes / other.spent, 1.0)

        return mean(capped)

    def reached(curve: str) -> Mean:
        return mean(lambda one, other, _: float(until(curve, one, other) is not None))

    def gain(curve: str, share: float) -> Mean:
        def less(one: Played, other: Played, known: float) -> float:
            at = one.at(share * other.spent)
            return float(getattr(one, curve)[at] - getattr(other, curve)[-1])

        return mean(less)

    own = [one.played[search] for one in compared]
    return Row(
        search=search,
        algorithm=algorithm,
        studies=len(compared),
        trials=float(np.mean([one.trials for one in own])),
        stopped=float(np.mean([one.stopped for one in own])),
        spent=mean(lambda one, other, _: one.spent / other.spent),
        wall=mean(lambda one, other, _: one.wall / other.wall if other.wall else math.nan),
        until=share("validation"),
        reached=reached("validation"),
        until_held_out=share("held_out"),
        reached_held_out=reached("held_out"),
        validation=gain("validation", math.inf),
        held_out=gain("held_out", math.inf),
        third_validation=gain("validation", 1 / 3),
        third_held_out=gain("held_out", 1 / 3),
        regret=mean(lambda one, _, known: known - one.validation[-1]),
        missed=mean(lambda one, *_: float(one.missed > one.validation[-1])),
    )


def interval(groups: Sequence[Sequence[float]], level: float = 0.95) -> Mean:
    """The mean over groups, held-out domains, of each group's mean, with its t interval.

    Seeds and algorithms of one held-out domain share it, so the domains are the sample. NaN ends
    with fewer than three.
    """
    means = np.array([np.mean(group) for group in groups])
    if len(means) < 3:
        return Mean(float(means.mean()), math.nan, math.nan)
    error = stats.sem(means)
    width = stats.t.ppf((1 + level) / 2, len(means) - 1) * error
    return Mean(float(means.mean()), float(means.mean() - width), float(means.mean() + width))


def table(rows: Sequence[Row]) -> str:
    """Shares in per cent; validation, held-out and regret in points (hundredths)."""
    shown = [field.name for field in fields(Row)][5:]
    lines = [f"{'algorithm':12} {'search':14} {'studies':>7} {'stopped':>10}"]
    lines[0] += "".join(f" {name.replace('_', ' '):>22}" for name in shown)
    for row in rows:
        line = f"{row.algorithm:12} {row.search:14} {row.studies:7d}"
        line += f" {row.stopped:4.1f} of {row.trials:2.0f}"
        for name in shown:
            mean = getattr(row, name)
            text = f"{100 * mean.mean:.1f} [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"
            line += f" {text:>22}"
        lines.append(line)
    return "\n".join(lines)
