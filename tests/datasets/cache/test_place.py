"""Caches lie beside the data, or where something can be written."""

from pathlib import Path

import pytest

from datasets.cache.versions import homes, writable
from datasets.domain_dataset import DatasetError


def test_the_first_choice_is_beside_the_data(tmp_path: Path) -> None:
    place = writable(homes(tmp_path, tmp_path / "PACS", "PACS-224"))
    assert place == tmp_path / ".steppe-cache" / "PACS-224"
    assert place.is_dir()


def test_where_nothing_can_be_written_the_users_cache_folder_serves(tmp_path: Path) -> None:
    # A file where the folder should be: it cannot be made, whoever asks.
    (tmp_path / ".steppe-cache").write_text("")
    place = writable(homes(tmp_path, tmp_path / "PACS", "PACS-224"))
    assert place.parent == tmp_path / "xdg" / "steppe"
    assert place.name.startswith("PACS-224-")


def test_in_a_shared_place_two_folders_of_one_name_have_two_caches(tmp_path: Path) -> None:
    one, other = (homes(tmp_path / x, tmp_path / x / "PACS", "PACS-224")[-1] for x in "ab")
    assert one != other


def test_a_chosen_folder_comes_first_and_the_others_are_still_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = homes(tmp_path, tmp_path / "PACS", "PACS-224")
    monkeypatch.setenv("STEPPE_CACHE", str(tmp_path / "fast"))
    first, *others = homes(tmp_path, tmp_path / "PACS", "PACS-224")
    assert first.parent == tmp_path / "fast"
    assert tuple(others) == before


def test_no_place_at_all_names_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("xdg", ".steppe-cache"):
        (tmp_path / name).write_text("")
    with pytest.raises(DatasetError, match=r"PACS-224, .*xdg.*set STEPPE_CACHE to a folder"):
        writable(homes(tmp_path, tmp_path / "PACS", "PACS-224"))
