import json
import time
from pathlib import Path

import optuna
import pytest

from search.errors import SteppeError
from search.run.storage import FileJournal, open_for_reading, open_for_writing


@pytest.fixture
def journal(folder):
    """The folder's, with one study of one trial."""
    study = optuna.create_study(storage=open_for_writing(folder), study_name="s")
    study.tell(study.ask(), 0.5)
    return Path(folder.path("optuna.journal"))


def values(storage):
    return [trial.value for trial in optuna.load_study(study_name="s", storage=storage).trials]


@pytest.mark.parametrize("torn", [b"{", b'{"op_code":4,"worker_id":"x","study_id":0,"da'])
def test_a_line_cut_short_by_a_crash_is_removed_and_the_journal_goes_on(folder, journal, torn):
    whole = journal.read_bytes()
    journal.write_bytes(whole + torn)
    storage = open_for_writing(folder)
    assert journal.read_bytes() == whole
    study = optuna.load_study(study_name="s", storage=storage)
    study.tell(study.ask(), 0.25)
    assert values(open_for_reading(folder)) == [0.5, 0.25]
    assert values(open_for_writing(folder)) == [0.5, 0.25]


def test_a_last_line_that_lacks_only_its_end_is_kept(folder, journal):
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-1])
    open_for_writing(folder)
    assert journal.read_bytes() == whole


def test_a_journal_that_was_cut_in_its_first_line_begins_anew(folder):
    folder.write_bytes("optuna.journal", b'{"op_code":0')
    optuna.create_study(storage=open_for_writing(folder), study_name="s")
    assert values(open_for_reading(folder)) == []


def test_a_reader_changes_nothing_not_even_what_is_torn(folder, journal):
    # The driver may be in the middle of that line, and may hold that lock.
    journal.write_bytes(journal.read_bytes() + b'{"op_code":4,"wor')
    lock = journal.with_name("optuna.journal.lock")
    lock.symlink_to(journal)
    before = journal.read_bytes()
    assert values(open_for_reading(folder)) == [0.5]
    assert journal.read_bytes() == before
    assert lock.is_symlink()


def test_a_line_is_read_once_it_is_whole(folder, journal):
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    journal.write_bytes(whole[:-9])
    backend = FileJournal(journal, folder)
    read = [*backend.read_logs(0)]
    assert read == [json.loads(line) for line in lines[:-1]]
    assert [*backend.read_logs(len(read))] == []
    journal.write_bytes(whole)
    assert [*backend.read_logs(len(read))] == [json.loads(lines[-1])]


def test_locks_of_a_dead_driver_are_removed(folder, journal):
    # Optuna's lock while it is held, and the name it has for a moment while it is let go.
    held = journal.with_name("optuna.journal.lock")
    renamed = journal.with_name("optuna.journal.lockb9e7.rename")
    held.symlink_to(journal)
    renamed.symlink_to(journal.with_name("nowhere"))
    began = time.monotonic()
    study = optuna.load_study(study_name="s", storage=open_for_writing(folder))
    study.tell(study.ask(), 0.25)
    assert time.monotonic() - began < 25  # Optuna alone waits 30 s for it
    assert list(journal.parent.iterdir()) == [journal]


NO_JOURNAL = [b"garbage", b"garbage\n", b'{"a": 1}\n', b'{"op_code": 99}\n', b"\xff\xfe\n"]


@pytest.mark.parametrize("content", NO_JOURNAL)
def test_a_file_that_is_no_journal_is_refused_and_kept(folder, content):
    folder.write_bytes("optuna.journal", content)
    openers = [open_for_writing, open_for_reading]
    # To a reader, what has no end is a line that is still being written.
    for opened in openers if content.endswith(b"\n") else openers[:1]:
        with pytest.raises(SteppeError, match=r"optuna\.journal is damaged: .*; put a copy back"):
            opened(folder)
        assert folder.read_bytes("optuna.journal") == content
