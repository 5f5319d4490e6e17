"""The result tables of every selection method, as `python -m search results` prints them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from search.report.reported_run import ReportedRun
from search.results.formats import Grid
from search.results.notes import about_ending, about_pruning, about_published, about_search
from search.results.selection import over_seeds_of, rule_of
from search.results.selection_rules import RULES
from search.results.summaries import AVERAGE, ResultTable, summarize
from search.results.summary_document import document, shown_tables
from search.results.winners import about_winners

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
    sweeps = {run.loaded.sweep_name: run.loaded.sweep}
    own = run.selection[run.selection["method"] == method]
    summary = summarize(own, over_seeds=over_seeds_of(sweeps))
    notes = about_search(run.loaded, run.trials)
    notes += about_published(run.loaded, run.loaded.study_columns, run.trials)
    notes += about_pruning(run.loaded, run.loaded.study_columns, run.evaluations)
    notes += about_ending(run.loaded, run.loaded.study_columns, run.trials)
    noted = [
        replace(table, notes=(*table.notes, *about_winners(table, run.selection, sweeps), *notes))
        for table in summary.tables
    ]
    # That of all datasets first.
    tables = sorted(noted, key=lambda table: table.columns[-1].dataset != AVERAGE)
    summary = replace(summary, tables=tuple(tables))
    grids = document(summary).grids
    count = len(shown_tables(summary))
    oracle = RULES[rule_of(method)[0]].oracle
    return MethodTables(method, oracle, summary.tables, grids[:count], grids[count:])
