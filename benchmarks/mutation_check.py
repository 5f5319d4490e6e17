"""Breaks the code in a few places, one after the other, and says which breaks the tests catch.

Places are drawn by a seed from search/ and training/: one per file, by kind of change in turn. They
are known by the function and the line that is changed, not by the file, so that those drawn from
one checkout are found in another where the files lie elsewhere:

    python -m benchmarks.mutation_check draw --seed 0 --count 40 places.json
    python -m benchmarks.mutation_check run places.json --checkout ../other --output out.json

Each break is made in a scratch copy. Run are the test files nearest to the broken module by
imports, quick tests first, to the first failure. A break is caught if a test fails.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
BROKEN = ("search", "training")  # the folders in which places are drawn
IMPORTED = (*BROKEN, "models", "datasets", "benchmarks", "tests")
KINDS = ("comparison", "number", "and-or", "return", "constant", "not")
FLIPPED = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
# No test is to hold the words of a message, and an annotation or a decorator computes nothing.
PASSED_OVER = (ast.Raise, ast.JoinedStr, ast.Assert, ast.arguments, ast.AnnAssign)


@dataclass(frozen=True)
class Place:
    """A line of a function, as it is and as it is broken; `file` says where it was drawn."""

    kind: str
    function: str
    before: str
    after: str
    file: str


def functions(tree: ast.AST, outer: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Each function with its qualified name, those inside classes and functions included."""
    for node in ast.iter_child_nodes(tree):
        name = outer
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = f"{outer}.{node.name}".lstrip(".")
        if isinstance(node, ast.FunctionDef):
            yield name, node
        yield from functions(node, name)


def changes(node: ast.AST, source: str) -> Iterator[tuple[str, ast.AST, str]]:
    """Kind, changed node and its new text, of all that can be broken in a function's own body."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*PASSED_OVER, ast.FunctionDef, ast.ClassDef)):
            continue
        text = ast.get_source_segment(source, child) or ""
        match child:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                one, other = (ast.get_source_segment(source, side) for side in (left, right))
                yield "comparison", child, f"{one} {FLIPPED[type(op)]} {other}"
            case ast.Constant(value=bool(value)):
                yield "constant", child, str(not value)
            case ast.Constant(value=int(value)):
                yield "number", child, str(value + 1)
            case ast.Constant(value=float(value)):
                yield "constant", child, repr(2 * value + 1)
            case ast.BoolOp(op=op, values=values):
                word = " or " if isinstance(op, ast.And) else " and "
                parts = [ast.get_source_segment(source, value) or "" for value in values]
                yield "and-or", child, f"({word.join(parts)})"
            case ast.Return(value=value) if value is not None and text != "return None":
                yield "return", child, "return None"
            case ast.If(test=test):
                yield "not", test, f"not ({ast.get_source_segment(source, test)})"
        yield from changes(child, source)


def drawn(checkout: Path, seed: int, count: int) -> list[Place]:
    """One place of each of `count` files, or of as many as there are."""
    draw, places = random.Random(seed), []
    files = [path for folder in BROKEN for path in sorted((checkout / folder).rglob("*.py"))]
    draw.shuffle(files)
    for file in files:
        source, found = file.read_text(), defaultdict(list)
        lines = source.splitlines()
        for name, function in functions(ast.parse(source)):
            for kind, node, text in changes(function, source):
                at, line = node.lineno - 1, lines[node.lineno - 1]  # type: ignore[attr-defined]
                start, end = node.col_offset, node.end_col_offset  # type: ignore[attr-defined]
                own = "\n".join(lines[function.lineno - 1 : function.end_lineno])  # type: ignore
                if node.end_lineno - 1 != at or own.count(line) > 1 or not line.isascii():  # type: ignore
                    continue
                after = line[:start] + text + line[end:]
                found[kind].append(Place(kind, name, line, after, str(file.relative_to(checkout))))
        turn = len(places) % len(KINDS)
        kind = next((k for k in (*KINDS[turn:], *KINDS[:turn]) if found[k]), None)
        if kind is not None:
            places.append(draw.choice(found[kind]))
        if len(places) == count:
            break
    return places


def broken(place: Place, checkout: Path) -> tuple[Path, str] | None:
    """The file that has the place now, and its text with the break; None if it is gone.

    In a function of that name, or of any other if there is one such line alone.
    """
    hits = []
    for file in (file for folder in BROKEN for file in sorted((checkout / folder).rglob("*.py"))):
        source = file.read_text()
        if place.before.strip() not in source:
            continue
        lines = source.splitlines(keepends=True)
        for name, function in functions(ast.parse(source)):
            same = (name == place.function) + (name.split(".")[-1] == place.function.split(".")[-1])
            for at in range(function.lineno - 1, function.end_lineno):  # type: ignore
                if lines[at].strip() == place.before.strip():
                    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
                    text = [*lines[:at], f"{indent}{place.after.strip()}\n", *lines[at + 1 :]]
                    hits.append((same, file, "".join(text)))
    best = max((same for same, *_ in hits), default=0)
    hits = [hit for hit in hits if hit[0] == best]
    return hits[0][1:] if hits and (best or len(hits) == 1) else None


def module_of(file: Path, checkout: Path) -> str:
    return ".".join(file.relative_to(checkout).with_suffix("").parts).removesuffix(".__init__")


def nearest_tests(module: str, checkout: Path, most: int) -> list[str]:
    """Test files by how many imports they are away from the module."""
    files = {
        module_of(file, checkout): file
        for folder in IMPORTED
        for file in sorted((checkout / folder).rglob("*.py"))
    }
    importers: dict[str, set[str]] = defaultdict(set)
    for name, file in files.items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                asked = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                asked = [node.module, *whole]
            else:
                continue
            for other in asked:
                importers[other].add(name)
    seen, ring, found = {module}, [module], []
    while ring:
        ring = sorted({name for known in ring for name in importers[known]} - seen)
        seen |= set(ring)
        found += [name for name in ring if name.rpartition(".")[2].startswith("test_")]
    return [str(files[name].relative_to(checkout)) for name in found[:most]]


def verdict(tests: list[str], checkout: Path, seconds: float) -> tuple[str, str]:
    """caught, survived or timeout; and the first test that failed."""
    deadline = time.monotonic() + seconds
    for which in ("not slow", "slow"):
        command = [
            *(sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", "-p", "no:cacheprovider"),
            *("-m", which, *tests),
        ]
        try:
            done = subprocess.run(
                command,
                cwd=checkout,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                timeout=max(deadline - time.monotonic(), 1),
            )
        except subprocess.TimeoutExpired:
            return "timeout", which
        if done.returncode not in (0, 5):  # 5: none of that kind
            lines = [
                line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERR"))
            ]
            return "caught", lines[0] if lines else done.stdout[-200:]
    return "survived", ""


def run(arguments: argparse.Namespace) -> None:
    places = [Place(**place) for place in json.loads(arguments.places.read_text())]
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "checkout"
        ignored = shutil.ignore_patterns(".git", "runs", "data", "__pycache__")
        shutil.copytree(arguments.checkout, copy, ignore=ignored)
        for number, place in enumerate(places[: arguments.count]):
            found, tests, began = broken(place, copy), [], time.monotonic()
            if found is None:
                outcome = ("gone", "")
            else:
                file, text = found
                tests = nearest_tests(module_of(file, copy), copy, arguments.files)
                whole = file.read_text()
                file.write_text(text)
                outcome = verdict(tests, copy, arguments.seconds)
                file.write_text(whole)
            results.append({**asdict(place), "outcome": outcome[0], "by": outcome[1]})
            took = f"{time.monotonic() - began:.0f} s, {len(tests)} files"
            print(f"{number:2d} {outcome[0]:8} {place.kind:10} {place.function} ({took})")
            print(f"     - {place.before.strip()}\n     + {place.after.strip()}\n     {outcome[1]}")
            if arguments.output:
                arguments.output.write_text(json.dumps(results, indent=1))
    print(dict(Counter(result["outcome"] for result in results)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    draw = commands.add_parser("draw", help="draw places and write them to a file")
    draw.add_argument("places", type=Path)
    draw.add_argument("--seed", type=int, default=0)
    draw.add_argument("--count", type=int, default=40)
    check = commands.add_parser("run", help="break each place of a file and run tests")
    check.add_argument("places", type=Path)
    check.add_argument("--count", type=int, help="of the first places only")
    check.add_argument("--files", type=int, default=12, help="test files that are run, at most")
    check.add_argument("--seconds", type=float, default=1200, help="for the tests of a place")
    check.add_argument("--output", type=Path, help="JSON")
    for command in (draw, check):
        command.add_argument("--checkout", type=Path, default=CHECKOUT)
    draw.set_defaults(do=draw_to_file)
    check.set_defaults(do=run)
    arguments = parser.parse_args()
    arguments.do(arguments)


def draw_to_file(arguments: argparse.Namespace) -> None:
    places = drawn(arguments.checkout, arguments.seed, arguments.count)
    arguments.places.write_text(json.dumps([asdict(place) for place in places], indent=1))
    print(dict(Counter(place.kind for place in places)))


if __name__ == "__main__":
    main()
