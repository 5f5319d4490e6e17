"""The page: what each part of the report computes, put into the template and written."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2
from plotly.offline import get_plotlyjs

from search import results
from search.errors import SteppeError
from search.report.against_accuracy import flatness_figure, validation_figure, validation_quality
from search.report.answer import answer, ranked, settings
from search.report.curves import curves, history
from search.report.figure import Figure
from search.report.front import front
from search.report.importance import importance
from search.report.landscape import landscape
from search.report.method_tables import MOST_WINNERS, by_method
from search.report.outcomes import failures, trial_hours
from search.report.parallel import parallel
from search.report.reported_run import ReportedRun, read
from search.report.wise_ft import wise_ft_curve
from search.results import accuracy_line, behind_numbers, combined, comparison_document, wise_ft
from search.results.formats import Grid
from search.results.summary_document import document
from search.run.run_folder import RunFolder

HERE = Path(__file__).parent
REPORT = "report.html"


def page(run: ReportedRun) -> str:
    """The report as one HTML document that needs nothing else."""
    methods, without = by_method(run)
    tables = methods[0].tables
    order = ranked(tables, run.algorithms)
    quality = validation_quality(run)
    lost, more_lost = failures(run.trials)
    whole, by_algorithm, by_study = trial_hours(run)
    figures: dict[str, Figure | str | None] = {
        "curves": curves(run, order),
        "landscape": landscape(run),
        "parallel": parallel(run),
        "importance": importance(run),
        "history": history(run, order),
        "front": front(run),
        "validation": validation_figure(run),
        "flatness": flatness_figure(run),
        "wise_ft": wise_ft_curve(run),
    }
    return _template().render(
        run=run,
        ended=len(run.trials),
        main_method=run.method,
        shaped=run.loaded.shaped,
        answers=[answer(table, run.main) for table in tables],
        settings=settings(run.winners, run.trials),
        methods=methods,
        without=without,
        most_winners=MOST_WINNERS,
        behind=behind_numbers.grid(results.behind(run)),
        compared=_compared(run),
        combined=_combined(run),
        figures=figures,
        validation_quality=quality,
        lines=accuracy_line.grids(run.lines),
        failures=lost,
        more_failures=more_lost,
        cost=whole,
        cost_by_algorithm=by_algorithm,
        cost_by_study=by_study,
        style=(HERE / "style.css").read_text(),
        script=(HERE / "figures.js").read_text(),
        plotly=get_plotlyjs(),
    )


def _compared(run: ReportedRun) -> tuple[Grid, ...] | str:
    """Paired differences and ranks, or why there are none."""
    try:
        notes = results.about_runs(run, run.datasets)
        return comparison_document.document(run.main, None, run.method, notes).grids
    except SteppeError as error:
        return str(error)


def _combined(run: ReportedRun) -> tuple[Grid, ...]:
    """Tables of soups and ensembles, and their differences to single networks; empty without."""
    if run.combinations.empty:
        return ()
    grids = document(combined.summary(run.combinations, run.method, "held-out")).grids
    differences, _ = combined.compared(run.main, run.combinations, run.method)
    return (*grids, *wise_ft.grids(run.combinations), *differences)


def write(run: str, output: Path | None = None) -> str:
    """Writes the report of a run into its folder, or to `output`; returns where it is.

    Raises SteppeError for a run that does not exist or is damaged, and if nothing can be written
    there.
    """
    html = page(read(run)).encode()
    folder = RunFolder(run)
    try:
        if output is None:
            folder.without_retries().write_bytes(REPORT, html)
            return folder.path(REPORT) if folder.local else _inside(folder.uri)
        output.write_bytes(html)
    except OSError as error:
        place = output or folder.uri
        raise SteppeError(
            f"cannot write the report to {place}: {error}; give another place with --output"
        ) from error
    return str(output)


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


def _inside(uri: str) -> str:
    place, question, query = uri.partition("?")
    return f"{place.rstrip('/')}/{REPORT}{question}{query}"
