"""Trials with folds, as the driver sees them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from search.driver.study_record import IMAGES
from search.run.run_folder import RunFolder
from search.run.shared_runs import TrialFolds, read_fold
from search.study.plan import plans
from tests.search.play import (
    finish,
    open_ledger,
    play_out,
    rows,
    said,
    small_sweep,
    states,
    stored,
)
from training.evaluation import Evaluation, Score
from training.run import Run

FOLD = Run("RotatedDigits", None, "mlp", "SAGM", "0", 0, 90, 10, {"lr": 1e-3}, left_out="15")


def sweep(held_out=("0",), **search: Any):
    search = {"objective": "leave-one-domain-out", "trials": 2, **search}
    return small_sweep(held_out=list(held_out), search=search)


def after(folds: int, value: float, steps: int | None = None):
    """What a trial says at the end of a fold."""
    return replace(said(90 * folds if steps is None else steps, value), folds=folds)


def test_a_trial_is_known_by_the_ends_of_its_folds_whose_value_may_fall(folder):
    ledger = open_ledger(sweep(), folder)
    trial = ledger.next()
    assert not ledger.report(trial, replace(said(10, 0), value=None, best_step=None))
    for folds, value in enumerate((0.9, 0.7, 0.8, 0.6, 0.5), start=1):
        assert not ledger.report(trial, after(folds, value))
        assert not ledger.report(trial, said(90 * folds + 10, value))  # a sign of life
    finish(ledger, folder, trial, 0.5)
    ((known, *_),) = stored(folder).values()
    assert known.intermediate_values == {90: 0.9, 180: 0.7, 270: 0.8, 360: 0.6, 450: 0.5}
    assert known.value == 0.5
    assert ledger.records[trial.study.id].best == 0.5


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "median"])
def test_nothing_is_stopped_within_a_run(folder, scheduler):
    ledger = open_ledger(sweep(scheduler=scheduler, trials=8), folder)
    for _ in range(6):
        trial = ledger.next()
        for folds in range(1, 6):
            assert not ledger.report(trial, after(folds, 0.9))
        finish(ledger, folder, trial, 0.9)
    trial = ledger.next()
    assert not ledger.report(trial, replace(said(80, 0), value=None))
    assert not ledger.report(trial, said(460, 0.1))


@pytest.mark.parametrize("last", [1, 2, 5])
def test_a_trial_that_falls_behind_after_any_fold_is_spared_the_rest(folder, last):
    ledger = open_ledger(sweep(scheduler="asha"), folder)
    good, bad = ledger.next(), ledger.next()
    for folds in range(1, 6):
        assert not ledger.report(good, after(folds, 0.9))
    for folds in range(1, last):
        assert not ledger.report(bad, after(folds, 0.9))
    assert ledger.report(bad, after(last, 0.3))
    ledger.prune(bad)
    row = rows(folder)[bad.trial]
    assert (row["state"], row["steps"]) == ("pruned", 90 * last)
    assert np.isnan(row["objective"])  # other trials' are of all folds
    assert f"asha: behind other trials after {last} fold" in row["reason"]
    assert states(stored(folder)[bad.study.id]) == ["RUNNING", "PRUNED"]


def test_trials_are_compared_after_the_same_folds_whoever_carried_them_out(folder):
    ledger = open_ledger(sweep(scheduler="asha"), folder)
    good, lucky = ledger.next(), ledger.next()
    assert not ledger.report(good, after(1, 0.9))
    assert ledger.report(lucky, after(1, 0.3, steps=0))  # its fold was there already


def test_the_median_goes_by_the_newest_value_and_not_by_the_best_which_is_of_easier_folds(folder):
    ledger = open_ledger(sweep(scheduler="median", trials=8), folder)
    for _ in range(5):
        trial = ledger.next()
        for folds, value in enumerate((0.9, 0.6, 0.6, 0.6, 0.6), start=1):
            assert not ledger.report(trial, after(folds, value))
        finish(ledger, folder, trial, 0.6)
    trial = ledger.next()
    assert not ledger.report(trial, after(1, 0.95))
    assert ledger.report(trial, after(2, 0.2))


def test_in_an_earlier_run_they_are_compared_after_some_by_the_noise_of_their_images(folder):
    ledger = open_ledger(sweep(scheduler="asha").of_earlier_run(), folder)
    good, close = ledger.next(), ledger.next()
    assert not ledger.report(good, replace(after(1, 0.61), images=100))
    assert not ledger.report(close, replace(after(1, 0.6), images=100))
    assert stored(folder)[close.study.id][1].user_attrs[IMAGES] == 100
    # Measured on more, the same distance is clear.
    for folds in (2, 3):
        assert not ledger.report(good, replace(after(folds, 0.61), images=10**4 * folds))
    assert not ledger.report(close, replace(after(2, 0.6), images=2 * 10**4))  # no rung
    assert ledger.report(close, replace(after(3, 0.6), images=3 * 10**4))


def test_a_whole_trial_has_a_fold_for_each_source_domain_and_its_own_run():
    assert [plan.total_steps for plan in plans(sweep()).values()] == [6 * 90]
    assert [plan.total_steps for plan in plans(small_sweep()).values()] == [90]


def fold_of(folder: RunFolder, spec: Any) -> None:
    scores = tuple(Score(name, "left_out", "in", 0.5, 1.0, 9) for name in ("0", "15"))
    TrialFolds(folder, spec).add(FOLD, [Evaluation(90, scores, 1.0)])


def test_folds_are_deleted_when_the_studies_that_share_them_have_ended(folder):
    mine = sweep(held_out=("0", "15"), trials=1)
    ledger = open_ledger(mine, folder)
    first, second = ledger.next(), ledger.next()
    fold_of(folder, first)
    finish(ledger, folder, first, 0.5)
    assert read_fold(folder, second.study, replace(FOLD, held_out="15", left_out="0")) is not None
    assert read_fold(folder, second.study, replace(FOLD, seed=1)) is None
    finish(ledger, folder, second, 0.5)
    assert read_fold(folder, second.study, FOLD) is None
    fold_of(folder, first)  # by a worker that nobody waits for any more
    open_ledger(mine, folder)
    assert read_fold(folder, second.study, FOLD) is None
    assert folder.size("folds") == 0


def test_folds_stay_while_a_budget_has_ended_studies_that_may_go_on(folder):
    """A larger budget finds them, and the tables are those of a sweep that had it at once."""
    mine = sweep(held_out=("0", "15"), trials=2, budget={"trials": 2})
    ledger = open_ledger(mine, folder)
    trials = [ledger.next(), ledger.next()]
    fold_of(folder, trials[0])
    for trial in trials:
        finish(ledger, folder, trial, 0.5)
    ledger.next()
    assert all(record.done for record in ledger.records.values())
    for now in (ledger, open_ledger(mine, folder), more := open_ledger(sweep(("0", "15")), folder)):
        now.cleanup.delete_leftovers()
        assert read_fold(folder, trials[0].study, FOLD) is not None
    play_out(more, folder)
    assert read_fold(folder, trials[0].study, FOLD) is None
