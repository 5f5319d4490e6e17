"""Small datasets on disk, with caches of their own."""

from pathlib import Path

import pytest

from datasets.benchmarks import BENCHMARKS
from tests.datasets.photos import numbered, tree


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEPPE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def pacs(tmp_path: Path) -> Path:
    """The root: PACS/ lies in it, with an image of each class in each domain."""
    tree(tmp_path / "data" / "PACS", BENCHMARKS["PACS"].domains, numbered(7), count=1)
    return tmp_path / "data"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A dataset of one's own: two domains, two classes, two images of each."""
    return tree(tmp_path / "mine", ["day", "night"], ["cat", "dog"])
