"""The intervals of `compare` hold as often as they say, and the benchmark would see if they did
not."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from benchmarks.interval_coverage import CASES, Shares, measure
from search.results import intervals

NAMED = {case.name: case for case in CASES}
REPETITIONS = 150
SPREAD = 0.053  # three standard errors of a share of 5 % in so many


def assert_kept(shares: Shares) -> None:
    holds, errors = astuple(shares)[:2], astuple(shares)[2:9]
    assert all(0.95 - SPREAD <= share <= 0.95 + SPREAD for share in holds)
    assert max(errors) <= 0.05 + SPREAD


@pytest.mark.parametrize("name", ["4 domains, 3 seeds", "5 datasets that differ"])
def test_intervals_hold_and_errors_are_rare_where_those_over_pairs_were_wrong(name: str) -> None:
    shares = measure(NAMED[name], REPETITIONS)
    assert_kept(shares)
    assert shares.old_holds < 0.88
    assert shares.old_erm > 0.4
    assert shares.old_friedman > 0.15


def test_intervals_that_are_too_narrow_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "LEVEL", 0.8)
    shares = measure(CASES[0], REPETITIONS)
    assert not shares.kept
    assert max(shares.holds_here, shares.holds_like) < 0.95 - SPREAD
    assert min(shares.erm_here, shares.erm_like) > 0.05 + SPREAD
