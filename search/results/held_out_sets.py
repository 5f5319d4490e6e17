"""The domains of sets that are held out together: the accuracy on each, beside that of the set."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from datasets.domain_dataset import members
from search.results.formats import Grid, texts

_TABLE = ["method", "dataset", "model"]
_ROW = ["algorithm", "held_out"]
COLUMNS = [*_TABLE, *_ROW, "domain", "accuracy", "error", "seeds"]

NOTE = (
    "a set of domains that were held out together has the mean of their accuracies, and counts "
    "once in the average"
)


def is_set(held_out: object) -> bool:
    """Whether a name in the column `held_out` is of several domains."""
    return len(members(str(held_out))) > 1


def overlap(names: Iterable[object]) -> bool:
    """Whether a domain is in two of these sets."""
    domains = [domain for name in set(map(str, names)) for domain in members(name)]
    return len(set(domains)) < len(domains)


def by_domain(selection: pd.DataFrame) -> pd.DataFrame:
    """The winners' accuracy on each domain of every set, in the in split, a mean over seeds.

    Columns: method, dataset, model, algorithm, held_out, domain, accuracy, error (population std /
    sqrt(seeds), fractions) and seeds, how many have a winner. Without sets it has no rows.
    """
    if "accuracies" not in selection:  # of an earlier commit, which had no sets
        return pd.DataFrame(columns=COLUMNS)
    found = selection[selection["accuracies"].notna()]
    rows = []
    for key, group in found.groupby([*_TABLE, *_ROW], sort=False):
        seeds = np.array([list(values) for values in group["accuracies"]])  # [seeds, domains]
        error = seeds.std(axis=0) / np.sqrt(len(seeds)) if len(seeds) > 1 else [None] * len(seeds.T)
        for place, domain in enumerate(members(str(key[-1]))):
            mean = float(seeds[:, place].mean())
            rows.append([*map(str, key), domain, mean, error[place], len(seeds)])
    return pd.DataFrame(rows, columns=COLUMNS)


def grids(frame: pd.DataFrame) -> list[Grid]:
    """A table for each method, dataset and model: sets stand down, their domains across."""
    found = []
    for (method, dataset, model), rows in frame.groupby(_TABLE, sort=False):
        domains = list(dict.fromkeys(rows["domain"]))
        lines = []
        for key, group in rows.groupby(_ROW, sort=False):
            cells = {
                domain: _cell(mean, error)
                for domain, mean, error in group[["domain", "accuracy", "error"]].itertuples(
                    index=False
                )
            }
            lines.append(texts([*key, *(cells.get(domain) for domain in domains)]))
        title = f"{dataset}, {model}, {method} selection: domains of each set"
        found.append(Grid(title, ("", "held out", *domains), tuple(lines), left=2))
    return found


def _cell(mean: float, error: float | None) -> str:
    return f"{100 * mean:.1f}" + ("" if pd.isna(error) else f" ± {100 * error:.1f}")
