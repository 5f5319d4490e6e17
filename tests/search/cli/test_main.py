"""`python -m search` where another package has the name of one of Steppe's folders."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search.command import CHECKOUT


def run(shadow: Path) -> subprocess.CompletedProcess[str]:
    """From elsewhere, so that the working folder does not come first."""
    path = os.pathsep.join([str(shadow), str(CHECKOUT)])
    return subprocess.run(
        [sys.executable, "-m", "search", "models"],
        cwd=shadow.parent,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", ["datasets", "models", "training"])
def test_a_package_that_shadows_ours_is_named_with_the_way_out(name, tmp_path):
    package = tmp_path / "site" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('it must not even be imported')")
    done = run(tmp_path / "site")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: `import {name}` finds {package}/__init__.py instead of {CHECKOUT}/{name}; "
        f"run `python -m search` inside {CHECKOUT}, in an environment without that package\n"
    )


def test_without_one_it_runs_from_anywhere(tmp_path):
    (tmp_path / "site").mkdir()
    done = run(tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert "mlp" in done.stdout
