"""Whether algorithms differ: paired differences, and mean ranks.

Runs with the same held-out domain and seed share splits, first weights and batches: the difference
within such a pair leaves out what these do, where the errors of two means keep it in.

Ranks are taken in blocks that are independent: held-out domains, as the seeds of one share it, and
for the same reason datasets where there are several. Sets of held-out domains that share one are
not independent: no interval on domains like these and no test of ranks is made of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd

from search.errors import SteppeError, way_out
from search.results.held_out_sets import overlap
from search.results.intervals import FEWEST, Estimates, Intervals, estimate, means_of_units

PAIR = ["dataset", "model", "held_out", "seed"]
ALL = "all"
RISK = 0.05
RESAMPLES = 9999
SHARED = "held-out sets share domains"


class TooLittle(SteppeError):
    """There are too few results to compare algorithms."""


def accuracies(selection: pd.DataFrame) -> pd.DataFrame:
    """The accuracy of each winner in a selection by one method.

    A row per (dataset, model, held-out domain, seed), a column per algorithm, both in order of
    appearance; NaN where there is no winner.
    """
    plain = selection.astype(dict.fromkeys((*PAIR, "algorithm"), object))
    wide = plain.set_index([*PAIR, "algorithm"])["accuracy"].unstack("algorithm", sort=False)
    return wide.astype("float64")


def compare(selection: pd.DataFrame, others: Sequence[str], b: str) -> pd.DataFrame:
    """By how much each of the others is better than `b`.

    There is a row per dataset and model, and one for all datasets of a model together. Columns:
    dataset, model, a, b; difference, the mean of accuracy(a) - accuracy(b) (a fraction);
    here_low, here_high, its interval on these held-out domains, and here_why, why there is none;
    like_low, like_high, like_why, the same on domains like these (search.results.intervals);
    comparisons, how many intervals hold together; datasets and domains that the mean is over; pairs
    that both have a result for, of asked ones; wins, losses, equal of `a` in them.
    Raises SteppeError for an algorithm that is not there, TooLittle if no pair has both results.
    """
    wide = accuracies(selection)
    for name in (*others, b):
        if name not in wide:
            raise SteppeError(f"there is no algorithm {name!r} here: {way_out(name, wide.columns)}")
    if b in others:
        raise SteppeError(f"{b} cannot be compared with itself; name two algorithms")
    rows = [
        row
        for dataset, model, group in groups(wide)
        for row in _rows(dataset, model, group, [(a, b) for a in others], len(others))
    ]
    found = pd.DataFrame(rows)
    if found["difference"].isna().all():
        raise TooLittle(
            f"{' or '.join(others)} and {b} share no pair of held-out domain and seed that both "
            "have a result for; see `results` for what is missing"
        )
    return found


def compare_best(selection: pd.DataFrame, best: str | None = None) -> pd.DataFrame:
    """By how much the best algorithm is better than each other, in each dataset and model.

    The same numbers picked the best, so the intervals hold for all pairs of algorithms together.
    best: an algorithm; None: the one with the highest mean of those with all results, and no rows
    where none has all. Columns: those of `compare`, with the best as `a`.
    """
    rows = []
    for dataset, model, group in groups(accuracies(selection)):
        some = group.dropna(axis="columns", how="all")
        complete = some.dropna(axis="columns")
        if best is None and complete.empty:
            continue
        a = best or _highest(complete)
        pairs = [(a, str(name)) for name in some if name != a]
        rows += _rows(dataset, model, group, pairs, len(some.columns) * len(pairs) // 2)
    return pd.DataFrame(rows)


def groups(wide: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Dataset, model and their rows of `accuracies`; the dataset `all` where there are several."""
    for (dataset, model), group in wide.groupby(["dataset", "model"], sort=False):
        yield str(dataset), str(model), group
    for model, group in wide.groupby("model", sort=False):
        if group.index.get_level_values("dataset").nunique() > 1:
            yield ALL, str(model), group


def domains_of(group: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The number of each row's held-out domain, and that of each domain's dataset."""
    datasets = group.index.get_level_values("dataset")
    domain, domains = pd.factorize(
        pd.MultiIndex.from_arrays([datasets, group.index.get_level_values("held_out")])
    )
    dataset, _ = pd.factorize(domains.get_level_values(0))
    return domain, dataset


def _dependent(group: pd.DataFrame) -> bool:
    """Whether the domains of the rows are no independent sample, as some are in several sets."""
    index = group.index
    one_dataset = index.get_level_values("dataset").nunique() == 1
    return one_dataset and overlap(index.get_level_values("held_out"))


def _highest(complete: pd.DataFrame) -> str:
    means = estimate(complete.to_numpy(), *domains_of(complete)).difference
    return str(complete.columns[int(np.argmax(means))])


def _rows(
    dataset: str,
    model: str,
    group: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    comparisons: int,
) -> list[dict[str, object]]:
    if not pairs:
        return []
    differences = np.stack([(group[a] - group[b]).to_numpy() for a, b in pairs], axis=1)
    found = estimate(differences, *domains_of(group), comparisons)
    if _dependent(group):
        nothing = np.full(len(pairs), np.nan)
        like = Intervals(nothing, nothing, (SHARED,) * len(pairs))
        found = replace(found, like=like)
    return [
        {
            "dataset": dataset,
            "model": model,
            "a": a,
            "b": b,
            **_row(found, column, differences[:, column]),
            "comparisons": comparisons,
        }
        for column, (a, b) in enumerate(pairs)
    ]


def _row(found: Estimates, column: int, differences: np.ndarray) -> dict[str, object]:
    """The columns of one of the differences, [pairs]; NaN where one of the two has no result."""
    row: dict[str, object] = {"difference": float(found.difference[column])}
    for name, interval in (("here", found.here), ("like", found.like)):
        row[f"{name}_low"] = float(interval.low[column])
        row[f"{name}_high"] = float(interval.high[column])
        row[f"{name}_why"] = interval.why[column]
    return row | {
        "datasets": int(found.datasets[column]),
        "domains": int(found.domains[column]),
        "pairs": int(np.sum(~np.isnan(differences))),
        "asked": len(differences),
        "wins": int(np.sum(differences > 0)),
        "losses": int(np.sum(differences < 0)),
        "equal": int(np.sum(differences == 0)),
    }


@dataclass(frozen=True)
class Ranks:
    """Mean ranks, 1 the best, best first.

    of: what the ranks are taken in, domains or datasets. blocks: how many have a result of every
    algorithm, of the `asked` ones. p: of the Friedman test, that all algorithms are alike.
    critical_difference: mean ranks that differ by less do not differ significantly (Nemenyi, 5 %).
    Both are NaN with fewer than 3 blocks, and where sets of held-out domains share one.
    """

    dataset: str
    model: str
    ranks: pd.Series
    of: str
    blocks: int
    asked: int
    p: float
    critical_difference: float

    def frame(self) -> pd.DataFrame:
        """A row per algorithm: dataset, model, algorithm, rank, then the other fields."""
        ranks = self.ranks.rename_axis("algorithm").reset_index()
        others = {name: value for name, value in vars(self).items() if name != "ranks"}
        found = ranks.assign(**others)
        return found[["dataset", "model", "algorithm", "rank", *list(others)[2:]]]


def ranks(selection: pd.DataFrame) -> list[Ranks]:
    """Ranks of all algorithms in a selection by one method; equal accuracies share a rank.

    They are of each dataset and model, and of all datasets of a model, where at least 3 algorithms
    have results; an algorithm without any is left out. A block is the mean over the seeds for which
    all of these have a result; a domain without such a seed is no block.

    Source: Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets (JMLR 2006),
    section 3.2: CD = q sqrt(k (k + 1) / (6 N)), q the studentized range over sqrt(2). The Friedman
    test is by permutation within blocks, since chi squared does not hold with few of them.
    Raises TooLittle without 3 algorithms that have results of the same held-out domain and seed.
    """
    found = []
    for dataset, model, group in groups(accuracies(selection)):
        some = group.dropna(axis="columns", how="all")
        if len(some.columns) >= 3 and len(some.dropna()):
            found.append(_ranks(dataset, model, some))
    if not found:
        raise TooLittle(
            "mean ranks take at least 3 algorithms that have results of the same held-out domain "
            "and seed; two are compared by their paired differences"
        )
    return found


def _ranks(dataset: str, model: str, group: pd.DataFrame) -> Ranks:
    alike = group.mask(group.isna().any(axis=1))
    units, of = means_of_units(alike.to_numpy(), *domains_of(group))
    accuracy = units[~np.isnan(units).any(axis=1)]
    own = pd.DataFrame(-accuracy).rank(axis=1).to_numpy()
    names = group.columns.astype(str)
    mean = pd.Series(own.mean(axis=0), index=names, name="rank").sort_values(kind="stable")
    enough = len(accuracy) >= FEWEST and not _dependent(group)
    p = friedman(own) if enough else np.nan
    distance = critical_difference(len(names), len(accuracy)) if enough else np.nan
    return Ranks(dataset, model, mean, of, len(accuracy), len(units), p, distance)


def friedman(ranks: np.ndarray) -> float:
    """The p value of ranks, [blocks, algorithms], if all algorithms are alike.

    It is over all permutations within blocks if these are few, else over 9999 drawn ones, the same
    each time.
    """
    from scipy.stats import permutation_test  # takes a second to import

    def spread(*columns: np.ndarray, axis: int) -> np.ndarray:
        # Friedman's statistic rises with it, and is the same function of it in each permutation.
        sums = np.stack([column.sum(axis=axis) for column in columns])
        found: np.ndarray = np.square(sums).sum(axis=0)
        return found

    found = permutation_test(
        tuple(ranks.T),
        spread,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        alternative="greater",
        rng=0,
    )
    return float(found.pvalue)


@cache
def critical_difference(algorithms: int, blocks: int) -> float:
    """The least difference of mean ranks that is significant by the Nemenyi test at 5 %."""
    from scipy.stats import studentized_range

    q = studentized_range.ppf(1 - RISK, algorithms, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(algorithms * (algorithms + 1) / (6 * blocks)))
