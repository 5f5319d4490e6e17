"""The README's commands are those that CI runs, and what it names exists."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
README = (CHECKOUT / "README.md").read_text()


def test_ci_runs_the_commands_of_the_readme():
    run = (CHECKOUT / ".ci" / "run").read_text()
    assert "pip install '.[test]'" in README
    assert "pip install --quiet '.[test]'" in run
    assert re.search(r"^ *pytest$", README, re.MULTILINE)
    assert re.search(r"^pytest", run, re.MULTILINE)


def test_every_file_that_the_readme_names_exists():
    named = re.findall(r"(?:configs|docs|benchmarks)/[\w./-]*\w", README)
    assert named
    missing = [name for name in named if not (CHECKOUT / name).exists()]
    assert not missing
