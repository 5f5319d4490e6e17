"""Confidence intervals of mean differences, for two questions.

On these held-out domains: the mean that more seeds would give. Seeds are the sample. Each domain
has a variance of its own, over its seeds; degrees of freedom by Welch and Satterthwaite (Biometrics
Bulletin 2, 1946).

On domains like these: the mean over the domains that these were drawn from. Domains are the sample,
as seeds of one domain share it: a t interval over the domains' means. For the same reason datasets
are the sample where there are several, with a t interval over the datasets' means.

Both are of the mean over datasets of the mean over domains of the mean over seeds, which is the
average in the tables. Several differences are judged together: with the Sidak correction all their
intervals hold at once in 95 % of cases. Each keeps its own standard error, as one method may vary
more than the others, and an error pooled over methods would be too small for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
HERE = "on these held-out domains"
LIKE = "on domains like these"
FEWEST = 3  # domains or datasets; of seeds, one more than domains and two in each

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Intervals:
    """One interval for each of several differences, fractions; NaN where `why` has a reason."""

    low: Floats
    high: Floats
    why: tuple[str | None, ...]


@dataclass(frozen=True)
class Estimates:
    """Of several differences: the mean of each, NaN without any pair, and its two intervals.

    domains, datasets: those that the mean is over.
    """

    difference: Floats
    here: Intervals
    like: Intervals
    domains: NDArray[np.int64]
    datasets: NDArray[np.int64]


def estimate(
    differences: Floats,
    domain: NDArray[np.int64],
    dataset: NDArray[np.int64],
    comparisons: int = 1,
) -> Estimates:
    """The intervals of several differences, which hold at once for this many comparisons.

    differences: [pairs, differences], NaN where one of the two has no result. domain: [pairs], the
    number of each pair's held-out domain. dataset: [domains], the number of each domain's dataset.
    """
    level = LEVEL ** (1 / comparisons)
    of_domain = _indicator(domain, len(dataset))
    of_dataset = _indicator(dataset, int(dataset.max()) + 1)
    found = ~np.isnan(differences)
    seeds = of_domain @ found  # [domains, differences]
    means = _mean(of_domain, differences)
    datasets = _mean(of_dataset, means)
    mean = _mean(np.ones((1, len(datasets))), datasets)[0]

    # A domain counts by its share in its dataset, a dataset by its share in all.
    domains_of = of_dataset @ (seeds > 0)
    share = (seeds > 0) / np.maximum(domains_of, 1)[dataset] / _count(datasets)
    squares = np.where(found, differences - means[domain], 0.0) ** 2
    freedom = np.maximum(seeds - 1, 0)
    variances = share**2 * (of_domain @ squares) / np.maximum(freedom * seeds, 1)
    here = _interval(
        mean,
        np.sqrt(variances.sum(axis=0)),
        _freedom(variances, freedom, correction=1 if comparisons == 1 else 0),
        level,
        _too_few_seeds(seeds),
    )

    units, what = means_of_units(differences, domain, dataset)
    count = _count(units)
    spread = np.where(np.isnan(units), mean, units) - mean
    errors = np.sqrt((spread**2).sum(axis=0) / np.maximum(count - 1, 1) / count)
    few = [f"too few {what}: {n} of at least {FEWEST}" if n < FEWEST else None for n in count]
    like = _interval(mean, errors, np.maximum(count - 1, 1), level, few)
    return Estimates(mean, here, like, (seeds > 0).sum(axis=0), (domains_of > 0).sum(axis=0))


def means_of_units(
    values: Floats, domain: NDArray[np.int64], dataset: NDArray[np.int64]
) -> tuple[Floats, str]:
    """The means over independent units, [units, columns], and what they are: domains or datasets.

    values: [pairs, columns], NaN where there is none; domain, dataset: as of `estimate`.
    """
    means = _mean(_indicator(domain, len(dataset)), values)
    count = int(dataset.max()) + 1
    return (
        (means, "domains") if count == 1 else (_mean(_indicator(dataset, count), means), "datasets")
    )


def _indicator(group: NDArray[np.int64], groups: int) -> Floats:
    """[groups, members]: 1 where a member is in a group."""
    found: Floats = (np.arange(groups)[:, None] == group).astype(np.float64)
    return found


def _mean(members: Floats, values: Floats) -> Floats:
    """The mean over the members of each group, without NaN; NaN for a group that has none."""
    found = ~np.isnan(values)
    count = members @ found
    total = members @ np.where(found, values, 0.0)
    mean: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def _count(values: Floats) -> NDArray[np.int64]:
    """How many values are not NaN, by column; at least 1, as others are divided by it."""
    count: NDArray[np.int64] = np.maximum((~np.isnan(values)).sum(axis=0), 1)
    return count


def _freedom(variances: Floats, freedom: Floats, correction: int) -> Floats:
    """Degrees of freedom of a sum of variances, each with its own: both [domains, differences].

    correction: 0 is Satterthwaite's formula, whose interval at 95 % is too wide with two seeds (it
    holds in 98 % of cases); 2 is Welch's of 1947, too narrow where one domain varies more. 1 holds
    in both, and so far out in the tails as several comparisons reach only 0 does
    (benchmarks/interval_coverage.py).
    """
    squares = (variances**2 / np.maximum(freedom + correction, 1)).sum(axis=0)
    total = variances.sum(axis=0) ** 2
    found = np.where(squares > 0, total / np.maximum(squares, 1e-300) - correction, 0.0)
    least = np.where(freedom > 0, freedom, np.inf).min(axis=0)
    most = freedom.sum(axis=0)
    clipped: Floats = np.clip(found, np.minimum(least, most), most)
    return np.maximum(clipped, 1)


def _too_few_seeds(seeds: Floats) -> list[str | None]:
    """For each difference, why its seeds are too few for an interval."""
    found: list[str | None] = []
    for counts in seeds.T:
        there = counts[counts > 0]
        alone = int((there == 1).sum())
        if alone:
            where = "each domain" if alone == len(there) else f"{alone} of {len(there)} domains"
            found.append(f"too few seeds: one in {where}")
        elif (there - 1).sum() < FEWEST - 1:
            found.append(f"too few seeds: {int(there.sum())} of at least {len(there) + FEWEST - 1}")
        else:
            found.append(None)
    return found


def _interval(
    mean: Floats, error: Floats, freedom: Floats, level: float, few: list[str | None]
) -> Intervals:
    # Differences that are all equal do not show how much they vary.
    same = error <= 1e-12
    why = tuple(
        "no common results" if np.isnan(m) else reason or ("no spread" if s else None)
        for m, reason, s in zip(mean, few, same, strict=True)
    )
    none = np.array([reason is not None for reason in why])
    reach = np.full(len(none), np.nan)
    if not none.all():
        from scipy.special import stdtrit  # takes a while to import

        reach = np.where(none, np.nan, stdtrit(freedom, (1 + level) / 2) * error)
    return Intervals(mean - reach, mean + reach, why)
