"""WiSE-FT's curve over alpha, from zero-shot to the trained weights, as a table and a frame."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from search.results.formats import Grid, texts
from search.space.ranges import show_number

NOTES = (
    "alpha 0 is zero-shot, 1 the trained network; means over held-out domains and seeds, percent",
    "validation on the source domains chose an alpha in each study; held-out accuracies, in split, "
    "are shown and chose nothing: the highest of them is no result",
)


def curves(combinations: pd.DataFrame) -> pd.DataFrame:
    """A row per study and alpha; fractions.

    Columns: sweep, study, dataset, model, algorithm, held_out, seed, label, alpha, validation,
    accuracy, accuracy_all, chosen (whether validation chose this alpha).
    """
    names = ["sweep", "study", "dataset", "model", "algorithm", "held_out", "seed", "label"]
    rows = [
        {**{name: row[name] for name in names}, **point, "chosen": point["alpha"] == row["alpha"]}
        for row in combinations.to_dict("records")
        if isinstance(row["curve"], tuple)
        for point in row["curve"]
    ]
    numbers = ["alpha", "validation", "accuracy", "accuracy_all", "chosen"]
    return pd.DataFrame(rows, columns=[*names, *numbers])


def grids(combinations: pd.DataFrame) -> list[Grid]:
    """A table per dataset and model, alphas across; none without WiSE-FT."""
    found = []
    for (dataset, model), rows in curves(combinations).groupby(["dataset", "model"], sort=False):
        alphas = sorted(set(rows["alpha"]))
        lines = [line for label, own in rows.groupby("label", sort=False) for line in _lines(own)]
        header = ("", *(f"alpha {show_number(alpha)}" for alpha in alphas))
        title = f"WiSE-FT from zero-shot to trained, {dataset}, {model}"
        found.append(Grid(title, header, tuple(texts(line) for line in lines), notes=NOTES))
    return found


def _lines(rows: pd.DataFrame) -> Iterator[list[str]]:
    label, by_alpha = str(rows["label"].iloc[0]), rows.groupby("alpha")
    for what, column in (("validation", "validation"), ("held-out, chose nothing", "accuracy")):
        yield [f"{label}: {what}", *(f"{100 * mean:.1f}" for mean in by_alpha[column].mean())]
    counts = by_alpha["chosen"].sum()
    yield [f"{label}: number of studies that chose it", *(str(int(n)) if n else "" for n in counts)]
