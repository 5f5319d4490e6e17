"""YAML as sweep files need it: 1e-5 is a number, and a key that comes twice is an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from search.errors import UserError
from search.nearest import nearest

FLOAT = "tag:yaml.org,2002:float"
TEXT = "tag:yaml.org,2002:str"
MERGE = "tag:yaml.org,2002:merge"


class Loader(yaml.SafeLoader):
    """Safe YAML with the floats of YAML 1.2 and unique text keys."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            problem = None
            if key.tag not in (TEXT, MERGE):
                problem = f"the key {getattr(key, 'value', '')!r} is not text; put it in quotes"
            elif key.value in seen:
                problem = f"the key {key.value!r} comes twice; keep one"
            if problem:
                raise yaml.composer.ComposerError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return node


# YAML 1.1, which PyYAML follows, takes 1e-5 for text because it has no dot.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != FLOAT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    FLOAT,
    re.compile(
        r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError if there is no such file or no mapping in it."""
    try:
        content = path.read_bytes()
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; name the YAML file in it") from None
    except FileNotFoundError:
        raise UserError(f"{path} does not exist{_neighbour(path)}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    return parse(content, str(path))


def parse(content: bytes, source: str) -> dict[str, Any]:
    """The mapping in a YAML file's content; errors call it `source`. Raises UserError."""
    try:
        data = yaml.load(content.decode("utf-8-sig"), Loader)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{source}: byte {error.start} is not UTF-8 text; save the file as UTF-8"
        ) from None
    except yaml.YAMLError as error:
        raise UserError(f"{source}: {place(error)}") from None
    if data is None:
        raise UserError(f"{source} is empty; start from a file in configs/")
    if not isinstance(data, dict):
        raise UserError(
            f"{source} holds no keys; a sweep file is a mapping such as `name: my-sweep`"
        )
    return data


def place(error: yaml.YAMLError) -> str:
    """`line 3, column 5: ...`, what a parser found and where."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error).splitlines()[0]


def _neighbour(path: Path) -> str:
    folder = path.parent
    files = [p.name for p in folder.glob("*.y*ml")] if folder.is_dir() else []
    close = nearest(path.name, files)
    return f"; did you mean {folder / close}?" if close else ""
