"""Accuracy over the steps of the selected trials, for each held-out domain."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from search.report.figure import INK, STAR, Figure, Look, dress, label, looks, panels
from search.report.run import Run
from search.report.scores import spoken

SHOWN_AT_ONCE = 6
MOST_ALGORITHMS = 12
MOST_SEEDS = 3


def curves(run: Run, ranked: Sequence[str]) -> Figure | None:
    """The curves of the winners of each study; None if there are none.

    `ranked`: the algorithms, best first. The first are shown, some more at a click, and no more.
    """
    chosen = run.chosen
    seeds = list(dict.fromkeys(chosen["seed"]))
    kept = [name for name in ranked if name in set(chosen["algorithm"])][:MOST_ALGORITHMS]
    shown = chosen[chosen["algorithm"].isin(kept) & chosen["seed"].isin(seeds[:MOST_SEEDS])]
    if shown.empty:
        return None
    rows = run.evaluations[run.evaluations["trial"].isin(shown["trial"])]
    looks_ = looks(run.algorithms)
    left_out = []
    if len(ranked) > len(kept) >= MOST_ALGORITHMS:
        left_out.append(f"the {len(ranked) - len(kept)} algorithms of the lowest accuracy")
    if len(seeds) > MOST_SEEDS:
        left_out.append(f"{len(seeds) - MOST_SEEDS} of {len(seeds)} seeds")
    return Figure(
        "curves",
        "Accuracy over the steps",
        "The selected trial of each study: a line per algorithm and seed. Left the mean over the "
        "out splits of the source domains, which selects; right the held-out domain's in split, "
        "which does not, at the steps where it was measured. A star is the selected step. "
        "A click on a name shows or hides it, two show it alone.",
        {
            label(dataset): _drawing(group, rows, kept, looks_)
            for dataset, group in shown.groupby("dataset", sort=False, observed=True)
        },
        f"Not drawn: {' and '.join(left_out)}." if left_out else "",
    )


def _drawing(
    chosen: pd.DataFrame, evaluations: pd.DataFrame, ranked: Sequence[str], looks_: dict[str, Look]
) -> go.Figure:
    domains = list(dict.fromkeys(chosen["held_out"]))
    titles = [
        title
        for domain in domains
        for title in (f"{domain} held out: validation", f"{domain}: held-out accuracy")
    ]
    figure = panels(titles, 2, 240, shared_xaxes="all")  # right, few steps are measured
    named: set[str] = set()
    rows = evaluations[evaluations["trial"].isin(chosen["trial"])]
    out = rows[(rows["role"] == "source") & (rows["split"] == "out")]
    held_out = rows[(rows["role"] == "held_out") & (rows["split"] == "in")]
    validation = _by_step(out)
    accuracy = _by_step(held_out)
    for algorithm in ranked:
        look = looks_[algorithm]
        for row, domain in enumerate(domains, start=1):
            group = chosen[(chosen["algorithm"] == algorithm) & (chosen["held_out"] == domain)]
            if group.empty:
                continue
            for column, scores in enumerate((validation, accuracy), start=1):
                visible = True if ranked.index(algorithm) < SHOWN_AT_ONCE else "legendonly"
                common = {
                    "name": label(algorithm),
                    "legendgroup": algorithm,
                    "visible": visible,
                    "hovertemplate": "%{text}<br>step %{x}: %{y:.1%}<extra></extra>",
                }
                line, star = _points(group, scores, algorithm)
                figure.add_scatter(
                    **line,
                    **common,
                    mode="lines+markers",
                    line={"color": look.colour, "dash": look.dash, "width": 1.8},
                    marker={"symbol": look.symbol, "size": 5, "color": look.colour},
                    showlegend=algorithm not in named,
                    row=row,
                    col=column,
                )
                figure.add_scatter(
                    **star,
                    **common,
                    mode="markers",
                    marker={
                        "symbol": STAR,
                        "size": 13,
                        "color": look.colour,
                        "line": {"color": INK, "width": 1},
                    },
                    showlegend=False,
                    row=row,
                    col=column,
                )
                named.add(algorithm)
    figure.update_yaxes(tickformat=".0%")
    figure.update_xaxes(showticklabels=True)
    figure.update_xaxes(title_text="step", row=len(domains))
    return dress(figure, int(figure.layout.height))


def _by_step(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Trial -> mean accuracy over the domains of these rows, by step."""
    rows = spoken(rows)
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
