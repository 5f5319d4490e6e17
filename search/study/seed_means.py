"""A setting's mean over seeds: how the settings of a search stand, and which may still win.

Splits and networks differ from seed to seed, and some of that is the same for all settings. What a
seed adds to the settings that have it is therefore taken off before means are compared, so that no
setting leads because it has only the easy seeds. What remains is the spread of a setting between
seeds. A mean over k of K seeds then ends within spread * sqrt((K - k) / (K k)), one standard
deviation, of where it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

OPTIMISM = 2.0  # standard deviations
SPREAD = 0.02  # of accuracy between the seeds of a setting, before the search has its own
PRIOR = 3.0  # degrees of freedom that this counts for

Values = Mapping[int, Sequence[float]]  # setting -> its values with the first seeds, in their order


def means(values: Values) -> dict[int, float]:
    """The mean of each setting over the seeds that it has, without what these seeds add to all.

    Settings with the same seeds keep their order.
    """
    added = _added(values)
    return {n: float(np.mean(np.subtract(own, added[: len(own)]))) for n, own in values.items()}


def optimistic_means(values: Values, seeds: int) -> dict[int, float]:
    """What the mean of each setting over all seeds may come to; of one that has all, its mean."""
    added, mean = _added(values), means(values)
    squares, known = PRIOR * SPREAD**2, PRIOR - (len(added) - 1)
    for number, own in values.items():
        squares += float(np.square(np.subtract(own, added[: len(own)]) - mean[number]).sum())
        known += len(own) - 1
    deviation = math.sqrt(squares / known)
    return {
        n: mean[n] + OPTIMISM * deviation * math.sqrt((seeds - len(own)) / (seeds * len(own)))
        for n, own in values.items()
    }


def _added(values: Values) -> list[float]:
    """What each seed adds to a setting, compared with the first: the mean over those that have it.

    For the settings with a seed, all earlier seeds are known too.
    """
    most = max(map(len, values.values()), default=0)
    return [
        float(np.mean([own[seed] - own[0] for own in values.values() if len(own) > seed]))
        for seed in range(most)
    ]
