"""Paired differences between algorithms over (held-out domain, seed).

Runs with the same held-out domain and seed share splits, and how hard these are: the difference
within a pair leaves that out, where the errors of two means keep it in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from search.errors import UserError
from search.nearest import way_out

FEWEST = 6  # with 4 pairs a 95 % interval holds the true mean in 4 of 5 cases (docs/analysis.md)
RESAMPLES = 9999
PAIR = ["dataset", "model", "held_out", "seed"]
ALL = "all"


class TooLittle(UserError):
    """There are too few results for a statement about algorithms."""


def accuracies(selection: pd.DataFrame) -> pd.DataFrame:
    """The accuracy of each winner: a row per (dataset, model, held-out domain, seed), a column per
    algorithm, NaN where there is none; both in order of appearance.

    `selection`: the rows of one selection method.
    """
    plain = selection.astype(dict.fromkeys((*PAIR, "algorithm"), object))
    wide = plain.set_index([*PAIR, "algorithm"])["accuracy"].unstack("algorithm", sort=False)
    return wide.astype("float64")


def compare(selection: pd.DataFrame, others: Sequence[str], b: str) -> pd.DataFrame:
    """By how much each of the others is better than `b`: a row per dataset and model, and one for
    all datasets of a model together.

    Columns: dataset, model, a, b; pairs that both have a result for, of asked ones; difference, the
    mean of accuracy(a) - accuracy(b) (a fraction); low, high, its 95 % percentile bootstrap
    interval (scipy.stats.bootstrap), NaN with fewer than 6 pairs; wins, losses, equal of `a`.
    Raises UserError for an algorithm that is not there, TooLittle if no row has an interval.
    """
    wide = accuracies(selection)
    for name in (*others, b):
        if name not in wide:
            raise UserError(f"there is no algorithm {name!r} here: {way_out(name, wide.columns)}")
    if b in others:
        raise UserError(f"{b} cannot be compared with itself; name two algorithms")
    found = pd.DataFrame(
        [
            _row(dataset, model, a, b, (group[a] - group[b]).to_numpy())
            for dataset, model, group in _groups(wide)
            for a in others
        ]
    )
    if found["low"].isna().all():
        raise TooLittle(
            f"{' or '.join(others)} and {b} share at most {found['pairs'].max()} pairs of held-out "
            f"domain and seed; a bootstrap interval takes at least {FEWEST}: hold out more "
            "domains, or add seeds"
        )
    return found


def _groups(wide: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    datasets = wide.groupby(["dataset", "model"], sort=False)
    for (dataset, model), group in datasets:
        yield str(dataset), str(model), group
    for model, group in wide.groupby("model", sort=False):
        if group.index.get_level_values("dataset").nunique() > 1:
            yield ALL, str(model), group


def _row(dataset: str, model: str, a: str, b: str, differences: np.ndarray) -> dict[str, object]:
    """Differences: one for each pair asked for, NaN where one of the two has no result."""
    found = differences[~np.isnan(differences)]
    low, high = _interval(found)
    return {
        "dataset": dataset,
        "model": model,
        "a": a,
        "b": b,
        "pairs": len(found),
        "asked": len(differences),
        "difference": float(np.mean(found)) if len(found) else np.nan,
        "low": low,
        "high": high,
        "wins": int(np.sum(found > 0)),
        "losses": int(np.sum(found < 0)),
        "equal": int(np.sum(found == 0)),
    }


def _interval(differences: np.ndarray) -> tuple[float, float]:
    if len(differences) < FEWEST:
        return np.nan, np.nan
    # The seed makes it the same each time. BCa holds the true mean hardly more often
    # (docs/analysis.md), and has no interval where all differences are equal.
    found = bootstrap(
        (differences,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=0
    ).confidence_interval
    return float(found.low), float(found.high)
