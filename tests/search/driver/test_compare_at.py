"""Trials compared by what they have spent, and not by their steps."""

from __future__ import annotations

from dataclasses import replace

from search.run.run_folder import RunFolder
from tests.search.play import open_ledger, rows, said, small_sweep, stored

PASSES = {"scheduler": "asha", "grace_steps": 10, "compare_at": "passes", "trials": 4}


def spent(step, value, passes):
    return replace(said(step, value), passes=passes)


def test_a_dear_trial_is_compared_with_what_others_had_for_as_many_passes(tmp_path):
    """The grace of SAGM, whose steps take two passes, is over after 20, not after 10 steps."""
    sweep, folder = small_sweep(search=PASSES), RunFolder(tmp_path)
    ledger = open_ledger(sweep, folder)
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


def test_at_the_same_steps_that_trial_would_go_on(tmp_path):
    sweep = small_sweep(search={**PASSES, "compare_at": "steps"})
    ledger = open_ledger(sweep, RunFolder(tmp_path))
    ordinary, dear = ledger.next(), ledger.next()
    for step in (10, 20, 30):
        ledger.report(ordinary, spent(step, 0.5 + step / 100, 2 * step))
    assert not ledger.report(dear, spent(10, 0.6, 60 + 1 / 3))


def test_a_resumed_trial_reports_the_same_passes_again_and_only_the_newest_decides(tmp_path):
    sweep, folder = small_sweep(search=PASSES), RunFolder(tmp_path)
    ledger = open_ledger(sweep, folder)
    good, bad = ledger.next(), ledger.next()
    for step in (10, 20):
        ledger.report(bad, spent(step, 0.3, 2 * step))
    for step in (10, 20):
        ledger.report(good, spent(step, 0.9, 2 * step))
    resumed = open_ledger(sweep, folder)
    assert [resumed.next(), resumed.next()] == [good, bad]
    assert not resumed.report(bad, spent(10, 0.3, 20))
    (trials,) = stored(folder).values()
    assert trials[1].intermediate_values == {20: 0.3, 40: 0.3}


def test_the_last_report_never_prunes_however_many_passes_it_took(tmp_path):
    ledger = open_ledger(small_sweep(search=PASSES), RunFolder(tmp_path))
    good, bad = ledger.next(), ledger.next()
    assert not ledger.report(good, spent(90, 0.9, 180))
    assert not ledger.report(bad, spent(90, 0.3, 9000))


def test_a_median_is_of_the_newest_values_where_the_newest_counts(tmp_path):
    """A trial that was good once and fell is worth what it is now."""
    search = {"scheduler": "median", "grace_steps": 10, "trials": 6, "objective": "last-step"}
    ledger = open_ledger(small_sweep(search=search), RunFolder(tmp_path))
    others = [ledger.next() for _ in range(5)]
    for spec in others:
        for step in (10, 20):
            ledger.report(spec, said(step, 0.5))
        ledger.finish(spec, said(90, 0.5, "completed"))
    fallen = ledger.next()
    assert not ledger.report(fallen, said(10, 0.9))
    assert ledger.report(fallen, said(20, 0.2))
