"""Mean ranks of several algorithms, and by how much they must differ to be told apart.

Ranks are taken in blocks that are independent: held-out domains, as the seeds of one share it, and
for the same reason datasets where there are several.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy.stats import permutation_test, rankdata, studentized_range

from search.results.intervals import FEWEST, means_of_units
from search.results.paired import TooLittle, accuracies, domains_of, groups

RISK = 0.05
RESAMPLES = 9999


@dataclass(frozen=True)
class Ranks:
    """Mean ranks, 1 the best, best first, over `blocks` of the `asked` domains or datasets (`of`).

    p: of the Friedman test, that all algorithms are alike. critical_difference: mean ranks that
    differ by less are not told apart (Nemenyi, 5 %). Both are NaN with fewer than 3 blocks.
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
        """A row per algorithm: dataset, model, algorithm, rank, and what is the same for all."""
        ranks = self.ranks.rename_axis("algorithm").reset_index()
        others = {name: value for name, value in vars(self).items() if name != "ranks"}
        found = ranks.assign(**others)
        return found[["dataset", "model", "algorithm", "rank", *list(others)[2:]]]


def ranks(selection: pd.DataFrame) -> list[Ranks]:
    """Ranks of all algorithms in a selection by one method; equal accuracies share a rank.

    Of each dataset and model, and of all datasets of a model, where at least 3 algorithms have
    results; one that has none is left out. A block has the mean over the seeds that each of the
    others has a result for, and a domain without such a seed is no block.

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
    own = rankdata(-accuracy, axis=1)
    names = group.columns.astype(str)
    mean = pd.Series(own.mean(axis=0), index=names, name="rank").sort_values(kind="stable")
    enough = len(accuracy) >= FEWEST
    p = friedman(own) if enough else np.nan
    distance = critical_difference(len(names), len(accuracy)) if enough else np.nan
    return Ranks(dataset, model, mean, of, len(accuracy), len(units), p, distance)


def friedman(ranks: np.ndarray) -> float:
    """The p of ranks within blocks, [blocks, algorithms]: that all algorithms are alike.

    Of all permutations within blocks if they are few, else of 9999 drawn ones, the same each time.
    """

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
    """Of mean ranks, by the Nemenyi test at 5 %."""
    q = studentized_range.ppf(1 - RISK, algorithms, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(algorithms * (algorithms + 1) / (6 * blocks)))
