"""How a summary is written: for the terminal, a paper, a spreadsheet or a program.

Terminal, Markdown and LaTeX print accuracies in percent, the best of a column bold and the second
underlined (among complete cells, at the printed precision); CSV and JSON hold full fractions.
"""

import csv
import json
from collections.abc import Callable, Iterable
from typing import Any, Literal, TextIO

import pandas as pd

from search.summary import Cell, ResultTable, Summary

Mark = Literal["best", "second"]

_PERCENT = ("validation", "accuracy")


def write_table(summary: Summary, stream: TextIO) -> None:
    """Tables for the terminal, in colour where `stream` is one."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styles = {"best": "bold", "second": "underline", None: ""}
    # A pipe has no width: leave the cells whole instead of folding them at 80 characters.
    console = Console(file=stream, width=None if stream.isatty() else 1000, highlight=False)
    for result in summary.tables:
        marked = marks(result)
        console.print(Text(result.title, style="bold"))
        table = Table("")
        for column in result.columns:
            table.add_column(Text(column), justify="right")
        for algorithm, cells in result.rows.items():
            # Assembled, so that the style ends with the number and leaves the padding alone.
            texts = (
                Text.assemble((cell.text(" ± "), styles[marked.get((algorithm, column))]))
                for column, cell in enumerate(cells)
            )
            table.add_row(Text(algorithm), *texts)
        console.print(table)
        for note in result.notes:
            console.print(Text(note, style="dim"))
    if len(summary.winners):
        title, (header, *rows) = _winner_texts(summary.winners)
        console.print(Text(title, style="bold"))
        table = Table()
        for name in header:
            table.add_column(Text(name))
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)


def write_markdown(summary: Summary, stream: TextIO) -> None:
    """Tables in GitHub's Markdown; the second best is marked with `<u>`."""
    around = {"best": "**{}**", "second": "<u>{}</u>", None: "{}"}
    parts = []
    for result in summary.tables:
        lines = _marked_lines(result, around, " ± ")
        parts.append(f"### {result.title}\n\n{_pipes(lines, right_from=1)}")
        if result.notes:
            parts.append("\n".join(f"- {note}" for note in result.notes) + "\n")
    if len(summary.winners):
        title, lines = _winner_texts(summary.winners)
        parts.append(f"### {title}\n\n{_pipes(lines, right_from=99)}")
    stream.write("\n".join(parts))


def write_latex(summary: Summary, stream: TextIO) -> None:
    r"""LaTeX tables; the preamble needs `\usepackage{booktabs}`."""
    around = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", None: "{}"}
    for result in summary.tables:
        lines = _marked_lines(result, around, r" $\pm$ ", _tex)
        stream.write(_tabular(lines, "l" + "c" * len(result.columns), result.title, result.notes))
    if len(summary.winners):
        title, texts = _winner_texts(summary.winners)
        lines = [[_tex(text) for text in line] for line in texts]
        stream.write(_tabular(lines, "l" * len(lines[0]), title, ()))


def write_csv(summary: Summary, stream: TextIO) -> None:
    """One line per cell; `held_out` of an average over domains is `Average`."""
    cells = (cell for result in summary.tables if result.dataset for cell in _cells(result))
    fields = ["method", "dataset", "model", "algorithm", "held_out"]
    writer = csv.DictWriter(
        stream, [*fields, "accuracy", "error", "seeds", "note"], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(cells)


def write_json(summary: Summary, stream: TextIO) -> None:
    """`{"results": [cell, ...], "winners": [row, ...]}`; what is missing is null."""
    cells = [cell for result in summary.tables if result.dataset for cell in _cells(result)]
    winners = summary.winners.astype(object).where(summary.winners.notna(), None)
    content = {"results": cells, "winners": winners.to_dict("records")}
    json.dump(content, stream, indent=2, ensure_ascii=False)
    stream.write("\n")


FORMATS: dict[str, Callable[[Summary, TextIO], None]] = {
    "table": write_table,
    "markdown": write_markdown,
    "latex": write_latex,
    "csv": write_csv,
    "json": write_json,
}


def marks(result: ResultTable) -> dict[tuple[str, int], Mark]:
    """(algorithm, column number) of the best and second best numbers of each column.

    Only complete cells compete, equal printed numbers share a mark, and a column with one
    number has none.
    """
    found: dict[tuple[str, int], Mark] = {}
    for column in range(len(result.columns)):
        printed = {
            algorithm: _printed(cells[column])
            for algorithm, cells in result.rows.items()
            if cells[column].complete
        }
        if len(printed) < 2:
            continue
        ranked = sorted(set(printed.values()), reverse=True)
        names: tuple[Mark, Mark] = ("best", "second")
        for algorithm, number in printed.items():
            for value, name in zip(ranked, names, strict=False):
                if number == value:
                    found[algorithm, column] = name
    return found


def _printed(cell: Cell) -> float:
    return float(f"{100 * (cell.mean or 0.0):.1f}")


def _cells(result: ResultTable) -> Iterable[dict[str, Any]]:
    for algorithm, cells in result.rows.items():
        for column, cell in zip(result.columns, cells, strict=True):
            yield {
                "method": result.method,
                "dataset": result.dataset,
                "model": result.model,
                "algorithm": algorithm,
                "held_out": column,
                "accuracy": cell.mean,
                "error": cell.error,
                "seeds": cell.seeds,
                "note": cell.note,
            }


def _marked_lines(
    result: ResultTable,
    around: dict[str | None, str],
    plus_minus: str,
    escape: Callable[[str], str] = str,
) -> list[list[str]]:
    """Header and rows as text, marked; only what came from outside is escaped."""
    marked = marks(result)
    lines = [["", *map(escape, result.columns)]]
    for algorithm, cells in result.rows.items():
        line = [escape(algorithm)]
        for column, cell in enumerate(cells):
            # Escaped first, because the sign between number and error may be markup itself.
            text = escape(cell.text(" ± ")).replace(" ± ", plus_minus)
            line.append(around[marked.get((algorithm, column))].format(text))
        lines.append(line)
    return lines


def _winner_texts(winners: pd.DataFrame) -> tuple[str, list[list[str]]]:
    """Title, and header and rows; what is the same for all winners is said once, in the title."""
    same = [name for name in winners if len(winners) > 1 and winners[name].nunique(False) == 1]
    same = [name for name in same if name not in ("seed", "number", "step", *_PERCENT)]
    told = ", ".join(
        f"{name} {_value(str(name), winners[name].iloc[0])}".removeprefix("method ")
        for name in same
        if name not in ("dataset", "model")
    )
    table = winners.drop(columns=same)
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    header = ["trial" if name == "number" else str(name) for name in table]
    texts = [[_value(str(name), value) for name, value in row.items()] for row in rows]
    return f"Winners ({told})" if told else "Winners", [header, *texts]


def _value(name: str, value: object) -> str:
    if value is None:
        return ""
    if name in _PERCENT:
        return f"{100 * float(str(value)):.1f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pipes(lines: list[list[str]], right_from: int) -> str:
    rule = ["---:" if column >= right_from else "---" for column in range(len(lines[0]))]
    escaped = [[text.replace("|", "\\|") for text in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in [escaped[0], rule, *escaped[1:]])


def _tabular(lines: list[list[str]], align: str, title: str, notes: Iterable[str]) -> str:
    header, *rows = [" & ".join(line) + r" \\" for line in lines]
    body = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(title)}}}",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        header,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {_tex(note)}" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(body) + "\n\n"


_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


def _tex(text: str) -> str:
    return text.translate(_TEX)
