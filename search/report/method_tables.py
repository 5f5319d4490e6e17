"""The result tables of every selection method, as `python -m search results` prints them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from search.report.reported_run import ReportedRun
from search.results import summary_of
from search.results.formats import Grid
from search.results.selection import rule_of
from search.results.selection_rules import RULES
from search.results.summaries import AVERAGE, ResultTable
from search.results.summary_document import document, shown_tables

MOST_WINNERS = 1000


@dataclass(frozen=True)
class MethodTables:
    """The tables of one selection method, and the same as text; `winners` is empty without any.

    `oracle`: it looks at the held-out domain, and is an upper bound.
    """

    method: str
    oracle: bool
    tables: tuple[ResultTable, ...]
    grids: tuple[Grid, ...]
    winners: tuple[Grid, ...]

    @property
    def hidden(self) -> int:
        """Winners that the page does not show."""
        return sum(max(len(grid.rows) - MOST_WINNERS, 0) for grid in self.winners)


def by_method(run: ReportedRun) -> tuple[list[MethodTables], list[str]]:
    """The tables of the main method and of those that found a winner, the main one first.

    Then the names of the other methods.
    """
    names = [str(name) for name in dict.fromkeys(run.selection["method"])]
    found = set(run.selection.loc[run.selection["accuracy"].notna(), "method"])
    shown = [run.method, *(name for name in names if name in found and name != run.method)]
    return [_tables(run, name) for name in shown], [name for name in names if name not in shown]


def _tables(run: ReportedRun, method: str) -> MethodTables:
    summary = summary_of(run, run.selection[run.selection["method"] == method])
    # That of all datasets first.
    tables = sorted(summary.tables, key=lambda table: table.columns[-1].dataset != AVERAGE)
    summary = replace(summary, tables=tuple(tables))
    grids = document(summary).grids
    count = len(shown_tables(summary))
    oracle = RULES[rule_of(method)[0]].oracle
    return MethodTables(method, oracle, summary.tables, grids[:count], grids[count:])
