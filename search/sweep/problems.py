"""What is wrong in a sweep file, one sentence each."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import yaml

from search.errors import SteppeError
from search.yaml_file import Dumper, Written

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """A key of the file and the rest of the sentence that begins with it."""

    path: Path
    text: str


def dotted(path: Path) -> str:
    """`search.first_trials[0].lr`"""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return words.removeprefix(".")


def show(value: object, cut: int | None = 80) -> str:
    """The value as it would stand in the file, cut if it is long."""
    if value is None:
        return "empty"
    if isinstance(value, str):
        return str(value) if isinstance(value, Written) else repr(value)
    written = yaml.dump(
        value,
        Dumper=Dumper,
        default_flow_style=True,
        width=1_000_000,
        sort_keys=False,
        allow_unicode=True,
    )
    written = written.removesuffix("...\n").strip()
    return written if cut is None or len(written) <= cut else f"{written[: cut - 3]}..."


def user_error(
    source: str, problems: Iterable[Problem], overridden: Collection[Path]
) -> SteppeError:
    """All problems, a line each, that begins with the file or the --set that has the key."""
    lines = []
    for problem in problems:
        own = [path for path in overridden if problem.path[: len(path)] == path]
        where = f"--set {dotted(max(own, key=len))}" if own else source
        lines.append(f"{where}: {dotted(problem.path)} {problem.text}")
    return SteppeError("\n".join(lines))
