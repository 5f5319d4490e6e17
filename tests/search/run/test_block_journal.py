"""The journal of a run in a store. A disk with a folder `optuna.journal` has the same."""

from __future__ import annotations

import json
from unittest.mock import Mock, create_autospec

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search.errors import SteppeError
from search.run.run_folder import RunFolder
from search.run.storage import JOURNAL, begun, open_for_reading, open_for_writing
from tests.search.play import finish, open_ledger, play, said, small_sweep, stored


@pytest.fixture
def folder(tmp_path):
    (tmp_path / JOURNAL).mkdir()
    return RunFolder(tmp_path)


def content(folder: RunFolder) -> bytes:
    return b"".join(folder.read_bytes(f"{JOURNAL}/{name}") for name in folder.list(JOURNAL))


def add_trials(storage, count: int) -> None:
    study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
    for _ in range(count):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1))


def numbers(storage) -> list[int]:
    return [trial.number for trial in optuna.load_study(study_name="s", storage=storage).trials]


def test_what_was_flushed_is_read_by_others_and_gone_on_with(folder):
    assert not begun(folder)
    assert open_for_reading(folder).get_all_studies() == []
    storage = open_for_writing(folder)
    add_trials(storage, 2)
    assert folder.list(JOURNAL) == []  # nothing was asked of the store yet
    storage.flush()
    assert begun(folder)
    before = content(folder)
    assert numbers(open_for_reading(folder)) == [0, 1]
    assert content(folder) == before
    again = open_for_writing(folder)
    add_trials(again, 1)
    again.flush()
    assert numbers(open_for_reading(folder)) == [0, 1, 2]
    assert content(folder).startswith(before)


def test_its_blocks_one_after_the_other_are_optunas_own_journal(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("search.run.storage.BLOCK_BYTES", 2000)
    storage = open_for_writing(folder)
    for _ in range(10):
        add_trials(storage, 1)
        storage.flush()
    names = folder.list(JOURNAL)
    assert names == [f"{number:08d}.jsonl" for number in range(len(names))]
    assert len(names) > 3
    sizes = [len(folder.read_bytes(f"{JOURNAL}/{name}")) for name in names]
    assert all(2000 <= size < 4000 for size in sizes[:-1])
    (tmp_path / "joined").write_bytes(content(folder))
    joined = JournalStorage(JournalFileBackend(str(tmp_path / "joined")))
    assert numbers(joined) == numbers(open_for_reading(folder)) == list(range(10))
    # And however small or large they were made, they are gone on with.
    monkeypatch.setattr("search.run.storage.BLOCK_BYTES", 300)
    add_trials(open_for_writing(folder), 1)
    assert numbers(open_for_reading(folder)) == list(range(10))


def test_it_writes_only_when_there_is_something_new_and_by_itself_after_a_while(
    folder, monkeypatch
):
    written = create_autospec(RunFolder.write_bytes, side_effect=RunFolder.write_bytes)
    monkeypatch.setattr(RunFolder, "write_bytes", written)
    storage = open_for_writing(folder)
    add_trials(storage, 5)
    assert written.call_count == 0
    storage.flush()
    storage.flush()
    assert written.call_count == 1
    monkeypatch.setattr("search.run.storage.FLUSH_SECONDS", 0.0)
    storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "another")
    assert written.call_count == 2
    assert len(open_for_reading(folder).get_all_studies()) == 2


def test_what_could_not_be_written_is_written_with_the_next(folder, monkeypatch):
    storage = open_for_writing(folder)
    add_trials(storage, 1)
    with monkeypatch.context() as patch:
        away = Mock(side_effect=OSError("the store is away"))
        patch.setattr(RunFolder, "write_bytes", away)
        with pytest.raises(OSError, match="away"):
            storage.flush()
    add_trials(storage, 1)
    storage.flush()
    assert numbers(open_for_reading(folder)) == [0, 1]


@pytest.mark.parametrize("damage", ["garbage\n", "[]\n", '{"op_code":0', '{"a":1}\n'])
def test_a_damaged_block_is_refused_and_kept(folder, damage):
    storage = open_for_writing(folder)
    add_trials(storage, 1)
    storage.flush()
    folder.write_bytes(f"{JOURNAL}/00000000.jsonl", content(folder) + damage.encode())
    before = content(folder)
    for opened in (open_for_reading, open_for_writing):
        with pytest.raises(SteppeError, match=r"optuna\.journal is damaged: "):
            opened(folder)
    assert content(folder) == before


def test_a_missing_block_is_named(folder):
    line = json.dumps({"op_code": 0}).encode()
    folder.write_bytes(f"{JOURNAL}/00000001.jsonl", line)
    with pytest.raises(SteppeError, match=r"00000000\.jsonl is missing, but there is 00000001"):
        open_for_writing(folder)


# What a driver finds that comes after one that was killed: nothing since the last hand-out.


def test_a_trial_is_known_to_the_store_before_a_worker_is(folder):
    ledger = open_ledger(small_sweep(), folder)
    spec = ledger.next()
    (trial,) = stored(folder)[spec.study.id][:1]
    assert (trial.number, trial.state.name) == (0, "RUNNING")
    assert trial.params.keys() >= {"lr", "rho", "alpha"}
    assert trial.params.items() <= {**spec.values}.items()
    assert open_ledger(small_sweep(), folder).next() == spec


def test_reports_that_the_store_never_heard_of_are_made_again(folder):
    sweep = small_sweep(search={"trials": 1})
    ledger = open_ledger(sweep, folder)
    spec = ledger.next()
    ledger.report(spec, said(10, 0.5))
    ledger.report(spec, said(20, 0.6))
    assert stored(folder)[spec.study.id][0].intermediate_values == {}
    resumed = open_ledger(sweep, folder)
    assert resumed.next() == spec
    for step, best in ((10, 0.5), (20, 0.6), (30, 0.7)):
        resumed.report(spec, said(step, best))
    finish(resumed, folder, spec, 0.7)
    resumed._storage.flush()
    (trial,) = stored(folder)[spec.study.id]
    assert trial.intermediate_values == {10: 0.5, 20: 0.6, 30: 0.7}
    assert trial.value == 0.7


@pytest.mark.parametrize("end", ["completed", "pruned", "diverged", "failed"])
def test_an_end_that_the_store_never_heard_of_is_told_from_the_row(folder, end):
    sweep = small_sweep(search={"trials": 2, "scheduler": "asha", "grace_steps": 10})
    ledger = open_ledger(sweep, folder)
    other, spec = ledger.next(), ledger.next()
    reason = None if end == "completed" else "for a reason"
    if end == "pruned":
        ledger.report(spec, said(10, 0.3))
        ledger.prune(spec)
    elif end == "failed":
        ledger.fail(spec, reason)
    else:
        finish(ledger, folder, spec, 0.3, end, reason=reason)
    assert stored(folder)[spec.study.id][1].state.name == "RUNNING"

    resumed = open_ledger(sweep, folder)
    assert resumed.left == 1
    assert resumed.next() == other
    assert dict(resumed.records[spec.study.id].ended) == {end: 1}
    assert resumed.next() is None


@pytest.mark.parametrize("sampler", ["random", "qmc", "grid"])
def test_drivers_that_die_after_every_trial_make_the_same_sweep(folder, tmp_path, sampler):
    space = {"lr": {"choice": [0.01, 0.02, 0.03]}, "weight_decay": 0, "dropout": 0}
    search = {"trials": 5, "sampler": sampler, "space": space}
    sweep = small_sweep(algorithms=["ERM"], search=search)
    undisturbed = RunFolder(tmp_path / "undisturbed")
    ledger = open_ledger(sweep, undisturbed)
    expected = play(sweep, undisturbed, ledger.left, ledger)
    assert [play(sweep, folder, 1)[0] for _ in expected] == expected
    resumed = open_ledger(sweep, folder)
    assert resumed.next() is None
    resumed._storage.flush()
    (ours,), (theirs,) = stored(folder).values(), stored(undisturbed).values()
    assert [(t.params, t.value) for t in ours] == [(t.params, t.value) for t in theirs]
