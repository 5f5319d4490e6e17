"""YAML as sweep files need it: keys are text, 1e-5 is a number, no key may come twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from search.errors import SteppeError, nearest

FLOAT = "tag:yaml.org,2002:float"
TEXT = "tag:yaml.org,2002:str"
MERGE = "tag:yaml.org,2002:merge"


class Unquoted(str):
    """Text without quotes that YAML takes for something else: `012`, `1e3`, `no`, `2024-01-01`."""

    @property
    def null(self) -> bool:
        """Whether it is YAML's word for nothing."""
        return self in ("~", "null", "Null", "NULL")


class Loader(yaml.SafeLoader):
    """Safe YAML with the floats of YAML 1.2 and unique keys, which are text as written."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """PyYAML's, with keys as text. Raises ComposerError for a key that comes twice."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for index, (key, value) in enumerate(node.value):
            problem = None
            if not isinstance(key, yaml.ScalarNode):
                problem = "a key is not text; put it in quotes"
            elif key.value in seen:
                problem = f"the key {key.value!r} comes twice; keep one"
            if problem:
                raise yaml.composer.ComposerError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
            if key.tag not in (TEXT, MERGE):
                # A copy: an alias may use the same node as a value.
                text = yaml.ScalarNode(TEXT, key.value, key.start_mark, key.end_mark, key.style)
                node.value[index] = (text, value)
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


class UnquotedLoader(Loader):
    """Leaves values without quotes as `Unquoted` text: the schema decides what is a number."""

    def construct_unquoted(self, node: yaml.Node) -> str | None:
        """The value as `Unquoted`; None if there is none."""
        text: str = self.construct_scalar(node)  # type: ignore[arg-type]
        return Unquoted(text) if text else None


for _tag in ("null", "bool", "int", "float", "timestamp", "value", "merge"):
    UnquotedLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", UnquotedLoader.construct_unquoted)


class Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1, or `Loader`, would take for something else."""

    def represent_unquoted(self, text: Unquoted) -> yaml.Node:
        """Without quotes, as it was read."""
        tag: str = self.resolve(  # type: ignore[no-untyped-call]
            yaml.ScalarNode, str(text), (True, False)
        )
        return self.represent_scalar(tag, str(text))

    def represent_text(self, text: str) -> yaml.Node:
        """With double quotes if a character cannot be printed."""
        # Between single quotes some ends of lines would be read as spaces.
        return self.represent_scalar(TEXT, text, style=None if text.isprintable() else '"')


Dumper.add_representer(Unquoted, Dumper.represent_unquoted)
Dumper.add_representer(str, Dumper.represent_text)
Dumper.yaml_implicit_resolvers = {
    first: [
        *resolvers,
        *(r for r in Loader.yaml_implicit_resolvers.get(first, ()) if r[0] == FLOAT),
    ]
    for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
}


def as_number(text: str) -> int | float | None:
    """The number in a text of a sweep file: `1e-3`, `1_000`, `0x10`, `.inf`; else None.

    Leading zeros are ignored: `012` is twelve, as in YAML 1.2.
    """
    try:
        if re.fullmatch(r"[-+]?[0-9]+(_[0-9]+)*", text):
            return int(text)
        if re.fullmatch(r"[-+]?0[box]\w+", text):
            return int(text, 0)
        return float(re.sub(r"^([-+]?)\.(?=inf$|nan$)", r"\1", text.lower()))
    except ValueError:
        return None


def read(path: Path, loader: type[Loader] = Loader) -> dict[str, Any]:
    """The mapping in a YAML file. Raises SteppeError without such a file or a mapping in it."""
    try:
        content = path.read_bytes()
    except IsADirectoryError:
        raise SteppeError(f"{path} is a folder; name the YAML file in it") from None
    except FileNotFoundError:
        raise SteppeError(f"{path} does not exist{_similar_file(path)}") from None
    except OSError as error:
        raise SteppeError(f"{path} cannot be read: {error.strerror}") from None
    return parse(content, str(path), loader)


def parse(content: bytes, source: str, loader: type[Loader] = Loader) -> dict[str, Any]:
    """The mapping in a YAML file's content; errors call it `source`. Raises SteppeError."""
    try:
        data = yaml.load(content.decode("utf-8-sig"), loader)
    except UnicodeDecodeError as error:
        raise SteppeError(
            f"{source}: byte {error.start} is not UTF-8 text; save the file as UTF-8"
        ) from None
    except yaml.YAMLError as error:
        raise SteppeError(f"{source}: {describe(error)}") from None
    except RecursionError:
        raise SteppeError(
            f"{source}: its lists or mappings are too deep inside each other; write them flatter"
        ) from None
    if data is None:
        raise SteppeError(f"{source} is empty; start from a file in configs/")
    if not isinstance(data, dict):
        raise SteppeError(
            f"{source} holds no keys; a sweep file is a mapping such as `name: my-sweep`"
        )
    return data


def describe(error: yaml.YAMLError) -> str:
    """What a parser found and where: `line 3, column 5: ...`."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error).splitlines()[0]


def _similar_file(path: Path) -> str:
    folder = path.parent
    files = [p.name for p in folder.glob("*.y*ml") if p.exists()] if folder.is_dir() else []
    close = nearest(path.name, files)
    return f"; did you mean {folder / close}?" if close else ""
