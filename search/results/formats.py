"""Documents of tables, and how they are written: for a terminal, a paper or a program.

Terminal, Markdown and LaTeX print the tables with their marks; CSV and JSON hold the frames, with
fractions in full.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TextIO

import pandas as pd

from search.screen import printable
from search.space.ranges import show_number

Mark = Literal["best", "second"]
DIGITS = 4  # of floats in tables, significant ones


@dataclass(frozen=True)
class Text:
    """The text of a cell; a number and its error are joined by ` ± `."""

    text: str
    mark: Mark | None = None


@dataclass(frozen=True)
class Grid:
    """A table of text.

    published: rows of papers, set off from the others. left: how many of the first columns are
    aligned to the left. notes: lines below.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    published: tuple[tuple[Text, ...], ...] = ()
    notes: tuple[str, ...] = ()
    left: int = 1


@dataclass(frozen=True)
class Document:
    """Tables, and the same as frames: CSV has only the first, JSON all of them."""

    grids: tuple[Grid, ...]
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)


def texts(row: Iterable[object]) -> tuple[Text, ...]:
    """A row of values; None and NaN are empty."""
    return tuple(Text(cell_text(value)) for value in row)


def cell_text(value: object) -> str:
    """A value as tables show it, floats with four significant digits; None and NaN are empty."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    return show_number(value, DIGITS) if isinstance(value, float) else str(value)


def write_table(document: Document, stream: TextIO) -> None:
    """Tables for the terminal, in colour where `stream` is one."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text as Styled

    styles = {"best": "bold", "second": "underline", None: ""}
    # A pipe has no width: leave the cells whole instead of folding them at 80 characters.
    console = Console(file=stream, width=None if stream.isatty() else 1000, highlight=False)
    for grid in document.grids:
        console.print(Styled(printable(grid.title), style="bold"))
        table = Table()
        for column, name in enumerate(grid.header):
            table.add_column(
                Styled(printable(name)), justify="left" if column < grid.left else "right"
            )
        for row in grid.rows:
            # Assembled, so that the style ends with the number and leaves the padding alone.
            table.add_row(
                *(Styled.assemble((printable(cell.text), styles[cell.mark])) for cell in row)
            )
        if grid.published:
            table.add_section()
        for row in grid.published:
            table.add_row(*(Styled(printable(cell.text), style="dim") for cell in row))
        console.print(table)
        for note in grid.notes:
            console.print(Styled(printable(note), style="dim"))


def write_markdown(document: Document, stream: TextIO) -> None:
    """Tables in GitHub's Markdown: the second best in `<u>`, rows of papers in italics."""
    around = {"best": "**{}**", "second": "<u>{}</u>", None: "{}"}
    parts = []
    for grid in document.grids:
        # Escaped before the marks are put in.
        rows = [[around[cell.mark].format(_md(cell.text)) for cell in row] for row in grid.rows]
        rows += [
            [f"*{_md(cell.text)}*" if cell.text else "" for cell in row] for row in grid.published
        ]
        header = [_md(name) for name in grid.header]
        parts.append(f"### {_md(grid.title)}\n\n{_pipes([header, *rows], grid.left)}")
        if grid.notes:
            parts.append("\n".join(f"- {_md(note)}" for note in grid.notes) + "\n")
    stream.write("\n".join(parts))


def write_latex(document: Document, stream: TextIO) -> None:
    r"""LaTeX tables; the preamble needs `\usepackage{booktabs}`.

    Names in other scripts need XeLaTeX or LuaLaTeX, and a font that has them.
    """
    for grid in document.grids:
        rows = [_tex_line(row) for row in grid.rows]
        if grid.published:
            rows += [r"\midrule", *(_tex_line(row) for row in grid.published)]
        align = "l" * grid.left + "c" * (len(grid.header) - grid.left)
        body = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(grid.title)}}}",
            rf"\begin{{tabular}}{{{align}}}",
            r"\toprule",
            _tex_line(map(Text, grid.header)),
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\footnotesize {_tex(note)}" for note in grid.notes),
            r"\end{table}",
        ]
        stream.write("\n".join(body) + "\n\n")


def write_csv(document: Document, stream: TextIO) -> None:
    """The rows of the first frame; what is missing is empty."""
    frame = next(iter(document.frames.values()))
    # Python's csv leaves a carriage return without quotes, and it would end the row.
    texts = frame.select_dtypes(exclude="number").astype(str)
    if any(texts[name].str.contains("\r").any() for name in texts):
        frame.to_csv(stream, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    else:
        frame.to_csv(stream, index=False, lineterminator="\n")


def write_json(document: Document, stream: TextIO) -> None:
    """`{"results": [row, ...], "winners": [row, ...]}`, by frame; what is missing is null."""
    content = {
        name: frame.astype(object).where(frame.notna(), None).to_dict("records")
        for name, frame in document.frames.items()
    }
    json.dump(content, stream, indent=2, ensure_ascii=False)
    stream.write("\n")


FORMATS: dict[str, Callable[[Document, TextIO], None]] = {
    "table": write_table,
    "markdown": write_markdown,
    "latex": write_latex,
    "csv": write_csv,
    "json": write_json,
}


def _pipes(lines: list[list[str]], left: int) -> str:
    rule = ["---" if column < left else "---:" for column in range(len(lines[0]))]
    return "".join(f"| {' | '.join(line)} |\n" for line in [lines[0], rule, *lines[1:]])


def _md(text: str) -> str:
    """The text with a backslash before all that Markdown reads as more than text.

    An underscore within a word is one already.
    """
    special = r"[\\`*<>|~$&#]|\](?=[\[(:])|\[(?=[ xX]\])"
    escaped = re.sub(special, r"\\\g<0>", printable(text))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)


def _tex_line(row: Iterable[Text]) -> str:
    around = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", None: "{}"}
    # Escaped before the sign is put in, which is markup itself.
    cells = (around[cell.mark].format(_tex(cell.text).replace(" ± ", r" $\pm$ ")) for cell in row)
    # The \\ of the row before would take these for its own.
    line = re.sub(r"^[\[*]", r"{\g<0>}", " & ".join(cells))
    return rf"{line} \\"


_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


def _tex(text: str) -> str:
    escaped = printable(text).translate(_TEX)
    # Two dashes would be a longer one, two quotes another quote.
    return re.sub(r"(?<=[-`',?!])(?=[-`',])", "{}", escaped)
