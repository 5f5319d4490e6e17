"""Trials compared by what they have spent, and not by their steps."""

from __future__ import annotations

from dataclasses import replace

from tests.search.play import open_ledger, rows, said, small_sweep, stored

PASSES = {"scheduler": "asha", "grace_steps": 10, "compare_at": "passes", "trials": 4}


def spent(step, value, passes):
    return replace(said(step, value), passes=passes)


def test_a_dear_trial_is_compared_with_what_others_had_for_as_many_passes(folder):
    """The grace of SAGM, whose steps take two passes, is over after 20, not after 10 steps."""
    ledger = open_ledger(small_sweep(search=PASSES), folder)
    ordinary, dear = ledger.next(), ledger.next()
    for step in (10, 20, 30):
        assert not ledger.report(ordinary, spent(step, 0.5 + step / 100, 2 * step))
    # As good as the other after 10 steps, for three times as much.
    assert not ledger.report(dear, spent(5, 0.1, 10 + 2 / 3))
    assert ledger.report(dear, spent(10, 0.6, 60 + 1 / 3))
    ledger.prune(dear)
    assert rows(folder)[dear.trial]["reason"] == (
        "asha: behind other trials at step 10 (60.3333 passes)"
    )
    (trials,) = stored(folder).values()
    assert list(trials[0].intermediate_values) == [20, 40, 60]
    assert list(trials[1].intermediate_values) == [10, 60]


def test_at_the_same_steps_that_trial_would_go_on(folder):
    ledger = open_ledger(small_sweep(search={**PASSES, "compare_at": "steps"}), folder)
    ordinary, dear = ledger.next(), ledger.next()
    for step in (10, 20, 30):
        ledger.report(ordinary, spent(step, 0.5 + step / 100, 2 * step))
    assert not ledger.report(dear, spent(10, 0.6, 60 + 1 / 3))
