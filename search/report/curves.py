"""How accuracy rose: over the steps of the selected trials, and over the trials of the search."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from search.report.figure import (
    Figure,
    Legend,
    Style,
    apply_theme,
    by_dataset,
    label,
    panels,
    styles_of,
)
from search.report.reported_run import ReportedRun
from search.results.scored_trials import one_per_split

SHOWN_AT_ONCE = 6
MOST_ALGORITHMS = 12
MOST_SEEDS = 3
HISTORY_COLUMNS = 2


def curves(run: ReportedRun, ranked: Sequence[str]) -> Figure | None:
    """The curves of the winners of the studies; None if there are none.

    ranked: the algorithms, best first. The first are shown, some more at a click, the rest never.
    """
    chosen = run.winners
    seeds = list(dict.fromkeys(chosen["seed"]))
    kept = [name for name in ranked if name in set(chosen["algorithm"])][:MOST_ALGORITHMS]
    shown = chosen[chosen["algorithm"].isin(kept) & chosen["seed"].isin(seeds[:MOST_SEEDS])]
    if shown.empty:
        return None
    rows = run.evaluations[run.evaluations["trial"].isin(shown["trial"])]
    styles = styles_of(run.algorithms)
    left_out = []
    if len(ranked) > len(kept) >= MOST_ALGORITHMS:
        left_out.append(f"the {len(ranked) - len(kept)} algorithms of the lowest accuracy")
    if len(seeds) > MOST_SEEDS:
        left_out.append(f"{len(seeds) - MOST_SEEDS} of {len(seeds)} seeds")
    return Figure(
        "curves",
        "Accuracy over the steps",
        "The selected trial of each study, a line per algorithm and seed. Left: the mean accuracy "
        "on the out splits of the source domains, by which the step was selected. Right: the "
        "accuracy on the held-out domain's in split, at the steps where it was measured. A star is "
        "the selected step. One click on a name shows or hides it; two show it alone.",
        by_dataset(shown, lambda group: _drawing(group, rows, kept, styles)),
        f"Not drawn: {' and '.join(left_out)}." if left_out else "",
    )


def _drawing(
    chosen: pd.DataFrame, evaluations: pd.DataFrame, ranked: Sequence[str], styles: dict[str, Style]
) -> go.Figure:
    domains = list(dict.fromkeys(chosen["held_out"]))
    titles = [
        title
        for domain in domains
        for title in (f"{domain} held out: validation", f"{domain}: held-out accuracy")
    ]
    figure, _ = panels(titles, 240, 2, shared_xaxes="all")  # right, few steps are measured
    legend = Legend()
    rows = evaluations[evaluations["trial"].isin(chosen["trial"])]
    out = rows[(rows["role"] == "source") & (rows["split"] == "out")]
    held_out = rows[(rows["role"] == "held_out") & (rows["split"] == "in")]
    validation = _by_step(out)
    accuracy = _by_step(held_out)
    for algorithm in ranked:
        style = styles[algorithm]
        for row, domain in enumerate(domains, start=1):
            group = chosen[(chosen["algorithm"] == algorithm) & (chosen["held_out"] == domain)]
            if group.empty:
                continue
            for column, scores in enumerate((validation, accuracy), start=1):
                common = {
                    "visible": True if ranked.index(algorithm) < SHOWN_AT_ONCE else "legendonly",
                    "hovertemplate": "%{text}<br>step %{x}: %{y:.1%}<extra></extra>",
                    "row": row,
                    "col": column,
                }
                line, star = _points(group, scores, algorithm)
                figure.add_scatter(
                    **line,
                    **common,
                    **legend.of(algorithm),
                    mode="lines+markers",
                    line=style.line(1.8),
                    marker=style.marker(5),
                )
                figure.add_scatter(
                    **star,
                    **common,
                    **legend.of(algorithm, shown=False),
                    mode="markers",
                    marker=style.marker(13, star=True),
                )
    figure.update_yaxes(tickformat=".0%")
    figure.update_xaxes(showticklabels=True)
    figure.update_xaxes(title_text="step", row=len(domains))
    return apply_theme(figure, int(figure.layout.height))


def _by_step(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Trial -> mean accuracy over the domains of these rows, by step."""
    rows = one_per_split(rows)
    keys = [rows["trial"].astype(object), rows["step"]]
    means = rows.groupby(keys, sort=True)["accuracy"].mean()
    return {str(trial): scores.droplevel(0) for trial, scores in means.groupby(level=0)}


def _points(
    group: pd.DataFrame, scores: dict[str, pd.Series], algorithm: str
) -> tuple[dict[str, list[object]], dict[str, list[object]]]:
    """The lines of all seeds, a gap between them, and their selected steps."""
    line: dict[str, list[object]] = {"x": [], "y": [], "text": []}
    star: dict[str, list[object]] = {"x": [], "y": [], "text": []}
    for trial, number, seed, step in group[["trial", "number", "seed", "step"]].itertuples(
        index=False
    ):
        text = label(f"{algorithm}, seed {seed}, trial {number}")
        series = scores.get(str(trial), pd.Series(dtype=float))
        line["x"] += [*series.index, None]
        line["y"] += [*(round(value, 5) for value in series), None]
        line["text"] += [text] * (len(series) + 1)
        if step in series.index:
            star["x"].append(int(step))
            star["y"].append(round(float(series[step]), 5))
            star["text"].append(f"{text}, selected")
    return line, star


def history(run: ReportedRun, ranked: Sequence[str]) -> Figure | None:
    """The best objective after each number of trials, a panel per dataset; None without any.

    ranked: the algorithms, best first; those after the first 12 are shown at a click.
    """
    ended = run.trials[run.trials["objective"].notna()]
    if ended.empty:
        return None
    styles = styles_of(run.algorithms)
    datasets = [name for name in run.datasets if name in set(ended["dataset"])]
    figure, places = panels(datasets, 320, HISTORY_COLUMNS)
    legend = Legend()
    for dataset, place in zip(datasets, places, strict=True):
        ends: list[float] = []
        for algorithm in ranked:
            rows = ended[(ended["dataset"] == dataset) & (ended["algorithm"] == algorithm)]
            if rows.empty:
                continue
            best = _mean_best(rows)
            ends.append(best.iloc[-1])
            style = styles[algorithm]
            figure.add_scatter(
                x=list(range(1, len(best) + 1)),
                y=best.round(5).tolist(),
                mode="lines+markers",
                line=style.line(1.8, shape="hv"),
                marker=style.marker(6),
                **legend.of(algorithm),
                visible=True if ranked.index(algorithm) < MOST_ALGORITHMS else "legendonly",
                hovertemplate=f"{label(algorithm)}<br>%{{x}} trials: %{{y:.1%}}<extra></extra>",
                **place,
            )
        room = max(max(ends) - min(ends), 0.01)
        figure.update_yaxes(range=[min(ends) - 0.5 * room, max(ends) + 0.15 * room], **place)
    figure.update_xaxes(title_text="trials of a study", rangemode="tozero")
    figure.update_yaxes(tickformat=".1%")
    return Figure(
        "history",
        "History of the search",
        f"The best value of the objective ({run.sweep.search.objectives[0]}) after each number "
        "of trials: the mean over the studies of an algorithm (held-out domains and seeds), up to "
        "the number that all studies that have begun have reached. The axis begins below the "
        "lowest end of a line. A line that still rises at its end would gain from more trials.",
        {"": figure},
    )


def _mean_best(rows: pd.DataFrame) -> pd.Series:
    """By number of trials, from 1 to what all studies have reached."""
    last = int(rows.groupby("study")["number"].max().min())
    table = rows.pivot_table(index="number", columns="study", values="objective")
    # A trial that runs or failed leaves the best as it was.
    return table.reindex(range(last + 1)).cummax().ffill().mean(axis=1)
