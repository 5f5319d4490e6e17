"""Mean ranks of several algorithms, and by how much they must differ to be told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from search.results.paired import FEWEST, TooLittle, accuracies

LEVEL = 0.05


@dataclass(frozen=True)
class Ranks:
    """Mean ranks, 1 the best, best first, over `blocks` of the `asked` (held-out domain, seed).

    p: of the Friedman test, that all algorithms are alike. critical_difference: mean ranks that
    differ by less are not told apart (Nemenyi, 5 %).
    """

    ranks: pd.Series
    blocks: int
    asked: int
    p: float
    critical_difference: float

    def frame(self) -> pd.DataFrame:
        """A row per algorithm: algorithm, rank, and what is the same for all."""
        ranks = self.ranks.rename_axis("algorithm").reset_index()
        return ranks.assign(
            blocks=self.blocks,
            asked=self.asked,
            p=self.p,
            critical_difference=self.critical_difference,
        )


def ranks(selection: pd.DataFrame) -> Ranks:
    """Ranks of all algorithms in a selection by one method; equal accuracies share a rank.

    Blocks are the (dataset, model, held-out domain, seed) that every algorithm has a result for.
    Source: Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets (JMLR 2006),
    section 3.2: CD = q sqrt(k (k + 1) / (6 N)), q the studentized range over sqrt(2).
    Raises TooLittle for fewer than 3 algorithms or 6 blocks.
    """
    wide = accuracies(selection)
    whole = wide.dropna()
    algorithms, blocks = len(whole.columns), len(whole)
    if algorithms < 3:
        raise TooLittle(
            f"mean ranks take at least 3 algorithms, and there are {algorithms}; two are compared "
            "by their paired differences"
        )
    if blocks < FEWEST:
        raise TooLittle(
            f"all {algorithms} algorithms have a result for {blocks} of {len(wide)} pairs of "
            f"held-out domain and seed; mean ranks take at least {FEWEST}: hold out more domains, "
            "or add seeds"
        )
    accuracy = whole.to_numpy()
    mean = rankdata(-accuracy, axis=1).mean(axis=0)
    alike = bool((accuracy == accuracy[:, :1]).all())  # the test divides by zero then
    p = 1.0 if alike else float(friedmanchisquare(*accuracy.T).pvalue)
    found = pd.Series(mean, index=whole.columns.astype(str), name="rank").sort_values(kind="stable")
    return Ranks(found, blocks, len(wide), p, critical_difference(algorithms, blocks))


def critical_difference(algorithms: int, blocks: int) -> float:
    """Of mean ranks, by the Nemenyi test at 5 %."""
    q = studentized_range.ppf(1 - LEVEL, algorithms, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(algorithms * (algorithms + 1) / (6 * blocks)))
