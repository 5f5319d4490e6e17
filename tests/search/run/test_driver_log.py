import logging
from pathlib import Path
from unittest.mock import Mock

import pytest

from search.run.driver_log import DiskLog, StoreLog, driver_log
from search.run.run_folder import RunFolder


def say(log: logging.Handler, line: str) -> None:
    log.handle(logging.makeLogRecord({"msg": line, "levelname": "WARNING"}))


def test_a_log_on_a_disk_has_each_line_at_once_and_its_time(folder):
    log = driver_log(folder)
    assert folder.list() == []
    say(log, "one")
    said = folder.read_bytes("driver.log").decode()
    assert said.endswith(" WARNING one\n")
    assert said.startswith("20")
    log.close()


def test_a_disk_that_is_full_ends_nothing_that_is_logged(capsys):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    log = DiskLog("/dev/full", delay=True)
    say(log, "one")
    log.close()
    gone = DiskLog("/dev/null/driver.log", delay=True)
    say(gone, "one")
    gone.close()
    assert capsys.readouterr() == ("", "")


def test_a_log_in_a_store_goes_on_behind_what_is_there(folder):
    for line in ("first", "second"):
        log = StoreLog(folder, "driver.log")
        say(log, line)
        log.close()
    assert folder.read_bytes("driver.log") == b"first\nsecond\n"


def test_a_log_in_a_store_keeps_its_lines_while_the_store_is_away(folder, monkeypatch):
    log = StoreLog(folder, "driver.log")
    with monkeypatch.context() as patch:
        away = Mock(side_effect=OSError("the store is away"))
        patch.setattr(RunFolder, "write_bytes", away)
        say(log, "away")
    say(log, "soon after")  # not tried at every line
    assert not folder.exists("driver.log")
    log.close()
    assert folder.read_bytes("driver.log") == b"away\nsoon after\n"


def test_a_log_in_a_store_without_lines_makes_no_file(folder):
    StoreLog(folder, "driver.log").close()
    assert folder.list() == []
