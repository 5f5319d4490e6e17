"""The figure of WiSE-FT's curve: accuracy on the way from zero-shot to the trained weights."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from search.report.figure import Figure, Legend, by_dataset, label, panels, styles_of
from search.report.reported_run import ReportedRun
from search.results.wise_ft import curves


def wise_ft_curve(run: ReportedRun) -> Figure | None:
    """Validation and held-out accuracy over alpha, a panel per held-out domain; None without."""
    rows = curves(run.combinations)
    if rows.empty:
        return None
    return Figure(
        "wise-ft",
        "From zero-shot to the trained weights",
        "WiSE-FT: alpha 0 is zero-shot, alpha 1 the trained network, and between them lie their "
        "weighted means. Thin lines are validation on the source domains, which chose alpha; thick "
        "lines are the held-out domain, which chose nothing. Means over seeds; a star is the "
        "held-out accuracy at the alpha that validation chose in a study.",
        by_dataset(rows, _drawing),
    )


def _drawing(rows: pd.DataFrame) -> go.Figure:
    domains, labels = list(dict.fromkeys(rows["held_out"])), list(dict.fromkeys(rows["label"]))
    styles = styles_of(labels)
    figure, places = panels([f"{domain} held out" for domain in domains], 300)
    legend = Legend()
    for domain, place in zip(domains, places, strict=True):
        here = rows[rows["held_out"] == domain]
        for name, own in here.groupby("label", sort=False):
            style = styles[str(name)]
            means = own.groupby("alpha")[["validation", "accuracy"]].mean()
            for column, width, what in (
                ("validation", 1, "validation"),
                ("accuracy", 3, "held-out"),
            ):
                figure.add_scatter(
                    x=means.index.tolist(),
                    y=means[column].round(5).tolist(),
                    mode="lines",
                    line=style.line(width),
                    **legend.of(str(name), shown=column == "accuracy"),
                    text=[label(f"{name}, {what}")] * len(means),
                    hovertemplate="%{text}<br>alpha %{x}: %{y:.1%}<extra></extra>",
                    **place,
                )
            chosen = own[own["chosen"]]
            figure.add_scatter(
                x=chosen["alpha"].tolist(),
                y=chosen["accuracy"].round(5).tolist(),
                mode="markers",
                marker=style.marker(12, star=True),
                **legend.of(str(name), shown=False),
                text=[label(f"{name}, seed {seed}") for seed in chosen["seed"]],
                hovertemplate="%{text}<br>alpha %{x}: %{y:.1%}<extra></extra>",
                **place,
            )
    figure.update_xaxes(title_text="alpha")
    figure.update_yaxes(tickformat=".0%")
    figure.update_yaxes(title_text="accuracy", col=1)
    figure.update_layout(showlegend=True)
    return figure
