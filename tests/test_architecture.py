"""The folders are the architecture: what may import what, and how large a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Mapping
from graphlib import CycleError, TopologicalSorter
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
MOST_LINES = 300
MOST_TEST_LINES = 400

# Folders and files at the top of search/: each imports those before it, and no other.
LAYERS = (
    "errors",
    "yaml_file",
    "screen",
    "space",
    "sweep",
    "study",
    "run",
    "checks",
    "results",
    "worker",
    "driver",
    "report",
    "reproduce",
    "combination",
    "cli",
    "__main__",
)

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
def test_a_package_imports_only_packages_below_it_and_only_search_knows_ray_and_tables(package):
    foreign = MAY_IMPORT.keys() - MAY_IMPORT[package] - {package}
    if package != "search":
        foreign |= SEARCH_ONLY
    sources = sorted((ROOT / package).rglob("*.py"))

    assert sources
    for path in sources:
        against = imports(path.read_text()) & foreign
        assert not against, f"{path.relative_to(ROOT)} imports {against}"


def inside(source: str, modules: Collection[str]) -> set[str]:
    """Which of these modules a source imports, wherever in it, or imports something of."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & set(modules) or {node.module}
    return found & set(modules)


def search_imports() -> dict[str, set[str]]:
    """What each module of search/ imports of search/."""
    sources = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / "search").rglob("*.py"))
    }
    return {name: inside(path.read_text(), sources) for name, path in sources.items()}


def upward(imported: Mapping[str, set[str]]) -> list[str]:
    """Imports against LAYERS, and modules that belong to none of them."""
    place = {layer: number for number, layer in enumerate(LAYERS)}
    found = []
    for name, others in imported.items():
        if name == "search":
            continue
        own = name.split(".")[1]
        if own not in place:
            found.append(f"{name} is in no layer")
            continue
        for other in sorted(others - {"search"}):
            theirs = other.split(".")[1]
            against = place.get(theirs, -1) > place[own] or {own, theirs} == {"report", "reproduce"}
            if against:
                found.append(f"{name} imports {other}")
    return found


def circle(imported: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Modules that import each other in a circle, if there is one."""
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        return tuple(error.args[1])
    return ()


def test_an_import_upward_a_circle_and_a_loose_file_are_found():
    source = "from search.run import tables, lease\ndef late():\n    import search.cli.main\n"
    modules = {"search.run", "search.run.tables", "search.run.lease", "search.cli.main"}
    assert inside(source, modules) == modules - {"search.run"}
    assert inside("from search.run.tables import read", modules) == {"search.run.tables"}

    assert upward({"search.run.a": {"search.study.b", "search.driver.c"}}) == [
        "search.run.a imports search.driver.c"
    ]
    assert upward({"search.reproduce.a": {"search.report.b"}})
    assert upward({"search.helper": set()}) == ["search.helper is in no layer"]
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}


def test_search_imports_downward_only_and_in_no_circle():
    imported = search_imports()

    assert len(imported) > 50
    assert not upward(imported)
    assert not circle(imported)


def most_lines(path: Path) -> int:
    own = path.relative_to(ROOT).parts[0] in MAY_IMPORT
    return MOST_LINES if own else MOST_TEST_LINES


def test_no_file_is_longer_than_one_idea_needs():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := len(path.read_text().splitlines())) > most_lines(path)
    }

    assert not long


def test_every_file_is_named_after_its_idea():
    vague = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if VAGUE & {part.removesuffix(".py").strip("_") for part in path.relative_to(ROOT).parts}
    ]

    assert not vague


def test_each_package_loads_only_what_it_needs():
    """Also through what it imports: a worker that trains must not wait for Ray or tables."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "training").rglob("*.py"))
    ]
    code = f"""
import sys
import models.exported
models.build("cnn", 2, (1, 8, 8))
print(*sys.modules)
import numpy, datasets, datasets.augmentation
from datasets.batches import Batches
domain = datasets.load("RotatedDigits").domains[0]
Batches([(domain, numpy.arange(9))], 2, seed=0)(0)
print(*sys.modules)
import {", ".join(modules)}
print(*sys.modules)
import search.reproduce.rerun, search.reproduce.export
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    of_a_model, with_batches, with_training, with_reproduce = (
        {name.split(".")[0] for name in line.split()} for line in done.stdout.splitlines()
    )
    assert "torch" in of_a_model
    assert not of_a_model & {*SEARCH_ONLY, "search", "training", "datasets", "torchvision"}
    assert "numba" not in with_batches  # which only images that are rendered need
    assert {"training", "datasets"} <= with_training
    assert not with_training & SEARCH_ONLY
    assert "pandas" in with_reproduce
    assert "ray" not in with_reproduce  # which would start it
