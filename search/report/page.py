"""The page: what each part of the report computes, put into the template."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2
from plotly.offline import get_plotlyjs

from search.errors import UserError
from search.report.answer import answers, ranked, settings
from search.report.cost import costs
from search.report.curves import curves
from search.report.failures import failures
from search.report.figure import Figure
from search.report.flatness import flatness
from search.report.front import front
from search.report.history import history
from search.report.importance import importance
from search.report.landscape import landscape
from search.report.method_tables import MOST_WINNERS, by_method
from search.report.parallel import parallel
from search.report.run import Run
from search.report.scores import scores
from search.report.validation_trust import trust, trust_figure
from search.results import comparison
from search.results.document import Grid
from search.results.provenance import about_origins, saw_held_out

HERE = Path(__file__).parent


def page(run: Run) -> str:
    """The report as one HTML document that needs nothing else."""
    methods, without = by_method(run)
    tables = methods[0].tables
    order = ranked(tables, run.algorithms)
    reached = scores(run.trials, run.evaluations)
    trusted = trust(run, reached)
    lost, more_lost = failures(run.trials)
    whole, by_algorithm, by_study = costs(run)
    figures: dict[str, Figure | str | None] = {
        "curves": curves(run, order),
        "landscape": landscape(run, reached),
        "parallel": parallel(run, reached),
        "importance": importance(run),
        "history": history(run, order),
        "front": front(run),
        "trust": trust_figure(run, reached, trusted),
        "flatness": flatness(run, reached),
    }
    return _template().render(
        run=run,
        ended=len(run.trials),
        main_method=run.method,
        saw_held_out=saw_held_out(run.sweep),
        answers=answers(tables, run.main),
        settings=settings(run.chosen, run.trials),
        methods=methods,
        without=without,
        most_winners=MOST_WINNERS,
        compared=_compared(run),
        figures=figures,
        trust=trusted,
        failures=lost,
        more_failures=more_lost,
        cost=whole,
        cost_by_algorithm=by_algorithm,
        cost_by_study=by_study,
        style=(HERE / "style.css").read_text(),
        script=(HERE / "figures.js").read_text(),
        plotly=get_plotlyjs(),
    )


def _compared(run: Run) -> tuple[Grid, ...] | str:
    """Paired differences and ranks, or why there are none."""
    try:
        notes = about_origins(run.name, run.sweep, run.trials)
        return comparison.document(run.main, None, run.method, notes).grids
    except UserError as error:
        return str(error)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,  # names and reasons come from outside
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda fraction: f"{100 * fraction:.1f}"
    return environment.from_string((HERE / "page.html.j2").read_text())
