"""The scheduler `freeze-thaw`: how far a trial may still come, from its own learning curve.

Freeze-thaw search is by Swersky et al. 2014, arXiv 1406.3896; the model of curves here is our own
and as simple as can be. The logarithm of the error falls by about the same amount with each
doubling of the steps, so a trial's end is where its curve comes to if it falls on by SLOWER times
what it fell in its last doubling. The spread around this is SPREAD times the root of the doublings
to come, and is corrected by what the study's own completed trials came to: nothing is learned from
other studies, so no label of a held-out domain is used, and a study decides alike in any sweep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

# Chosen on other studies than those of docs/search-efficiency.md.
SLOWER = 0.7  # of the fall in the last doubling, for each one to come
FIRST_FALL = -0.7  # per doubling, of the logarithm of the error, before a trial shows its own
SPREAD = 0.3  # of the logarithm of the error, for one doubling
OPTIMISM = 1.5  # standard deviations
PRIOR = 3.0  # completed trials that the spread above counts for
LEAST_ERROR = 1e-3

# Another trial takes the worker if it may end this much of accuracy higher: switching costs time.
SWITCH = 0.005

Curve = Mapping[int, float]  # step -> value so far


def optimistic_end(
    curve: Curve, steps: int, completed: Sequence[Curve], folds: bool = False
) -> float:
    """The value that a trial may come to if things go well.

    curve: what it reported, at least once. steps: at its end. completed: the curves of the study's
    completed trials. folds: whether the values are means over folds, which do not rise as curves
    do.
    """
    now = max(curve)
    mean, deviation = _fall(curve, now, steps, folds)
    if not deviation:
        return curve[now]
    # How the completed trials ended, compared with what was expected of them at this step.
    misses = []
    for other in completed:
        seen = {step: value for step, value in other.items() if step <= now}
        if seen:
            expected = _log_error(seen[max(seen)]) + _fall(seen, max(seen), steps, folds)[0]
            misses.append(_log_error(other[max(other)]) - expected)
    known = PRIOR + len(misses)
    shift = sum(misses) / known
    variance = PRIOR * deviation**2 + sum((miss - shift) ** 2 for miss in misses)
    fall = min(mean + shift - OPTIMISM * math.sqrt(variance / known), 0.0)
    return max(1 - math.exp(_log_error(curve[now]) + fall), curve[now])


def _fall(curve: Curve, now: int, steps: int, folds: bool) -> tuple[float, float]:
    """By what the logarithm of the error falls from `now` to the end: mean, standard deviation."""
    if now >= steps:
        return 0.0, 0.0
    doublings = math.log2(steps / now)
    deviation = SPREAD * math.sqrt(doublings)
    if folds:
        return 0.0, deviation
    before = max((step for step in curve if step <= now / 2), default=min(curve))
    fall = FIRST_FALL
    if before < now:
        fall = (_log_error(curve[now]) - _log_error(curve[before])) / math.log2(now / before)
    return SLOWER * min(fall, 0.0) * doublings, deviation


def _log_error(value: float) -> float:
    return math.log(max(1 - value, LEAST_ERROR))
