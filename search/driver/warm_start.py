"""Takes the best settings of earlier runs, before the first trial, and records them in this run.

Of an earlier run only what a search may see is read: the objective of its completed trials. The
settings are written once, to `warm_start.json`, and queued from there, so that a resume queues the
same ones even if the earlier run has changed. The sampler does not get the earlier trials: they may
have another length, and would count as this study's own.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from search.errors import SteppeError
from search.results.loading import read_sweep
from search.run import manifest, tables
from search.run.json_files import parse
from search.run.run_folder import WARM_START, RunFolder
from search.space.ranges import Fixed, Range, Value, show_value, text, value_in
from search.study.plan import StudyPlan
from search.study.study import Study
from search.sweep.search_keys import WarmStart

log = logging.getLogger("steppe")

Setting = dict[str, Value]


@dataclass(frozen=True)
class _Entry:
    setting: Setting
    behind: float = 0.0
    trials: tuple[str, ...] = ()


@dataclass(frozen=True)
class _File:
    studies: dict[str, list[_Entry]]


@dataclass
class Found:
    """A setting of earlier trials.

    behind: how far each trial was behind the best of its study. trials: `run: trial`.
    """

    setting: Setting
    behind: list[float] = field(default_factory=list)
    objectives: list[float] = field(default_factory=list)
    trials: list[str] = field(default_factory=list)

    @property
    def rank(self) -> tuple[float, float]:
        """The sort key, best first: the mean distance behind the best, then the mean objective."""
        count = len(self.behind)
        return sum(self.behind) / count, -sum(self.objectives) / count


def find(folder: RunFolder, plans: Mapping[str, StudyPlan]) -> dict[str, Any] | None:
    """What each study takes from earlier runs, as in `warm_start.json`.

    What the run has recorded stays. None without warm start, and if all studies are recorded.
    Raises SteppeError for a run that does not exist, maximized another objective, has no setting
    for any study of the sweep, or whose settings were shaped by held-out domains without
    `held_out: any`; and for a damaged file.
    """
    search = next(iter(plans.values())).search
    asked, there = search.warm_start, _recorded(folder)
    if asked is None or plans.keys() <= there.keys():
        return None
    trials = [_read(run, search.objectives, asked) for run in asked.runs]
    found = {}
    fits = dict.fromkeys(asked.runs, 0)
    misfits: dict[str, Counter[str]] = {run: Counter() for run in asked.runs}
    for name, plan in plans.items():
        ranked: dict[tuple[tuple[str, Value], ...], Found] = {}
        for run, frame in zip(asked.runs, trials, strict=True):
            for row, behind in _matching(frame, plan.study, asked):
                setting, why = _setting(row, plan.space)
                if setting is None:
                    misfits[run][why] += 1
                    continue
                fits[run] += 1
                same = ranked.setdefault(tuple(setting.items()), Found(setting))
                same.behind.append(behind)
                same.objectives.append(float(row["objective"]))
                same.trials.append(f"{run}: {row['trial']}")
        known = plan.first_settings()
        new = [f for f in sorted(ranked.values(), key=lambda f: f.rank) if f.setting not in known]
        found[name] = [
            {"setting": f.setting, "behind": f.rank[0], "trials": f.trials}
            for f in new[: asked.settings]
        ]
    for run, frame in zip(asked.runs, trials, strict=True):
        if not fits[run]:
            raise _no_match(run, frame, misfits[run])
        for why, count in misfits[run].items():
            log.warning("%s: %d settings are not taken over: %s", run, count, why)
    return {"runs": list(asked.runs), "held_out": asked.held_out, "studies": found | there}


def record(folder: RunFolder, found: Mapping[str, Any] | None) -> None:
    """Writes what `find` returned, if the sweep has a warm start."""
    if found is not None:
        folder.write_bytes(WARM_START, json.dumps(found, indent=2).encode())


def recorded(folder: RunFolder) -> dict[str, list[Setting]]:
    """The recorded settings of each study, best first, by its name; empty without a warm start.

    Raises SteppeError for a damaged file.
    """
    return {study: [e["setting"] for e in own] for study, own in _recorded(folder).items()}


def _recorded(folder: RunFolder) -> dict[str, list[dict[str, Any]]]:
    """The part `studies` of the file, whose entries have a setting each."""
    try:
        studies = parse(folder.read_bytes(WARM_START), _File).studies
        return {study: [asdict(entry) for entry in own] for study, own in studies.items()}
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SteppeError(
            f"{folder.path(WARM_START)} is damaged: {error}; put a copy back"
        ) from error


def _read(run: str, objectives: Sequence[str], asked: WarmStart) -> pd.DataFrame:
    """The completed trials of a run."""
    try:
        folder = RunFolder.existing(run)
        sweep = read_sweep(folder)
        trials = tables.read_trials(folder)
    except SteppeError as error:
        raise SteppeError(f"search.warm_start: {error}") from error
    theirs = list(sweep.search.objectives)
    ours = list(objectives)
    if theirs != ours:
        raise SteppeError(
            f"search.warm_start: {run} maximized {' and '.join(theirs)}, and this sweep maximizes "
            f"{' and '.join(ours)}; name a run with the same search.objective"
        )
    shaped, _ = manifest.held_out_labels(folder, sweep.search)
    if shaped and asked.held_out == "same":
        raise SteppeError(
            f"search.warm_start: the settings of {run} were shaped by labels of its held-out "
            f"domains ({shaped[0]}); write {{runs: [{run}], held_out: any}} to take them, which "
            "every table will say, or name another run"
        )
    return trials[(trials["state"] == "completed") & trials["objective"].notna()]


def _matching(
    trials: pd.DataFrame, study: Study, asked: WarmStart
) -> Iterator[tuple[dict[str, Any], float]]:
    """The earlier trials that match a study, and how far each is behind the best of its own."""
    keys = ["dataset", "model", "algorithm", *(["held_out"] if asked.held_out == "same" else [])]
    alike = trials
    for key in keys:
        alike = alike[alike[key] == getattr(study, key)]
    best = alike.groupby("study")["objective"].transform("max")
    yield from zip(alike.to_dict("records"), best - alike["objective"], strict=True)


def _setting(row: Mapping[str, Any], space: Mapping[str, Range]) -> tuple[Setting | None, str]:
    """The values of a row that the study searches; None and why, if one is outside its range.

    Fixed hyperparameters keep their value; the sampler draws those that the row lacks.
    """
    setting: Setting = {}
    for name, range_ in space.items():
        value = row.get(f"hp_{name}")
        if isinstance(range_, Fixed) or pd.isna(value):
            continue
        inside = value_in(range_, value)
        if inside is None:
            shown = show_value(value)
            return None, f"{name} is outside of {text(range_)}, such as {shown}"
        setting[name] = inside
    return (setting or None), "they have no hyperparameter that is searched here"


def _no_match(run: str, trials: pd.DataFrame, misfits: Mapping[str, int]) -> SteppeError:
    if misfits:
        why = max(misfits, key=lambda why: misfits[why])
        return SteppeError(
            f"search.warm_start: no setting of {run} fits the space of this sweep ({why}); widen "
            "search.space or name another run"
        )
    held = trials[["algorithm", "dataset", "model", "held_out"]].drop_duplicates()
    listed = [f"{a} on {d}, {m}, held out {h}" for a, d, m, h in held.itertuples(index=False)]
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    has = f"it has {'; '.join(listed[:3])}{more}" if listed else "none of its trials completed"
    return SteppeError(
        f"search.warm_start: {run} has no completed trial of a dataset, model, algorithm and "
        f"held-out domain of this sweep ({has}); name another run"
    )
