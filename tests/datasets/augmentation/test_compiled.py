"""Compiled functions are kept on disk where that is possible, and work where it is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Where it lies, so that a script need not import all that is beside it.
FOLDER = Path(__file__).resolve().parents[3] / "datasets" / "augmentation"

SOURCE = """
from compiled import compiled

@compiled
def double(x):
    return 2 * x

print(double(21), sum(double.stats.cache_hits.values()))
"""


def run(script: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(FOLDER), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_second_process_does_not_compile_again(tmp_path: Path, read_only: bool) -> None:
    script = tmp_path / "script.py"
    script.write_text(SOURCE)
    if read_only:
        (tmp_path / "__pycache__").touch()  # a folder of this name cannot be made
    users = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert run(script, **users) == "42 0"
    assert run(script, **users) == "42 1"


def test_where_nothing_can_be_written_it_is_compiled_all_the_same(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SOURCE)
    (tmp_path / "__pycache__").touch()
    (tmp_path / "file").touch()
    nowhere = {"XDG_CACHE_HOME": str(tmp_path / "file")}
    assert run(script, **nowhere) == "42 0"
