"""The scheduler freeze-thaw: trials that wait go on at any later time, from where they were."""

import math
from dataclasses import replace
from itertools import groupby
from unittest.mock import patch

import pandas as pd
import pytest

from search.driver import freezing
from search.driver.launch import launch
from search.driver.planning import plan_sweep
from search.run import tables
from search.run.run_folder import CHECKPOINTS, RunFolder
from tests.search.play import (
    counts,
    finish,
    open_ledger,
    quality,
    record,
    rows,
    said,
    small_sweep,
    without_ray,
    without_timing,
)

PASSES = 2.0  # of a step


def sweep_of(algorithms=("SAGM",), **search):
    search = {"scheduler": "freeze-thaw", "grace_steps": 20, "trials": 8, **search}
    training = {"steps": 200, "evaluate_every": 10}
    return small_sweep(algorithms=[*algorithms], training=training, search=search)


def value(spec, step):
    """The best value of a trial until a step: power laws that cross, with some noise."""

    def at(now):
        noise = 0.5 + 0.5 * math.sin(7.3 * now + spec.number)
        slope = 0.4 + 0.35 * quality(spec.values)
        return 1 - 0.6 * (now / 10) ** -slope - 0.05 * noise * (10 / now) ** 0.3

    return max(at(now) for now in range(10, step + 1, 10))


def report(spec, step):
    return replace(said(step, value(spec, step)), passes=PASSES * step)


class Worker:
    """Trains trials of a ledger; its checkpoints are files, as a real one's are."""

    def __init__(self, folder):
        self.folder = folder
        self.trained = []  # (trial, step), in order
        self.spec = None
        self.best = 0.0  # that any of its trials could come to
        self.most_checkpoints = 0

    def checkpoint(self, spec):
        return f"{CHECKPOINTS}/{spec.trial}.a.pt"

    def take(self, ledger):
        self.spec = ledger.next()
        if self.spec is None:
            return False
        self.best = max(self.best, value(self.spec, 200))
        name = self.checkpoint(self.spec)
        there = self.folder.exists(name)
        self.at = int(self.folder.read_bytes(name)) if there else 0
        for step in range(10, self.at + 1, 10):
            ledger.report(self.spec, report(self.spec, step))
        return True

    def step(self, ledger):
        """Trains until the next evaluation; True if the trial still has the worker."""
        self.at += 10
        self.trained.append((self.spec.trial, self.at))
        ledger.report(self.spec, report(self.spec, self.at))
        if ledger.is_frozen(self.spec):
            self.folder.write_bytes(self.checkpoint(self.spec), str(self.at).encode())
            ledger.freeze(self.spec)
            kept = len(self.folder.list(CHECKPOINTS))
            self.most_checkpoints = max(self.most_checkpoints, kept)
            return False
        if self.at < 200:
            return True
        finish(ledger, self.folder, self.spec, value(self.spec, 200), passes=200 * PASSES)
        return False


def carry_out(sweep, folder, new_driver_every=None):
    """Trains all that there is to train with one worker; drivers may die every so many steps."""
    ledger = open_ledger(sweep, folder)
    worker, steps = Worker(folder), 0
    while worker.take(ledger):
        while worker.step(ledger):
            steps += 1
            if new_driver_every and steps % new_driver_every == 0:
                folder.write_bytes(worker.checkpoint(worker.spec), str(worker.at).encode())
                ledger = open_ledger(sweep, folder)
                assert worker.take(ledger)
    return ledger, worker


def table(folder):
    columns = ["trial", "state", "reason", "steps", "objective", "passes"]
    return pd.DataFrame(rows(folder).values())[columns]


def test_the_best_trial_is_completed_for_a_fraction_of_the_steps(folder):
    ledger, worker = carry_out(sweep_of(), folder)
    found = table(folder)
    assert set(found["state"]) == {"completed", "pruned"}
    assert len(found) == 8
    assert len(worker.trained) < 0.7 * 8 * 20
    again = len(worker.trained) - len(set(worker.trained))
    assert again < 5  # of trials without hope, whose checkpoints were deleted
    assert found.loc[found["state"] == "completed", "objective"].max() == worker.best
    took = [trial for trial, _ in groupby(trial for trial, _ in worker.trained)]
    assert len(took) > 8 + 3  # some went on more than once
    assert ledger.left == 0
    assert all(record.done for record in ledger.records.values())
    assert not folder.list(CHECKPOINTS)


def test_drivers_that_die_change_nothing(tmp_path):
    whole, torn = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "torn")
    sweep = sweep_of(sampler="tpe", trials=10)
    carry_out(sweep, whole)
    ledger, _ = carry_out(sweep, torn, new_driver_every=7)
    pd.testing.assert_frame_equal(table(torn), table(whole))
    assert all(record.done for record in ledger.records.values())


def test_a_driver_that_dies_between_decision_and_row_decides_the_same(folder):
    sweep = sweep_of(trials=2)
    ledger = open_ledger(sweep, folder)
    first = ledger.next()
    ledger.report(first, report(first, 10))

    killed = patch.object(ledger, "_write", side_effect=KeyboardInterrupt)
    with killed, pytest.raises(KeyboardInterrupt):
        ledger.report(first, report(first, 20))
    ledger = open_ledger(sweep, folder)
    assert ledger.next() == first  # it had no row, so it may have been at work
    ledger.report(first, report(first, 20))
    assert ledger.is_frozen(first)
    assert rows(folder)[first.trial]["state"] == "frozen"

    ledger = open_ledger(sweep, folder)  # the worker is gone too
    second = ledger.next()
    assert second.number == 1
    ledger.report(second, report(second, 20))
    ledger.lose(second, "its worker died", counts=True)
    assert ledger.next().number in (0, 1)


def test_many_workers_train_no_more_than_can_win(folder):
    ledger = open_ledger(sweep_of(), folder)
    workers = [Worker(folder) for _ in range(8)]
    busy = [worker for worker in workers if worker.take(ledger)]
    trained = 0
    while busy:
        for worker in list(busy):
            trained += 1
            if not worker.step(ledger) and not worker.take(ledger):
                busy.remove(worker)
        idle = [worker for worker in workers if worker not in busy]
        busy += [worker for worker in idle[:1] if worker.take(ledger)]
    assert all(record.done for record in ledger.records.values())
    assert counts(ledger)["SAGM"]["completed"] >= 1
    assert trained < 8 * 20


def test_a_budget_ends_with_the_best_so_far_and_a_larger_one_goes_on(tmp_path):
    folder, other = RunFolder(tmp_path / "grown"), RunFolder(tmp_path / "whole")
    small = sweep_of(budget={"passes": 600.0})  # of 400 a trial
    ledger, worker = carry_out(small, folder)
    spent = len(worker.trained) * 10 * PASSES
    assert 560 <= spent <= 640
    assert all(record.done for record in ledger.records.values())
    (study,) = ledger.records.values()
    assert study.ended_by_budget
    found = table(folder)
    assert set(found["state"]) == {"completed", "frozen"}
    assert found["passes"].sum() == spent
    # What led when the budget was spent has come to its end.
    assert found.loc[found["state"] == "completed", "objective"].max() == found["objective"].max()
    assert open_ledger(small, folder).next() is None
    record(small, folder)
    with without_timing():
        bill = plan_sweep(sweep_of(), folder, "sweep.yaml")
    assert bill.ended == (found["state"] == "completed").sum()  # a frozen trial has more to pay

    grown, more = carry_out(sweep_of(), folder)
    assert not set(more.trained) & set(worker.trained)
    carry_out(sweep_of(), other)
    assert grown.records[study.study.id].best == table(other)["objective"].max()


def test_a_study_that_stagnates_ends_with_its_frozen_trials_and_others_get_its_trials(folder):
    ends = {"terminator": "stagnation", "patience": 2}
    sweep = sweep_of(["SAGM", "SAM"], sampler="tpe", **ends)
    ledger, _ = carry_out(sweep, folder)
    assert all(record.done for record in ledger.records.values())
    assert set(table(folder)["state"]) == {"completed", "pruned"}
    assert len(table(folder)) < 16


def test_with_folds_a_trial_waits_after_a_fold_and_before_its_own_run(folder):
    training = {"steps": 100, "evaluate_every": 10}
    search = {"scheduler": "freeze-thaw", "trials": 2, "objective": "leave-one-domain-out"}
    ledger = open_ledger(small_sweep(training=training, search=search), folder)

    def fold(spec, number, value):
        ledger.report(spec, replace(said(100 * number, value), folds=number))
        return ledger.is_frozen(spec)

    first = ledger.next()
    ledger.report(first, replace(said(50, 0.0), value=None, best_step=None))
    assert fold(first, 1, 0.5)  # the second has had none
    ledger.freeze(first)
    second = ledger.next()
    assert [fold(second, number, 0.9) for number in range(1, 6)] == [False] * 5
    finish(ledger, folder, second, 0.9)
    assert ledger.next() is None
    assert rows(folder)[first.trial]["state"] == "pruned"


def test_checkpoints_are_bounded_and_a_trial_without_one_starts_over(folder, monkeypatch):
    monkeypatch.setattr(freezing, "MOST_CHECKPOINTS", 2)
    ledger, worker = carry_out(sweep_of(), folder)
    assert worker.most_checkpoints == 2
    assert len(worker.trained) > len(set(worker.trained))
    assert all(record.done for record in ledger.records.values())
    assert not folder.list(CHECKPOINTS)


def test_a_frozen_trial_frees_its_worker_and_comes_back_with_the_same_bits(tmp_path):
    folders = []
    for search in ({"scheduler": "freeze-thaw", "grace_steps": 8}, {"scheduler": "none"}):
        training = {"steps": 24, "evaluate_every": 4}
        sweep = small_sweep(training=training, search={"trials": 3, **search})
        folders.append(RunFolder.create(tmp_path / search["scheduler"]))
        with without_ray():
            assert launch(sweep, folders[-1])
    ours, theirs = (tables.read_evaluations(folder) for folder in folders)
    trials = tables.read_trials(folders[0])
    assert (trials["state"] == "completed").any()
    assert not (trials["state"] == "frozen").any()
    same = ["trial", "step", "domain", "split", "accuracy", "loss"]
    ours = ours[ours["role"] == "source"][same].reset_index(drop=True)
    merged = ours.merge(theirs[same], on=same[:4], suffixes=("", "_whole"))
    assert len(merged) == len(ours)
    assert (merged["accuracy"] == merged["accuracy_whole"]).all()
    assert (merged["loss"] == merged["loss_whole"]).all()
    assert not folders[0].exists(CHECKPOINTS)
