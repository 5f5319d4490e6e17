"""What a report is made of: the tables of a run, and what else its folder holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import pandas as pd

from search import results
from search.errors import SteppeError
from search.results.loading import LoadedRun, ranges_of
from search.run.run_folder import MANIFEST, SWEEP, RunFolder
from search.space.ranges import Range
from search.study.seed_promotion import max_settings
from search.study.study import trials_per_study
from search.sweep.schema import Sweep

_FLATNESS = ["sharpness", "curvature"]
_FIRST = ("rho", "alpha", "lr")  # what readers look for first


@dataclass(frozen=True)
class ReportedRun:
    """A run at one moment. The frames have the columns of docs/files.md.

    loaded: the run, under the name of its sweep. configuration: its sweep.yaml as text. selection:
    by one or more methods, `method` among them, with a row for each study that the sweep asks for.
    combinations: soups and ensembles, with their labels. read: when.
    """

    loaded: LoadedRun
    location: str
    configuration: str
    manifest: Mapping[str, Any]
    trials: pd.DataFrame
    evaluations: pd.DataFrame
    selection: pd.DataFrame
    combinations: pd.DataFrame
    method: str
    read: datetime

    @property
    def name(self) -> str:
        """The name of its sweep."""
        return self.loaded.name

    @property
    def sweep(self) -> Sweep:
        """Its sweep.yaml."""
        return self.loaded.sweep

    @property
    def datasets(self) -> list[str]:
        """In the order of the sweep."""
        return [str(name) for name in dict.fromkeys(self.selection["dataset"])]

    @property
    def algorithms(self) -> list[str]:
        """In the order of the sweep."""
        return [str(name) for name in dict.fromkeys(self.selection["algorithm"])]

    @property
    def main(self) -> pd.DataFrame:
        """The selection by `method`, from which the report answers."""
        return self.selection[self.selection["method"] == self.method]

    @property
    def winners(self) -> pd.DataFrame:
        """The trials that `method` selected; a study without one has no row."""
        return self.main[self.main["trial"].notna()]

    @cached_property
    def selected(self) -> set[str]:
        """The names of the winners."""
        return set(self.winners["trial"])

    @property
    def planned(self) -> int:
        """Trials that the sweep asks for; of studies that have ended, those they had."""
        had = self.trials["study"].value_counts()
        seeds, search = list(self.sweep.seeds), self.sweep.search
        count = 0
        for study in self.loaded.studies.values():
            if study.id in self.loaded.unfinished:
                trials = trials_per_study(search.trials, self.space(study.algorithm))
                count += max_settings(trials, search.seed_reduction, seeds.index(study.seed))
            else:
                count += int(had.get(study.id, 0))
        return count

    def space(self, algorithm: str) -> Mapping[str, Range]:
        """The ranges of an algorithm's hyperparameters."""
        return ranges_of(self.sweep, algorithm)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Its completed trials with their scores, see `scored`."""
        return scored(self.trials, self.evaluations)

    @cached_property
    def comparable(self) -> pd.DataFrame:
        """The trials by which validation is judged, see `alike`."""
        return alike(self.trials, self.evaluations, self.scores)


def read(location: str) -> ReportedRun:
    """A run as it stands, complete or not.

    Raises SteppeError if there is none, or it is damaged.
    """
    folder = RunFolder.existing(location)
    found = results.load(location)
    (run,) = found.runs.values()
    return ReportedRun(
        loaded=replace(run, name=run.sweep.name),
        location=folder.uri.partition("?")[0],
        configuration=folder.read_bytes(SWEEP).decode(),
        manifest=_manifest(folder),
        trials=found.trials,
        evaluations=found.evaluations,
        selection=found.selection,
        combinations=found.combinations,
        method=found.method,
        read=datetime.now(UTC),
    )


def _manifest(folder: RunFolder) -> dict[str, Any]:
    try:
        return dict(json.loads(folder.read_bytes(MANIFEST)))
    except FileNotFoundError:
        return {}  # nothing has begun
    except (ValueError, TypeError) as error:
        raise SteppeError(
            f"{folder.path(MANIFEST)} is damaged: {error}; put a copy back"
        ) from error


def searched(trials: pd.DataFrame) -> list[str]:
    """Hyperparameters that differ between these trials; rho, alpha and lr come first."""
    columns = [str(column) for column in trials if str(column).startswith("hp_")]
    names = [name.removeprefix("hp_") for name in columns if trials[name].nunique() > 1]
    return [name for name in _FIRST if name in names] + [n for n in names if n not in _FIRST]


def scored(trials: pd.DataFrame, evaluations: pd.DataFrame) -> pd.DataFrame:
    """The completed trials, with scores of their selected weights added.

    Columns added: validation, the mean accuracy over the source domains' out splits, and its
    distance `below` the best of the study's completed trials (<= 0); accuracy on the held-out
    domain's in split and its distance `accuracy_below`; sharpness and curvature, means over source
    domains. NaN where not measured. Fractions. Weights are those at `best_step`; with
    averaging, the average.
    """
    done = trials[trials["state"] == "completed"].copy()
    rows = evaluations[evaluations["trial"].isin(done["trial"])]
    step = rows["trial"].astype(object).map(done.set_index("trial")["best_step"])
    rows = rows[rows["step"].to_numpy() == step.astype("Float64").to_numpy(float, na_value=-1)]
    held_out = averaged_first(rows[(rows["role"] == "held_out") & (rows["split"] == "in")])
    source = averaged_first(rows[(rows["role"] == "source") & (rows["split"] == "in")])
    flatness = source.reindex(columns=_FLATNESS).groupby(source["trial"].astype(object)).mean()
    names = done["trial"].astype(object)
    validated = averaged_first(rows[(rows["role"] == "source") & (rows["split"] == "out")])
    accuracy = validated.groupby(validated["trial"].astype(object))["accuracy"].mean()
    done["validation"] = names.map(accuracy)
    done["accuracy"] = names.map(held_out.set_index("trial")["accuracy"].astype(float))
    for column in _FLATNESS:
        done[column] = names.map(flatness[column])
    done["below"] = _below_best(done, "validation")
    done["accuracy_below"] = _below_best(done, "accuracy")
    return done


def alike(trials: pd.DataFrame, evaluations: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Trials of each study with validation and held-out accuracy that may be compared.

    Where trials were pruned, those that completed are the best by validation, among which it can
    say little. If the pruned ones were scored on the held-out domain too, all trials of the study
    are compared, as iterates, at the highest step that nine in ten of them reached. Else only the
    completed ones are, at their selected steps, as in a study without pruning.

    scores: see `scored`. Columns: those of trials, validation, accuracy, `at`, the common step (NaN
    at selected steps), and `of`, the number of the study's trials.
    """
    of = trials["study"].astype(object).value_counts()
    pruned = trials[trials["state"] == "pruned"]
    rows = evaluations[evaluations["study"].isin(pruned["study"].unique())]
    if "weights" in rows:
        rows = rows[rows["weights"] != "average"]
    rows = rows.astype({"trial": object, "study": object})
    keys = ["study", "trial", "step"]
    source = rows[(rows["role"] == "source") & (rows["split"] == "out")]
    held_out = rows[(rows["role"] == "held_out") & (rows["split"] == "in")]
    both = pd.concat(
        [
            source.groupby(keys)["accuracy"].mean().rename("validation"),
            held_out.groupby(keys)["accuracy"].mean().rename("accuracy"),
        ],
        axis=1,
        join="inner",
    ).dropna()
    both = both.reset_index()
    whole = both[both["trial"].isin(pruned["trial"].astype(object))]["study"].unique()
    both = both[both["study"].isin(whole)]
    reached = both.groupby(["study", "step"])["trial"].nunique().rename("reached").reset_index()
    most = reached.groupby("study")["reached"].transform("max")
    enough = reached[reached["reached"] >= 0.9 * most]
    at = enough.groupby("study")["step"].max()
    both = both[both["step"] == both["study"].map(at)].set_index("trial")
    names = trials["trial"].astype(object)
    common = trials[names.isin(both.index)].copy()
    for column, values in (("validation", both["validation"]), ("accuracy", both["accuracy"])):
        common[column] = common["trial"].astype(object).map(values).astype(float)
    common["at"] = common["study"].astype(object).map(at).astype(float)
    selected = scores[~scores["study"].isin(whole)].assign(at=float("nan"))
    found = pd.concat([selected[common.columns], common]) if len(common) else selected
    found = found[found["validation"].notna() & found["accuracy"].notna()].sort_index()
    return found.assign(of=found["study"].astype(object).map(of))


def averaged_first(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, without those of the plain weights at steps that have a row of averaged ones."""
    if "weights" not in rows:  # tables from before there were averages
        return rows
    keys = ["trial", "step", "domain", "split"]
    ordered = rows.assign(_average=rows["weights"].astype(object) == "average")
    ordered = ordered.sort_values("_average", kind="stable").drop_duplicates(keys, keep="last")
    return ordered.drop(columns="_average").sort_index()


def _below_best(done: pd.DataFrame, column: str) -> pd.Series:
    return done[column] - done.groupby("study", observed=True)[column].transform("max")
