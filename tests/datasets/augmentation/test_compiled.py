"""Compiled functions are kept on disk where that is possible, and work where it is not."""

import os
import subprocess
import sys
from pathlib import Path

# Where it lies, so that a script need not import all that is beside it.
FOLDER = Path(__file__).resolve().parents[3] / "datasets" / "augmentation"

SOURCE = """
from compiled import compiled

@compiled
def double(x):
    return 2 * x

print(double(21), sum(double.stats.cache_hits.values()))
"""


def run(user: Path, *folders: Path) -> list[str]:
    """What the module in each of these folders prints, in one process of this user's cache."""
    code = "import runpy, sys\nfor path in sys.argv[1:]: runpy.run_path(path)"
    done = subprocess.run(
        [sys.executable, "-c", code, *(str(folder / "doubling.py") for folder in folders)],
        env={**os.environ, "PYTHONPATH": str(FOLDER), "XDG_CACHE_HOME": str(user)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def source(folder: Path, read_only: bool) -> Path:
    folder.mkdir()
    (folder / "doubling.py").write_text(SOURCE)
    if read_only:
        (folder / "__pycache__").touch()  # a folder of this name cannot be made
    return folder


def test_a_second_process_does_not_compile_again(tmp_path: Path) -> None:
    both = source(tmp_path / "writable", False), source(tmp_path / "read_only", True)
    assert run(tmp_path / "user", *both) == ["42 0", "42 0"]
    assert any((tmp_path / "writable" / "__pycache__").iterdir())
    assert any((tmp_path / "user").iterdir())
    assert run(tmp_path / "user", *both) == ["42 1", "42 1"]


def test_where_nothing_can_be_written_it_is_compiled_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert run(tmp_path / "file", source(tmp_path / "read_only", True)) == ["42 0"]
