"""The folders are the architecture: what may import what, and how large a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# search -> training -> {models, datasets}
MAY_IMPORT = {
    "search": {"training", "models", "datasets"},
    "training": {"models", "datasets"},
    "models": set[str](),
    "datasets": set[str](),
}
SEARCH_ONLY = {"ray", "optuna", "pydantic", "typer", "rich", "pandas", "pyarrow"}
VAGUE = {"util", "utils", "helper", "helpers", "common", "misc"}
MOST_LINES = 400

SOURCES = [
    path
    for folder in (*MAY_IMPORT, "tests", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def imports(source: str) -> set[str]:
    """First words of all modules that a source imports, wherever in it; its own package's aside."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_imports_are_found_in_all_their_forms():
    source = """
import ray.tune as tune, optuna
from . import sibling
from .sibling import thing
from pandas.api import types
def late():
    from rich import print
"""

    assert imports(source) == {"ray", "optuna", "pandas", "rich"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_packages_below_it(package):
    sources = sorted((ROOT / package).rglob("*.py"))

    assert sources
    for path in sources:
        upward = (imports(path.read_text()) & MAY_IMPORT.keys()) - MAY_IMPORT[package] - {package}
        assert not upward, f"{path.relative_to(ROOT)} imports {upward}"


@pytest.mark.parametrize("package", ["training", "models", "datasets"])
def test_only_search_knows_ray_optuna_and_its_tables(package):
    for path in sorted((ROOT / package).rglob("*.py")):
        foreign = imports(path.read_text()) & SEARCH_ONLY
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


def test_no_file_is_longer_than_one_idea_needs():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := len(path.read_text().splitlines())) > MOST_LINES
    }

    assert not long


def test_every_file_is_named_after_its_idea():
    vague = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if VAGUE & {part.removesuffix(".py").strip("_") for part in path.relative_to(ROOT).parts}
    ]

    assert not vague


def test_training_loads_neither_ray_nor_optuna_nor_tables():
    """Also through what it imports: a worker that trains must not wait for them."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "training").rglob("*.py"))
    ]
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert {"training", "datasets", "torch"} <= loaded
    assert not loaded & SEARCH_ONLY
