"""Rows of combined networks: tables of their own, with what they cost, and their differences.

A combination stands beside the trial that validation chose, never among the single networks: it
takes all of their training, and an ensemble all of them at test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from search.errors import SteppeError
from search.results import comparison
from search.results.comparison_document import differences
from search.results.formats import Grid
from search.results.held_out_sets import by_domain
from search.results.loading import LoadedRun
from search.results.notes import span
from search.results.summaries import ResultTable, Summary, by_dataset, domain_table
from search.run.combinations import read_combinations
from search.run.run_folder import WEIGHTS, RunFolder
from search.space.ranges import show_number
from search.sweep.search_keys import WISE_FT

KINDS = {
    "uniform": "uniform soup",
    "greedy": "greedy soup",
    "ensemble": "ensemble",
    WISE_FT: "WiSE-FT",
}
HIGH = 0.05  # a barrier above this is told in a note


def combinations_of(folders: Iterable[RunFolder], runs: Iterable[LoadedRun]) -> pd.DataFrame:
    """The combinations of runs with the names that these have in tables, and labels.

    The column `label` is what a row of results is called: `SAGM, greedy soup of 7`. `outdated`: a
    network is kept that was no candidate yet. A study that is not combined yet has a row that says
    so.
    """
    parts = [_named(_judged(f), run) for f, run in zip(folders, runs, strict=True)]
    return pd.concat(parts, ignore_index=True)


def _judged(folder: RunFolder) -> pd.DataFrame:
    frame = read_combinations(folder)
    files = folder.list(WEIGHTS) if len(frame) else []
    kept: dict[str, set[str]] = {}  # by study
    for trial in (f.removesuffix(".safetensors") for f in files if f.endswith(".safetensors")):
        kept.setdefault(trial.rpartition(".")[0], set()).add(trial)
    outdated = [
        bool(pd.isna(top))  # else networks that are no candidates are as they should be
        and any(kept.get(t.rpartition(".")[0], set()) - set(trials) for t in trials)
        for trials, top in zip(frame["candidates"], frame["top"], strict=True)
    ]
    return frame.assign(outdated=pd.Series(outdated, dtype=object))


def _named(frame: pd.DataFrame, run: LoadedRun) -> pd.DataFrame:
    if frame.empty:
        return frame.assign(label=[])
    names = {name: run.algorithm_names.get(name, name) for name in run.sweep.algorithms}
    algorithms = [
        "/".join(names.get(part, part) for part in str(joined).split("/"))
        for joined in frame["algorithm"]
    ]
    datasets = [run.dataset_names.get(name, name) for name in frame["dataset"]]
    named = frame.assign(sweep=run.sweep_name, algorithm=algorithms, dataset=datasets)
    labelled = _ordered(named, [*names.values()]).assign(label=_labels)
    parts = [_whole(group, run) for _, group in labelled.groupby("label", sort=False)]
    return pd.concat(parts, ignore_index=True)


def _whole(rows: pd.DataFrame, run: LoadedRun) -> pd.DataFrame:
    """The rows of a label, with one for each study of the run that was not combined yet."""
    first = rows.iloc[0]
    there = set(zip(rows["dataset"], rows["held_out"], rows["seed"], strict=True))
    datasets = set(rows["dataset"])
    studies = {(study["dataset"], study["held_out"], study["seed"]) for study in run.study_columns}
    if not there <= studies:
        raise SteppeError(
            f"the combinations of the run {run.name} are of studies that its sweep does not have, "
            f"such as {first['study']}; delete its combinations/ and run `combine` again"
        )
    asked = dict.fromkeys(
        (study["dataset"], study["held_out"], study["seed"])
        for study in run.study_columns
        if study["dataset"] in datasets
    )
    kept = ["sweep", "model", "algorithm", "method", "across", "label"]
    missing = [
        {
            **first[kept],
            **dict(zip(("dataset", "held_out", "seed"), key, strict=True)),
            "study": "",
            "members": (),
            "candidates": (),
            "curve": (),
            "reason": "not combined yet",
        }
        for key in asked
        if key not in there
    ]
    if not missing:
        return rows
    more = pd.DataFrame(missing).reindex(columns=rows.columns)
    order = {key: place for place, key in enumerate(asked)}
    found = pd.concat([rows.astype(object), more.astype(object)]).assign(
        place=lambda all_: [
            order[key] for key in zip(all_["dataset"], all_["held_out"], all_["seed"], strict=True)
        ]
    )
    whole = found.sort_values("place", kind="stable").drop(columns="place")
    return whole.astype(dict.fromkeys(("accuracy", "alpha", "barrier", "passes"), "float64"))


def _ordered(frame: pd.DataFrame, algorithms: Sequence[str]) -> pd.DataFrame:
    """By algorithm in the sweep's order, several of them last, and by method."""
    known = [*algorithms, *dict.fromkeys(frame["algorithm"])]
    keys = {
        "algorithm": [known.index(name) for name in frame["algorithm"]],
        "method": [[*KINDS].index(name) for name in frame["method"]],
        "across": [name == "seeds" for name in frame["across"]],
    }
    order = pd.DataFrame(keys, index=frame.index).sort_values([*keys], kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def _labels(frame: pd.DataFrame) -> list[str]:
    keys = [
        (dataset, model, algorithm, method, str(across), str(top))
        for dataset, model, algorithm, method, across, top in frame[
            ["dataset", "model", "algorithm", "method", "across", "top"]
        ].itertuples(index=False)
    ]
    sizes: dict[tuple[str, ...], list[int]] = {}
    for key, members in zip(keys, frame["members"], strict=True):
        sizes.setdefault(key, []).append(len(members))
    found = []
    for key, top, across in zip(keys, frame["top"], frame["across"], strict=True):
        some = [size for size in sizes[key] if size]
        label = f"{key[2]}, {KINDS[str(key[3])]}"
        label += f" of {span(some)}" if some and key[3] != WISE_FT else ""
        label += "" if pd.isna(top) else f" (best {top})"
        found.append(label + (" over seeds" if across == "seeds" else ""))
    return found


def summary(combinations: pd.DataFrame, method: str, by: str) -> Summary:
    """The tables of combined networks, as `summarize` makes those of single ones, without winners.

    method: the selection method whose rule ranked the candidates. by: held-out or dataset.
    """
    found: list[ResultTable] = []
    for model, of_model in combinations.groupby("model", sort=False):
        own = [
            _table(str(dataset), str(model), method, rows)
            for dataset, rows in of_model.groupby("dataset", sort=False)
        ]
        if by == "held-out":
            found += own
        if by == "dataset" or len(own) > 1:
            overall = by_dataset(own)
            title = f"By dataset, {model}, networks combined"
            found.append(replace(overall, title=title, beside=_costs(of_model)))
    plain = _as_selected(combinations if by == "held-out" else combinations[:0], method)
    return Summary(tuple(found), combinations[:0], by_domain(plain))


def _table(dataset: str, model: str, method: str, rows: pd.DataFrame) -> ResultTable:
    plain = _as_selected(rows, method)
    made = domain_table(dataset, model, method, plain, notes=())
    title = f"{dataset}, {model}, networks combined"
    return replace(made, title=title, notes=notes(rows, method), beside=_costs(rows))


def _as_selected(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """The columns of a selection, with labels in the place of algorithms."""
    columns = ["dataset", "model", "held_out", "seed", "accuracy", "accuracies", "reason"]
    return rows[columns].assign(algorithm=rows["label"], method=method)


def _costs(rows: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Per label: mean passes of a study's candidates, networks at test, and largest barrier."""
    found: dict[str, tuple[str, ...]] = {}
    for label, group in rows.groupby("label", sort=False):
        made = group[group["accuracy"].notna()]
        high = made["barrier"].max()
        found[str(label)] = (
            "" if made.empty else show_number(float(made["passes"].mean()), 6),
            "" if made.empty else span([int(count) for count in made["networks"]]),
            "" if pd.isna(high) else f"{100 * high:.1f}",
        )
    return found


def notes(rows: pd.DataFrame, method: str) -> tuple[str, ...]:
    """What to mind about a table of combined networks."""
    found = [
        f"members: trials whose weights were kept, ranked by the value of the search's objective "
        f"({method}); greedy soups accept by validation too; the held-out domain chose nothing",
        "passes: training of all candidates of a study; barrier, in points: what the midpoint of "
        "the best candidate and another lacks of their mean validation accuracy, at most",
    ]
    for reason, group in rows[rows["reason"].notna()].groupby("reason", sort=False):
        found.append(f"{', '.join(dict.fromkeys(group['label']))}: {reason}")
    outdated = rows[rows["outdated"].eq(True)]
    if len(outdated):
        found.append(
            f"{', '.join(dict.fromkeys(outdated['label']))}: outdated, as networks are kept that "
            "were no candidates yet; `python -m search combine` makes them again"
        )
    made = rows[rows["accuracy"].notna()]
    apart = made[made["barrier"].fillna(0) > HIGH]
    if len(apart):
        found.append(
            f"in {apart['study'].nunique()} of {made['study'].nunique()} studies two members have "
            f"a barrier above {100 * HIGH:.0f} points: they have no common start, or trained too "
            "far apart, so the mean of their weights is no network like them; an ensemble is not "
            "affected"
        )
    if (rows["across"] == "seeds").any():
        found.append(
            "over seeds: not the honest protocol, seeds have other splits, so the images that "
            "validate one member trained another, and nothing validates the whole; all seeds score "
            "the same networks, so their spread is that of the splits"
        )
    return tuple(found)


def compared(
    selected: pd.DataFrame, combinations: pd.DataFrame, method: str
) -> tuple[list[Grid], pd.DataFrame]:
    """Each combination against the trial that validation chose, of its (first) algorithm.

    selected: the winners by that method. The frame has the columns of comparison.compare.
    """
    frames = []
    firsts = [str(joined).split("/")[0] for joined in combinations["algorithm"]]
    rows = _as_selected(combinations, method).assign(first=firsts)
    for algorithm, own in rows.groupby("first", sort=False):
        single = str(algorithm)
        winners = selected[selected["algorithm"] == single]
        shared = winners[[*comparison.PAIR, "algorithm", "accuracy"]]
        both = pd.concat([shared.astype(object), own.astype(object)])
        labels = [str(label) for label in dict.fromkeys(own["algorithm"])]
        try:
            frames.append(comparison.compare(both, labels, single))
        except comparison.TooLittle:
            continue
    if not frames:
        return [], pd.DataFrame()
    found = pd.concat(frames, ignore_index=True)
    grids = [
        grid
        for _, pairs in found.groupby("b", sort=False)
        for grid in differences(pairs, method).values()
    ]
    last = "the single network is the trial that validation chose of the same candidates"
    grids[-1] = replace(grids[-1], notes=(*grids[-1].notes, last))
    return grids, found


def frame_of(combinations: pd.DataFrame) -> pd.DataFrame:
    """The combinations as a frame of plain values: lists of trials as text."""
    texts = {name: combinations[name].map(" ".join) for name in ("candidates", "members")}
    plain = combinations.drop(columns="curve")  # a frame of its own (search.results.wise_ft)
    return plain.assign(**texts)
