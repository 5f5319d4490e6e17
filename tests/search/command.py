"""The command line, in this process and in one of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner, Result

from benchmarks.processes import CHECKOUT, MARK, Command, command, end_all, started, wait_until
from search.cli.main import app

__all__ = [
    "CHECKOUT",
    "MARK",
    "Command",
    "command",
    "end_all",
    "started",
    "steppe",
    "wait_until",
    "write_yaml",
]


def steppe(*arguments: object) -> Result:
    """`python -m search ...` in this process: exit_code, stdout, stderr."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_yaml(path: Path, data: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path
