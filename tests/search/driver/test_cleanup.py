"""When a study has ended its part files become one, at whatever moment a driver dies."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from search.driver import cleanup
from search.driver.cleanup import Cleanup
from search.driver.ledger import Ledger
from search.errors import SteppeError
from search.run import tables
from search.run.run_folder import EVALUATIONS, TRIALS, RunFolder
from tests.search.play import finish, open_ledger, play, said, small_sweep

SWEEP = small_sweep(algorithms=["ERM", "SAGM"], search={"trials": 3})
ERM, SAGM = "RotatedDigits.mlp.ERM.0.0", "RotatedDigits.mlp.SAGM.0.0"
ERM_TRIALS = [f"{ERM}.{number}" for number in range(3)]


def write_evaluations(folder: RunFolder, trial: str, steps=(10, 20)) -> None:
    rows = [
        {"step": step, "weights": "iterate", "domain": "15", "role": "source", "split": "out",
         "accuracy": 0.5, "loss": 1.0, "count": 10, "seconds": 0.1}
        for step in steps
    ]  # fmt: skip
    tables.write_evaluations(folder, SWEEP.name, trial.rpartition(".")[0], trial, rows)


def play_all(folder: RunFolder, ledger: Ledger) -> None:
    while spec := ledger.next():
        write_evaluations(folder, spec.trial)
        finish(ledger, folder, spec, 0.5)


def read(folder: RunFolder) -> tuple[pd.DataFrame, pd.DataFrame]:
    return tables.read_trials(folder), tables.read_evaluations(folder)


def test_a_study_is_one_file_of_each_table_once_its_last_trial_has_ended(folder):
    ledger = open_ledger(SWEEP, folder)
    for _ in range(5):
        spec = ledger.next()
        write_evaluations(folder, spec.trial)
        finish(ledger, folder, spec, 0.5)
    assert folder.list(TRIALS) == [
        f"{ERM}.parquet", f"{SAGM}.0.parquet", f"{SAGM}.1.parquet"
    ]  # fmt: skip
    assert folder.list(EVALUATIONS) == folder.list(TRIALS)
    play_all(folder, ledger)
    assert folder.list(TRIALS) == folder.list(EVALUATIONS) == [f"{ERM}.parquet", f"{SAGM}.parquet"]


@pytest.fixture
def before(folder, monkeypatch) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of a sweep that has ended, whose parts are still to become one file."""
    with monkeypatch.context() as patch:
        patch.setattr(Cleanup, "_merge", lambda *_: None)
        play_all(folder, open_ledger(SWEEP, folder))
    assert len(folder.list(TRIALS)) == len(folder.list(EVALUATIONS)) == 6
    return read(folder)


def test_no_row_is_lost_or_changed_and_pandas_reads_the_folder_alone(folder, before):
    open_ledger(SWEEP, folder)  # as a resume does
    assert len(folder.list(TRIALS)) == len(folder.list(EVALUATIONS)) == 2
    for then, now in zip(before, read(folder), strict=True):
        pd.testing.assert_frame_equal(then, now)
    plain = pd.read_parquet(folder.path(TRIALS)).sort_values(["study", "number"])
    assert list(plain["trial"]) == list(before[0]["trial"])


@pytest.mark.parametrize("survives", range(8))
@pytest.mark.parametrize("split", [False, True], ids=["merging", "splitting"])
def test_a_driver_that_dies_on_the_way_leaves_every_row_once(
    folder, before, monkeypatch, split, survives
):
    """Cut off after each of the writes and deletions, in their order."""
    if split:
        cleanup.merge(folder, ERM, ERM_TRIALS)
    left = iter(range(survives))

    def cut(real):
        def until(self, *arguments):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return real(self, *arguments)

        return until

    with monkeypatch.context() as patch:
        for name in ("write_bytes", "delete"):
            patch.setattr(RunFolder, name, cut(getattr(RunFolder, name)))
        with pytest.raises(KeyboardInterrupt):
            cleanup.unmerge(folder, ERM) if split else cleanup.merge(folder, ERM, ERM_TRIALS)
    assert_same_rows(folder, before)
    if split:
        cleanup.unmerge(folder, ERM)
        assert len(folder.list(TRIALS)) == 6
    else:
        open_ledger(SWEEP, folder)  # as a resume does
        assert folder.list(TRIALS) == [f"{ERM}.parquet", f"{SAGM}.parquet"]
    assert folder.list(EVALUATIONS) == folder.list(TRIALS)
    assert_same_rows(folder, before)


def assert_same_rows(folder: RunFolder, before: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    for frames in zip(before, read(folder), strict=True):
        in_order = [f.sort_values("trial", kind="stable", ignore_index=True) for f in frames]
        pd.testing.assert_frame_equal(*in_order, check_categorical=False)


def test_a_worker_that_lost_its_driver_is_told_that_its_trial_has_ended(folder):
    ledger = open_ledger(SWEEP, folder)
    first = ledger.next()
    study, trial = first.study.id, first.trial
    assert not tables.has_ended(folder, study, trial)
    finish(ledger, folder, first, 0.5)
    assert tables.has_ended(folder, study, trial)
    play_all(folder, ledger)
    assert not Path(folder.path(f"{TRIALS}/{trial}.parquet")).exists()
    assert tables.has_ended(folder, study, trial)


def test_the_part_of_a_late_writer_does_not_count_and_is_put_away(folder):
    play_all(folder, open_ledger(SWEEP, folder))
    before = tables.read_evaluations(folder)
    write_evaluations(folder, f"{ERM}.1", steps=(10,))
    pd.testing.assert_frame_equal(tables.read_evaluations(folder), before)
    open_ledger(SWEEP, folder)
    assert folder.list(EVALUATIONS) == [f"{ERM}.parquet", f"{SAGM}.parquet"]


def test_a_damaged_part_stops_no_sweep_and_is_named_when_the_tables_are_read(folder):
    ledger = open_ledger(SWEEP, folder)
    play(SWEEP, folder, 1, ledger)
    folder.write_bytes(f"{TRIALS}/{ERM}.0.parquet", b"PAR1 no more")
    play_all(folder, ledger)
    assert f"{ERM}.0.parquet" in folder.list(TRIALS)
    assert f"{SAGM}.parquet" in folder.list(TRIALS)
    with pytest.raises(SteppeError, match=rf"{ERM}\.0\.parquet"):
        tables.read_trials(folder)


def test_a_study_in_which_no_trial_got_to_an_evaluation_has_its_rows(folder):
    ledger = open_ledger(SWEEP, folder)
    while spec := ledger.next():
        ledger.report(spec, said(10, 0.5))
        ledger.fail(spec, "no images")
    assert folder.list(TRIALS) == [f"{ERM}.parquet", f"{SAGM}.parquet"]
    assert folder.list(EVALUATIONS) == []
    assert len(tables.read_trials(folder)) == 6


def test_tables_can_be_read_at_the_moment_when_parts_become_one_file(folder, before, monkeypatch):
    listed = RunFolder.list

    def then_compacted(self, name=""):
        files = listed(self, name)
        monkeypatch.setattr(RunFolder, "list", listed)
        cleanup.merge(folder, ERM, ERM_TRIALS)
        return files  # which are no longer there

    monkeypatch.setattr(RunFolder, "list", then_compacted)
    pd.testing.assert_frame_equal(tables.read_trials(folder), before[0])
