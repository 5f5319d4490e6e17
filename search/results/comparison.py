"""Differences between algorithms, paired by (held-out domain, seed).

Runs with the same held-out domain and seed share splits, first weights and batches: the difference
within a pair leaves out what these do, where the errors of two means keep it in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from search.errors import SteppeError, way_out
from search.results.intervals import Estimates, estimate

PAIR = ["dataset", "model", "held_out", "seed"]
ALL = "all"


class TooLittle(SteppeError):
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

    Columns: dataset, model, a, b; difference, the mean of accuracy(a) - accuracy(b) (a fraction);
    here_low, here_high, its interval on these held-out domains, and here_why, why there is none;
    like_low, like_high, like_why, the same on domains like these (search.results.intervals);
    comparisons, that the intervals of a row hold together with; datasets and domains that the mean
    is over; pairs that both have a result for, of asked ones; wins, losses, equal of `a` in them.
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

    The best was picked by the same numbers, so the intervals hold for all pairs of algorithms
    together. Columns: as of `compare`, `a` is the best. Without a name it is the algorithm with the
    highest mean, of those that have all results; where none has all there are no rows.
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
    """One of the differences; its pairs are NaN where one of the two has no result."""
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
