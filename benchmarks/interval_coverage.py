"""How often the intervals and tests of `compare` are right, where the truth is known.

    python -m benchmarks.interval_coverage [--repetitions 4000] [--small]

Accuracies are drawn so that the difference of two methods varies over domains and over seeds, and
over datasets where there are several, by the standard deviations of each row (percentage points).
On average over domains all methods are alike. The columns, each in percent of the repetitions:

    holds: here, like    the interval of two methods holds the mean on these held-out domains, and
                         the mean over all domains (search.results.intervals)
    ERM: here, like      any of the 7 intervals of 8 methods against ERM leaves out the truth
    best: here, like     the same of the best against each other
    better               the best is said to be better than another, on domains like these
    Friedman, ranks      the test finds a difference; a method is worse than the first
    old: ...             before: the bootstrap over (held-out domain, seed) holds the mean over all
                         domains; any of 7 leaves it out; Friedman's test over these pairs

Shared with `compare` are `estimate`, `friedman` and `critical_difference`; the first repetitions of
each row go through all of `compare` and must come out the same. What was before takes an eighth of
the repetitions.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import astuple, dataclass

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.stats import friedmanchisquare, rankdata

from search.results import comparison
from search.results.intervals import Intervals, estimate, means_of_units

METHODS = ("ERM", *(f"method {number}" for number in range(1, 8)))
PAIRS = len(METHODS) * (len(METHODS) - 1) // 2
CHECKED = 2  # repetitions that go through `compare`
RESAMPLES = 999


@dataclass(frozen=True)
class Case:
    """A design, and by how much the difference of two methods varies: standard deviations."""

    name: str
    domains: tuple[int, ...] = (4,)  # of each dataset
    seeds: int = 3
    over_seeds: float = 1.4
    over_domains: float = 1.4
    over_datasets: float = 0.0
    uneven: bool = False  # seeds of one domain, and one method, vary three times as much
    missing: float = 0.0  # share of the accuracies
    skewed: bool = False  # exponential differences to an ERM that does not vary
    bounded: bool = True  # whether its shares are promised

    @property
    def domain(self) -> np.ndarray:
        """Of each (held-out domain, seed)."""
        return np.repeat(np.arange(sum(self.domains)), self.seeds)

    @property
    def dataset(self) -> np.ndarray:
        """Of each domain."""
        return np.repeat(np.arange(len(self.domains)), self.domains)


FIVE = (4, 4, 4, 4, 6)
CASES = (
    Case("4 domains, 3 seeds"),
    Case("4 domains, 5 seeds", seeds=5),
    Case("4 domains, 3 seeds that vary less", over_seeds=0.5),
    Case("4 domains without a difference, 3 seeds", over_domains=0.0),
    Case("6 domains, 2 seeds", domains=(6,), seeds=2),
    Case("3 domains, 3 seeds", domains=(3,)),
    Case("4 domains, 5 seeds, 5 % missing", seeds=5, missing=0.05),
    Case("4 domains, 3 seeds, one domain and one method vary more", uneven=True),
    Case("5 datasets of 4 to 6 domains, 3 seeds", domains=FIVE),
    Case("5 datasets that differ", domains=FIVE, over_datasets=1.4),
    Case("4 domains, 3 seeds, skewed", skewed=True, bounded=False),
)


@dataclass(frozen=True)
class Shares:
    """Of the repetitions of a case; see above."""

    holds_here: float
    holds_like: float
    erm_here: float
    erm_like: float
    best_here: float
    best_like: float
    better: float
    friedman: float
    ranks: float
    old_holds: float
    old_erm: float
    old_friedman: float

    @property
    def kept(self) -> bool:
        """Whether coverage is within 93 to 97 %, and each other error at most 6 %."""
        holds, errors = astuple(self)[:2], astuple(self)[2:9]
        return all(0.93 <= share <= 0.97 for share in holds) and max(errors) <= 0.06


def measure(case: Case, repetitions: int, seed: int = 0) -> Shares:
    rng = np.random.default_rng([seed, *case.name.encode()])
    accuracy, truth = drawn(case, repetitions, rng)
    best = _best(case, accuracy)
    two = _outside(case, *(_against(values, 0)[..., 1] for values in (accuracy, truth)), 1)
    erm = _outside(case, *(_against(values, 0) for values in (accuracy, truth)), len(METHODS) - 1)
    others = _outside(case, *(_against(values, best) for values in (accuracy, truth)), PAIRS)
    _, better = _intervals(case, -_against(accuracy, best), PAIRS)
    for repetition in range(CHECKED):
        _same_as_compare(case, accuracy[:, repetition])
    each = accuracy.swapaxes(0, 1)
    ranked = np.mean([_ranks(case, values) for values in each], axis=0)
    old = np.mean([_old(values, rng) for values in each[: repetitions // 8]], axis=0)
    return Shares(
        *(1 - missed.mean() for missed in two),
        *(missed.any(axis=-1).mean() for missed in (*erm, *others)),
        (better.low > 0).any(axis=-1).mean(),
        *ranked,
        *old,
    )


def drawn(case: Case, repetitions: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies in percent, NaN where missing, and their means over these domains.

    Shapes: [pairs, repetitions, methods] and [1, repetitions, methods].
    """

    def deviates(size: int, deviation: float) -> np.ndarray:
        shape = (size, repetitions, len(METHODS))
        if case.skewed:
            exponential: np.ndarray = (rng.exponential(size=shape) - 1) * deviation
            exponential[..., 0] = 0
            return exponential
        # A difference of two methods has both their variances.
        found: np.ndarray = rng.normal(size=shape) * deviation / np.sqrt(2)
        if case.uneven:
            found[..., -1] *= 3
        return found

    domains = deviates(len(case.dataset), case.over_domains)
    domains += deviates(len(case.domains), case.over_datasets)[case.dataset]
    datasets = [domains[case.dataset == number].mean(axis=0) for number in range(len(case.domains))]
    seeds = deviates(len(case.domain), case.over_seeds)
    if case.uneven:
        seeds[case.domain == 0] *= 3
    accuracy = 70 + domains[case.domain] + seeds
    accuracy[rng.uniform(size=accuracy.shape) < case.missing] = np.nan
    return accuracy, np.mean(datasets, axis=0)[None]


def _best(case: Case, accuracy: np.ndarray) -> np.ndarray:
    """[repetitions]: the method with the highest mean of those without a missing accuracy."""
    flat = accuracy.reshape(len(accuracy), -1)
    mean = estimate(flat, case.domain, case.dataset).difference.reshape(accuracy.shape[1:])
    return np.where(np.isnan(accuracy).any(axis=0), -np.inf, mean).argmax(axis=-1)


def _against(values: np.ndarray, one: np.ndarray | int) -> np.ndarray:
    """The differences of all methods to one, or to one in each repetition; 0 of itself."""
    index = np.broadcast_to(one, values.shape[1])[None, :, None]
    return values - np.take_along_axis(values, index, axis=-1)


def _intervals(case: Case, differences: np.ndarray, comparisons: int) -> list[Intervals]:
    """Those of both questions, each [repetitions, ...]."""
    flat = differences.reshape(len(differences), -1)
    found = estimate(flat, case.domain, case.dataset, comparisons)
    shape = differences.shape[1:]
    return [
        Intervals(each.low.reshape(shape), each.high.reshape(shape), each.why)
        for each in (found.here, found.like)
    ]


def _outside(
    case: Case, differences: np.ndarray, truth: np.ndarray, comparisons: int
) -> list[np.ndarray]:
    """Whether the truth lies outside of its interval, for both questions.

    The difference of a method and itself has no interval.
    """
    found = _intervals(case, differences, comparisons)
    return [
        (interval.low > right) | (interval.high < right)
        for interval, right in zip(found, (truth[0], 0.0), strict=True)
    ]


def _same_as_compare(case: Case, accuracy: np.ndarray) -> None:
    """Raises AssertionError unless `compare` and `compare_best` have the intervals used here."""
    selection = pd.DataFrame(
        [
            {"dataset": f"d{case.dataset[domain]}", "model": "m", "algorithm": name}
            | {"held_out": str(domain), "seed": row % case.seeds, "accuracy": accuracy[row, column]}
            for row, domain in enumerate(case.domain)
            for column, name in enumerate(METHODS)
        ]
    )
    best = _best(case, accuracy[:, None])[0]
    printed = [(comparison.compare(selection, METHODS[1:], METHODS[0]), "a", 0, len(METHODS) - 1)]
    if not np.isnan(accuracy[:, best]).any():
        printed.append((comparison.compare_best(selection), "b", best, PAIRS))
    for frame, other, one, comparisons in printed:
        own = frame.groupby("dataset", sort=False).get_group(
            comparison.ALL if len(case.domains) > 1 else "d0"
        )
        columns = [METHODS.index(name) for name in own[other]]
        sign = 1 if other == "a" else -1
        differences = sign * _against(accuracy[:, None], one)[:, 0, columns]
        used = estimate(differences, case.domain, case.dataset, comparisons)
        for question, interval in (("here", used.here), ("like", used.like)):
            np.testing.assert_allclose(own[f"{question}_low"], interval.low)
            np.testing.assert_allclose(own[f"{question}_high"], interval.high)


def _ranks(case: Case, accuracy: np.ndarray) -> tuple[bool, bool]:
    """Whether Friedman's test finds a difference, and whether one is worse than the first."""
    whole = np.where(np.isnan(accuracy).any(axis=1, keepdims=True), np.nan, accuracy)
    units, _ = means_of_units(whole, case.domain, case.dataset)
    units = units[~np.isnan(units).any(axis=1)]
    ranks = rankdata(-units, axis=1)
    # Without ties p is a function of Friedman's statistic: each value is worked out once.
    statistic = len(units), int(np.square(ranks.sum(axis=0)).sum())
    if statistic not in _known:
        distance = comparison.critical_difference(len(METHODS), len(units))
        _known[statistic] = comparison.friedman(ranks), distance
    p, distance = _known[statistic]
    return p < comparison.RISK, np.ptp(ranks.mean(axis=0)) >= distance


_known: dict[tuple[int, int], tuple[float, float]] = {}


def _old(accuracy: np.ndarray, rng: np.random.Generator) -> tuple[bool, bool, bool]:
    """What the earlier statistics said, all over (held-out domain, seed).

    Whether the bootstrap of two methods held the truth, whether any of 7 did not, and whether
    Friedman's test found a difference.
    """
    whole = accuracy[~np.isnan(accuracy).any(axis=1)]
    differences = whole[:, 1:] - whole[:, :1]
    weights = rng.multinomial(len(whole), np.full(len(whole), 1 / len(whole)), RESAMPLES)
    low, high = np.percentile(weights @ differences / len(whole), [2.5, 97.5], axis=0)
    outside = (low > 0) | (high < 0)
    return not outside[0], outside.any(), friedmanchisquare(*whole.T).pvalue < comparison.RISK


def table(found: dict[Case, Shares]) -> Table:
    header = (
        *("holds: here", "like", "ERM: here", "like", "best: here", "like", "better"),
        *("Friedman", "ranks", "old: holds", "ERM", "Friedman"),
    )
    drawn = Table("", *header, "promised")
    drawn.add_row("promised", *["95"] * 2, *["5"] * 7, "95", "5", "5", "", end_section=True)
    for case, shares in found.items():
        kept = "" if not case.bounded else "kept" if shares.kept else "NOT KEPT"
        drawn.add_row(case.name, *(f"{100 * share:.1f}" for share in astuple(shares)), kept)
    return drawn


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=4000)
    parser.add_argument("--small", action="store_true", help="the first row, 400 times")
    given = parser.parse_args()
    begun = time.monotonic()
    cases, repetitions = (CASES[:1], 400) if given.small else (CASES, given.repetitions)
    found = {case: measure(case, repetitions) for case in cases}
    Console(width=200).print(table(found))
    seconds = time.monotonic() - begun
    print(f"percent of {repetitions} repetitions; {seconds:.0f} seconds")
    return 0 if given.small or all(s.kept for case, s in found.items() if case.bounded) else 1


if __name__ == "__main__":
    sys.exit(main())
