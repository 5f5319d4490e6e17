"""How the search went: the best value found so far."""

from __future__ import annotations

import pandas as pd

from search.report.figure import Figure, label, looks, panels, place
from search.report.run import Run
from search.results.run_objectives import objectives

COLUMNS = 2


def history(run: Run, ranked: list[str]) -> Figure | None:
    """The best objective after each number of trials, a panel per dataset; None without any.

    `ranked`: the algorithms, best first; those behind the first 12 are shown at a click.
    """
    ended = run.trials[run.trials["objective"].notna()]
    if ended.empty:
        return None
    looks_ = looks(run.algorithms)
    datasets = [name for name in run.datasets if name in set(ended["dataset"])]
    columns = min(COLUMNS, len(datasets))
    figure = panels(datasets, columns, 320)
    named: set[str] = set()
    for panel, dataset in enumerate(datasets):
        ends: list[float] = []
        for algorithm in ranked:
            rows = ended[(ended["dataset"] == dataset) & (ended["algorithm"] == algorithm)]
            if rows.empty:
                continue
            best = _mean_best(rows)
            ends.append(best.iloc[-1])
            look = looks_[algorithm]
            figure.add_scatter(
                x=list(range(1, len(best) + 1)),
                y=best.round(5).tolist(),
                mode="lines+markers",
                line={"color": look.colour, "dash": look.dash, "shape": "hv", "width": 1.8},
                marker={"symbol": look.symbol, "size": 6, "color": look.colour},
                name=label(algorithm),
                legendgroup=algorithm,
                visible=True if ranked.index(algorithm) < 12 else "legendonly",
                showlegend=algorithm not in named,
                hovertemplate=f"{label(algorithm)}<br>%{{x}} trials: %{{y:.1%}}<extra></extra>",
                **place(panel, columns),
            )
            named.add(algorithm)
        figure.update_yaxes(range=_range(ends), **place(panel, columns))
    figure.update_xaxes(title_text="trials of a study", rangemode="tozero")
    figure.update_yaxes(tickformat=".1%")
    return Figure(
        "history",
        "History of the search",
        f"The best value of the objective ({objectives(run.sweep['search'])[0]}) after each number "
        "of trials, mean over the studies of an algorithm (held-out domains and seeds), as far as "
        "all that have begun have come. The axis begins below the lowest end of a "
        "line; one that still rises there asks for more trials.",
        {"": figure},
    )


def _range(ends: list[float]) -> list[float]:
    room = max(max(ends) - min(ends), 0.01)
    return [min(ends) - 0.5 * room, max(ends) + 0.15 * room]


def _mean_best(rows: pd.DataFrame) -> pd.Series:
    """By number of trials, from 1 to what all studies have reached."""
    last = int(rows.groupby("study", observed=True)["number"].max().min())
    table = rows.pivot_table(index="number", columns="study", values="objective", observed=True)
    # A trial that runs or failed leaves the best as it was.
    return table.reindex(range(last + 1)).cummax().ffill().mean(axis=1)
