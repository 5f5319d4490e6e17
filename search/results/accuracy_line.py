"""Accuracy on the line: how far validation accuracy tells held-out accuracy.

Miller et al., Accuracy on the Line (ICML 2021, arXiv 2107.04649), fit a line to the probits of the
two over many models. Salaudeen et al. (TMLR 2025, arXiv 2504.00186) conclude: a held-out domain
whose R is near 1 cannot show that a method withstands spurious correlations.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from search.results.comparison import ALL
from search.results.formats import Grid, Text
from search.results.scored_trials import alike, scored

FEWEST = 4  # settings; an interval of fewer would be that of all correlations
NORMAL = NormalDist()
WITHIN = NORMAL.inv_cdf(0.975)  # standard deviations in which 95 % lie
STRONG, WEAK = 0.8, 0.5
NARROW = 2.0  # standard errors of one accuracy

READINGS = {
    "on the line": f"on the line (the interval lies above {STRONG}): held-out accuracy follows "
    "validation accuracy, so a method that validates better is all that is needed here, and the "
    "domain can hardly tell which method is more robust",
    "rising": f"rising (above 0, and reaches {WEAK}): better validation goes with better held-out "
    "accuracy, but does not decide it",
    "weak": f"weak (below {WEAK}): validation says little about this domain; here methods can "
    "differ in what validation does not see, and selection by validation is partly luck",
    "inverse": "inverse (below 0): trials that validate better are worse on this domain, as where "
    "they rely on what does not hold there; selection by validation chooses badly",
    "cannot tell": "cannot tell: with so few settings R could be almost anything",
}
_NARROW = (
    f"narrow: the trials' validation accuracies spread less than {NARROW:g} times the chance error "
    "of one, which draws R towards 0; more varied settings or models would show more"
)


def points(
    trials: pd.DataFrame, evaluations: pd.DataFrame, scores: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The trials with the validation and held-out accuracy by which they are compared.

    scores: what `scored_trials.scored` made of them. Columns: those of `scored_trials.alike`, and
    the probits of both accuracies, x and y.
    """
    scores = scored(trials, evaluations) if scores is None else scores
    found = alike(trials, evaluations, scores)
    return found.assign(
        x=probit(found["validation"], found["validation_images"]),
        y=probit(found["accuracy"], found["images"]),
    )


def probit(accuracy: pd.Series, images: pd.Series) -> NDArray[np.float64]:
    """The quantile of the normal distribution at each accuracy.

    Accuracies of 0 and 1, where it is infinite, are moved inwards by half an image.
    """
    half = 0.5 / images.to_numpy(float)
    inside = np.clip(accuracy.to_numpy(float), half, 1 - half)
    return np.array([NORMAL.inv_cdf(one) for one in inside])


def lines(points: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """The line of each held-out domain, a row for each model and one for all where several are.

    points: see `points`. trials: those that they are of. Columns:
    dataset, model, held_out
    trials, asked: those that are compared, and all that there are
    settings: that these have; of each model the most that one of its algorithms has
    r, low, high: Pearson's correlation of the probits, and its 95 % interval (Fisher's z) for so
    many independent points as there are settings: trials of one setting in several seeds and
    algorithms lie close together
    slope, intercept: of the least-squares line, in probits
    spread: standard deviation of the validation accuracies, a fraction
    chance: standard error of one of them, by its number of images, a fraction
    clipped: trials with an accuracy of 0 or 1
    reading: a key of READINGS; empty without R
    narrow: whether the spread is less than twice the chance, which draws R towards 0
    why: why there is no R; empty with one
    """
    return pd.DataFrame(
        [
            {"dataset": dataset, "model": model, "held_out": held_out, **_line(rows, asked)}
            for dataset, model, held_out, rows, asked in _groups(points, trials)
        ],
        columns=[
            *("dataset", "model", "held_out", "trials", "asked", "settings", "r", "low", "high"),
            *("slope", "intercept", "spread", "chance", "clipped", "reading", "narrow", "why"),
        ],
    )


def grids(frame: pd.DataFrame) -> list[Grid]:
    """The table of `lines`, with what its words mean; none before the first trial."""
    if frame.empty:
        return []
    names = [name for name in ("dataset", "model") if frame[name].nunique() > 1]
    same = ", ".join(str(frame[n].iloc[0]) for n in ("dataset", "model") if n not in names)
    shown = frame.assign(narrow=_told_narrow(frame)).to_dict("records")
    rows = tuple(tuple(map(Text, _cells(row, names))) for row in shown)
    notes = [
        "R: correlation of the probits of validation and held-out accuracy over trials of all "
        "algorithms and seeds, with its 95 % interval, in which trials of one setting count once; "
        "slope: of the line through them; spread, in points: standard deviation of the validation "
        "accuracies; chance: standard error of one, by its number of images",
        *(text for reading, text in READINGS.items() if (frame["reading"] == reading).any()),
        *([_NARROW] if _told_narrow(frame).any() else []),
    ]
    if (frame["trials"] < frame["asked"]).any():
        notes.append(
            "trials that were not scored on the held-out domain are left out; if they were pruned, "
            "R among those that completed is lower than over all (training.evaluations: all "
            "scores every trial)"
        )
    if frame["clipped"].any():
        notes.append(
            f"{frame.loc[frame['model'] != ALL, 'clipped'].sum()} trials have an accuracy of 0 or "
            "1, whose probit is infinite: it was moved inwards by half an image"
        )
    header = (*names, "held out", "trials", "R", "95 %", "slope", "spread", "chance", "")
    title = f"Can these domains tell? Accuracy on the line{same and ', ' + same}"
    return [Grid(title, header, rows, notes=tuple(notes), left=len(names) + 1)]


def _told_narrow(frame: pd.DataFrame) -> pd.Series:
    return frame["narrow"] & (frame["reading"] != "") & (frame["reading"] != "on the line")


def _cells(row: dict[Any, Any], names: list[str]) -> list[str]:
    count = str(row["trials"])
    count += f" of {row['asked']}" if row["trials"] != row["asked"] else ""
    first = [*(str(row[name]) for name in names), str(row["held_out"]), count]
    if not row["reading"]:
        return [*first, "", "", "", *_percent(row["spread"], row["chance"]), row["why"]]
    reading = row["reading"] + ", narrow" * row["narrow"]
    interval = f"{row['low']:.2f} .. {row['high']:.2f}"
    numbers = [f"{row['r']:.2f}", interval, f"{row['slope']:.2f}"]
    return [*first, *numbers, *_percent(row["spread"], row["chance"]), reading]


def _percent(*values: float) -> list[str]:
    return ["" if np.isnan(value) else f"{100 * value:.1f}" for value in values]


def _groups(
    points: pd.DataFrame, trials: pd.DataFrame
) -> Iterator[tuple[str, str, str, pd.DataFrame, int]]:
    by = ["dataset", "held_out"]
    for (dataset, held_out), every in trials.groupby(by):
        here = points[(points["dataset"] == dataset) & (points["held_out"] == held_out)]
        names = (str(dataset), str(held_out))
        for model, own in every.groupby("model"):
            yield names[0], str(model), names[1], here[here["model"] == model], len(own)
        if every["model"].nunique() > 1:
            yield names[0], ALL, names[1], here, len(every)


def _line(rows: pd.DataFrame, asked: int) -> dict[str, Any]:
    validation, images = rows["validation"], rows["validation_images"]
    chance = float(np.sqrt((validation * (1 - validation) / images).mean()))
    found: dict[str, Any] = {
        "trials": len(rows),
        "asked": asked,
        "settings": _settings(rows),
        **dict.fromkeys(("r", "low", "high", "slope", "intercept"), np.nan),
        "spread": float(validation.std()),
        "chance": chance,
        "narrow": bool(validation.std() < NARROW * chance),
        "clipped": int((rows[["validation", "accuracy"]].isin([0, 1])).any(axis=1).sum()),
        "reading": "",
        "why": "",
    }
    x, y = rows["x"].to_numpy(), rows["y"].to_numpy()
    if found["settings"] < FEWEST:
        return found | {"why": f"too few settings: {found['settings']} of at least {FEWEST}"}
    for values, name in ((x, "validation"), (y, "held-out")):
        if np.ptp(values) < 1e-9:
            return found | {"why": f"all {name} accuracies are equal"}
    xx, xy, _, yy = np.cov(x, y, bias=True).flat
    r = float(np.clip(xy / np.sqrt(xx * yy), -1, 1))
    slope = xy / xx
    middle = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
    reach = WITHIN / np.sqrt(max(found["settings"] - 3, 1))
    found |= {
        "r": r,
        "low": float(np.tanh(middle - reach)),
        "high": float(np.tanh(middle + reach)),
        "slope": float(slope),
        "intercept": float(y.mean() - slope * x.mean()),
    }
    return found | {"reading": _reading(found["low"], found["high"])}


def _settings(rows: pd.DataFrame) -> int:
    settings = rows.filter(regex="^(model|algorithm|hp_.*)$").astype(object).drop_duplicates()
    of_each = settings.groupby(["model", "algorithm"], as_index=False).size()
    return int(of_each.groupby("model")["size"].max().sum())


def _reading(low: float, high: float) -> str:
    if low > STRONG:
        return "on the line"
    if high < WEAK:
        return "inverse" if high < 0 else "weak"
    return "rising" if low > 0 else "cannot tell"
