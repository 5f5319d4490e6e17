"""What a trial with folds does, writes and says, without Ray."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest

import datasets
from search.results.selection import select
from search.run import tables
from search.run.run_folder import RunFolder
from search.run.shared_runs import read_fold, sharing
from search.study.folds import Fold, best_mean, folds_of
from search.study.plan import TrialSpec, plans
from search.worker import trial
from tests.search.play import small_sweep
from tests.search.worker.trained import VALUES, Killed, trained, without_time
from training.evaluation import Evaluation, Score
from training.run import Run
from training.train import TrainResult, train

DOMAINS = ("0", "15", "30", "45", "60", "75")
SOURCES = ["0", "15", "45", "60", "75"]  # without 30
SWEEP = small_sweep(
    algorithms=["ERM"],
    held_out=["30", "60", ["0", "30"]],
    training={"steps": 12, "evaluate_every": 4, "checkpoint_seconds": 0},
    search={"objective": "leave-one-domain-out", "space": {}},
)
PLANS = {plan.study.held_out: plan for plan in plans(SWEEP).values()}


@dataclass
class Carried:
    """A run folder, and what its trials said and trained."""

    folder: RunFolder
    said: list[dict[str, Any]] = field(default_factory=list)
    trained: list[tuple[str, str | None]] = field(default_factory=list)
    die_at: int | None = None  # the report that is the last

    def report(self, progress: dict[str, Any]) -> None:
        self.said.append(progress)
        if len(self.said) == self.die_at:
            raise Killed

    def train(self, run: Run, *rest: Any, **options: Any) -> TrainResult:
        self.trained.append((run.held_out, run.left_out))
        return train(run, *rest, **options)

    def out(self, held_out: str, **values: Any) -> TrialSpec:
        """Carries out a trial."""
        spec = PLANS[held_out].trial(0, VALUES | values)
        with patch.object(trial, "train", self.train):
            trained(self.folder, spec, self.report)
        return spec

    def evaluations(self, spec: TrialSpec) -> pd.DataFrame:
        frame = tables.read_evaluations(self.folder)
        frame = frame[frame["trial"] == spec.trial].drop(columns="seconds")
        texts = frame.select_dtypes("category").columns
        return frame.astype(dict.fromkeys(texts, object)).reset_index(drop=True)

    def row(self, spec: TrialSpec) -> dict[str, Any]:
        found = tables.read_trial(self.folder, spec.trial)
        assert found is not None
        return found


@pytest.fixture
def carried(folder) -> Carried:
    return Carried(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Carried, TrialSpec]:
    """A run in which the first trial without 30 has ended, disturbed by nobody; only to read."""
    found = Carried(RunFolder(tmp_path_factory.mktemp("whole")))
    return found, found.out("30")


@pytest.fixture
def begun(whole, tmp_path) -> Carried:
    """A copy of `whole` to go on with."""
    return Carried(RunFolder(shutil.copytree(whole[0].folder.root, tmp_path / "run")))


def test_a_trial_is_its_folds_in_the_datasets_order_and_then_its_own_run(whole):
    carried, spec = whole
    assert carried.trained == [("30", name) for name in [*SOURCES, None]]
    found = carried.evaluations(spec)
    folds = found[found["fold"].notna()]
    assert [*zip(folds["fold"], folds["step"], strict=True)] == [
        (name, step) for name in SOURCES for step in (4, 8, 12)
    ]
    assert (folds["domain"].astype(str) == folds["fold"].astype(str)).all()
    assert set(folds["role"]) == {"left_out"}
    assert set(folds["split"]) == {"in"}


def test_its_value_is_the_score_of_the_selection_rule_and_its_step_has_a_held_out_score(whole):
    carried, spec = whole
    row = carried.row(spec)
    trials = tables.read_trials(carried.folder)
    methods = ["leave-one-domain-out", "training-domain", "oracle"]
    found = select(trials, carried.evaluations(spec), methods)
    chosen = found.iloc[0]
    assert (row["objective"], row["best_step"]) == (chosen["validation"], chosen["step"])
    assert found["accuracy"].notna().all()
    assert found["reason"].isna().all()


def test_apart_from_its_folds_a_trial_is_what_it_is_without_them(whole):
    carried, spec = whole
    plain = train(spec.run, datasets.load("RotatedDigits"), lambda e: None)
    own = carried.evaluations(spec)
    own = own[own["fold"].isna() & (own["role"] == "source")]
    assert [*own["accuracy"]] == [
        s.accuracy for e in plain.evaluations for s in e.scores if s.role == "source"
    ]


def test_each_fold_is_reported_once_with_the_mean_so_far_and_nothing_else_is_news(whole):
    carried, spec = whole
    news = [progress for progress in carried.said if progress["folds"] is not None]
    assert [progress["folds"] for progress in news] == [1, 2, 3, 4, 5]
    scores = carried.evaluations(spec).query("role == 'left_out'")
    images = scores[scores["step"] == 4]["count"].cumsum()
    assert [progress["images"] for progress in news] == [*images]
    for progress in news:
        ended = scores[scores["fold"].isin(SOURCES[: progress["folds"]])]
        means = ended.groupby("step")["accuracy"].mean()
        assert progress["value"] == pytest.approx(means.max())
    # Signs of life: at each evaluation of each run.
    assert len(carried.said) == 6 * 3 + 5 + 1
    assert carried.said[0]["value"] is None
    steps = [progress["step"] for progress in carried.said if progress["state"] is None]
    assert steps == sorted(steps)


def test_a_trial_costs_what_all_its_runs_cost(whole):
    carried, spec = whole
    row = carried.row(spec)
    assert (row["steps"], row["passes"]) == (6 * 12, 6 * 12)
    assert row["seconds"] > 0


def test_a_fold_is_shared_with_the_study_of_its_other_domain_and_is_free_there(begun, whole):
    second = begun.out("60")
    assert ("60", "30") not in begun.trained
    assert len(begun.trained) == 5
    assert begun.row(second)["steps"] == begun.row(whole[1])["steps"] - 12
    # The same numbers as if it had carried all of them out.
    alone = Carried(RunFolder(f"{begun.folder.root}-alone"))
    again = alone.out("60")
    assert ("60", "30") in alone.trained
    pd.testing.assert_frame_equal(begun.evaluations(second), alone.evaluations(again))
    assert begun.row(second)["objective"] == alone.row(again)["objective"]
    # Neither has a score of its held-out domain in a row of a fold.
    for spec in (whole[1], second):
        found = begun.evaluations(spec)
        in_folds = set(found.loc[found["fold"].notna(), "domain"].astype(str))
        assert len(in_folds) == 5
        assert spec.study.held_out not in in_folds


@pytest.mark.parametrize("other", [{"lr": 2e-3}, {"batch_size": 9}])
def test_a_fold_of_another_setting_is_not_shared(begun, other):
    begun.out("60", **other)
    assert ("60", "30") in begun.trained


@pytest.mark.parametrize("held_out", ["30", "0/30"])
def test_what_is_said_does_not_depend_on_the_held_out_domain(carried, monkeypatch, held_out):
    """Its labels are others in the second run; whatever differs in what was said, leaked."""
    true = carried.out(held_out)
    said = [without_time(progress) for progress in carried.said]
    source = datasets.load("RotatedDigits")
    changed = [
        replace(d, labels=np.roll(d.labels, 1)) if d.name == "30" else d for d in source.domains
    ]
    other_images = replace(source, domains=tuple(changed))
    monkeypatch.setattr(trial, "load_dataset", lambda *_: other_images)
    other = Carried(RunFolder(f"{carried.folder.root}-other"))
    random = other.out(held_out)
    assert [without_time(progress) for progress in other.said] == said
    here, there = carried.evaluations(true), other.evaluations(random)
    unseen = here["role"] == "held_out"
    pd.testing.assert_frame_equal(here[~unseen], there[~unseen])
    assert not here[unseen]["loss"].equals(there[unseen]["loss"])
    places = (carried.folder, true.study), (other.folder, random.study)
    for fold in folds_of(true.run, DOMAINS):  # which the other study's score is in
        one, two = (read_fold(*place, fold) for place in places)
        assert [e.scores for e in one[1]] != [e.scores for e in two[1]]


# At an evaluation of the first fold, its end, an evaluation of the third, the end of the last, and
# in the trial's own run.
@pytest.mark.parametrize("die_at", [2, 4, 10, 20, 22])
def test_a_trial_that_is_killed_anywhere_ends_with_the_same_numbers(carried, whole, die_at):
    carried.die_at = die_at
    with pytest.raises(Killed):
        carried.out("30")
    carried.die_at = None
    carried.said.clear()
    found = carried.out("30")
    known, spec = whole
    pd.testing.assert_frame_equal(carried.evaluations(found), known.evaluations(spec))
    assert without_time(carried.row(found)) == without_time(known.row(spec))
    # Runs that had ended are not begun again, and the one that was cut off goes on.
    again = len(carried.trained) - len(set(carried.trained))
    assert again == (0 if die_at in (4, 20) else 1)


def test_a_fold_that_diverges_ends_the_trial_there(carried):
    spec = carried.out("30", lr=1e30)
    row = carried.row(spec)
    assert row["state"] == "diverged"
    assert row["reason"].startswith("in the fold without 0: the loss stopped being finite")
    assert (row["objective"], row["best_step"]) == (None, None)
    assert carried.trained == [("30", "0")]
    assert carried.evaluations(spec).empty
    assert carried.folder.list(f"folds/{sharing(spec.study)}") == []


def test_a_damaged_fold_is_carried_out_again(begun, whole):
    place = f"folds/{sharing(whole[1].study)}"
    for file in begun.folder.list(place):
        begun.folder.write_bytes(f"{place}/{file}", b"cut short")
    begun.out("60")
    assert len(begun.trained) == 6


def test_steps_that_a_fold_lacks_do_not_count():
    def score(accuracy: float) -> Score:
        return Score("a", "left_out", "in", accuracy, 1.0, 5)

    def fold(accuracies: dict[int, float]) -> Fold:
        return Fold("a", tuple(Evaluation(s, (score(a),), 0.0) for s, a in accuracies.items()))

    assert best_mean([]) == (None, None)
    assert best_mean([fold({4: 0.5})]) == (0.5, 4)
    assert best_mean([fold({4: 0.2, 8: 0.9}), fold({4: 0.4})]) == (pytest.approx(0.3), 4)
    assert best_mean([fold({4: 0.5, 8: 0.25}), fold({4: 0.0, 8: 0.25})]) == (0.25, 4)
    assert best_mean([fold({4: 0.5}), fold({8: 0.5})]) == (None, None)
