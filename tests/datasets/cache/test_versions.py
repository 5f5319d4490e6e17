"""A version of a cache is there whole or not at all, whoever else builds it."""

import errno
import fcntl
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from datasets.cache import versions
from datasets.cache.versions import build


def writes(text: str):
    def fill(folder: Path) -> None:
        (folder / "facts.json").write_text(text)

    return fill


def test_what_fill_leaves_is_the_version(tmp_path: Path) -> None:
    version = build(tmp_path, "k1", writes("whole"))
    assert (version / "facts.json").read_text() == "whole"
    assert versions.versions(tmp_path) == [version]


def test_an_error_leaves_the_part_and_no_version(tmp_path: Path) -> None:
    def breaks(folder: Path) -> NoReturn:
        (folder / "half").write_text("")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        build(tmp_path, "k1", breaks)
    assert versions.versions(tmp_path) == []
    seen: list[str] = []
    build(tmp_path, "k1", lambda folder: seen.extend(path.name for path in folder.iterdir()))
    assert seen == ["half"]


def test_other_versions_and_their_parts_are_removed(tmp_path: Path) -> None:
    build(tmp_path, "old", writes("old"))
    (tmp_path / "older.partial").mkdir()
    version = build(tmp_path, "new", writes("new"))
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [version]


def test_one_builds_and_the_others_wait_for_it(tmp_path: Path) -> None:
    calls: list[int] = []
    begun = threading.Event()

    def slow(folder: Path) -> None:
        calls.append(1)
        begun.set()
        threading.Event().wait(0.3)
        (folder / "facts.json").write_text("whole")

    threads = [threading.Thread(target=build, args=(tmp_path, "k", slow)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(5)
    assert versions.versions(tmp_path) == []
    for thread in threads:
        thread.join()
    assert calls == [1]
    assert versions.versions(tmp_path) == [tmp_path / "k"]


def test_without_locks_each_fills_its_own_folder_and_the_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> NoReturn:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)

    def second_best(folder: Path) -> None:
        monkeypatch.setattr("os.getpid", lambda: 4711)  # as if in another process
        build(tmp_path, "k", writes("first"))
        (folder / "facts.json").write_text("second")

    version = build(tmp_path, "k", second_best)
    assert (version / "facts.json").read_text() == "first"
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [version]
