"""The command line, in this process and in one of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner, Result

from benchmarks.processes import CHECKOUT, MARK, Command, command, end_all, started, wait_until
from search.cli.main import app
from search.sweep.schema import Sweep

__all__ = [
    "CHECKOUT",
    "MARK",
    "Command",
    "command",
    "end_all",
    "launch",
    "printed",
    "refused",
    "started",
    "steppe",
    "wait_until",
    "write_yaml",
]


def steppe(*arguments: object) -> Result:
    """`python -m search ...` in this process: exit_code, stdout, stderr."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def printed(*arguments: object) -> str:
    """What a command prints that ends well."""
    done = steppe(*arguments)
    assert done.exit_code == 0, (done.stdout, done.stderr, done.exception)
    return done.stdout


def refused(*arguments: object) -> str:
    """The message of a command that is refused as it should be."""
    done = steppe(*arguments)
    assert done.exit_code == 2, (done.exit_code, done.stdout, done.stderr, done.exception)
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    return done.stderr.removeprefix("error: ").rstrip("\n")


def launch(sweep: Sweep, place: Path) -> Result:
    """Launches a sweep from a file in `place` into the folder `run` there."""
    file = write_yaml(place / "sweep.yaml", sweep.model_dump(mode="json"))
    return steppe("launch", file, "--output", place / "run")


def write_yaml(path: Path, data: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path
