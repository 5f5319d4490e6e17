"""What is wrong in a sweep file, as one sentence for each key."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import yaml

from search.errors import SteppeError
from search.yaml_file import Dumper, Unquoted

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """A key of the file, and the rest of the sentence that begins with it."""

    path: KeyPath
    text: str


def dotted(path: KeyPath) -> str:
    """The path in one word: `search.first_trials[0].lr`."""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return words.removeprefix(".")


def show(value: object, longest: int | None = 80) -> str:
    """The value as the file would have it, cut to `longest` characters."""
    if value is None:
        return "empty"
    if isinstance(value, str):
        return str(value) if isinstance(value, Unquoted) else repr(value)
    written = yaml.dump(
        value,
        Dumper=Dumper,
        default_flow_style=True,
        width=1_000_000,
        sort_keys=False,
        allow_unicode=True,
    )
    written = written.removesuffix("...\n").strip()
    return written if longest is None or len(written) <= longest else f"{written[: longest - 3]}..."


def config_error(
    source: str, problems: Iterable[Problem], overridden: Collection[KeyPath]
) -> SteppeError:
    """One error for all problems; each line begins with the file or the --set that has the key."""
    lines = []
    for problem in problems:
        own = [path for path in overridden if problem.path[: len(path)] == path]
        where = f"--set {dotted(max(own, key=len))}" if own else source
        lines.append(f"{where}: {dotted(problem.path)} {problem.text}")
    return SteppeError("\n".join(lines))
