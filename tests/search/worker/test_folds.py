"""What a trial with folds does, writes and says, without Ray."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datasets
from search.results.selection import select
from search.run import manifest, tables
from search.run.checkpoints import TrialCheckpoints
from search.run.run_folder import RunFolder
from search.run.shared_runs import read_fold, sharing
from search.study.folds import Fold, best_mean, folds_of
from search.study.plan import StudyPlan, TrialSpec, plans
from search.sweep.schema import Sweep
from search.worker import trial
from search.worker.trial import Trial
from tests.search.play import small_sweep
from training.evaluation import Evaluation, Score
from training.train import train

DOMAINS = ("0", "15", "30", "45", "60", "75")
VALUES = {"lr": 1e-3, "weight_decay": 0.0, "dropout": 0.0, "batch_size": 8}
OF_TIME = ["seconds", "started", "finished"]


class Killed(BaseException):
    """What no trial can catch."""


def sweep(**training: Any) -> Sweep:
    return small_sweep(
        algorithms=["ERM"],
        held_out=["30", "60", ["0", "30"]],
        training={"steps": 12, "evaluate_every": 4, "checkpoint_seconds": 0, **training},
        search={"objective": "leave-one-domain-out", "space": {}},
    )


def planned(held_out: str) -> StudyPlan:
    (plan,) = (plan for plan in plans(sweep()).values() if plan.study.held_out == held_out)
    return plan


@dataclass
class Carried:
    """A run folder, and what its trials said and trained."""

    folder: RunFolder
    monkeypatch: pytest.MonkeyPatch
    said: list[dict[str, Any]] = field(default_factory=list)
    trained: list[tuple[str, str | None]] = field(default_factory=list)
    die_at: int | None = None  # the report that is the last

    def __post_init__(self) -> None:
        manifest.record(self.folder, [])

        def report(progress: dict[str, Any]) -> None:
            self.said.append(progress)
            if len(self.said) == self.die_at:
                raise Killed

        def noted(run: Any, *rest: Any, **options: Any) -> Any:
            self.trained.append((run.held_out, run.left_out))
            return train(run, *rest, **options)

        self.monkeypatch.setattr(trial.tune, "report", report)
        self.monkeypatch.setattr(trial, "train", noted)

    def out(self, held_out: str, number: int = 0, **values: Any) -> TrialSpec:
        """Carries out a trial."""
        spec = planned(held_out).trial(number, VALUES | values)
        Trial(self.folder, spec).carry_out()
        return spec

    def evaluations(self, spec: TrialSpec) -> pd.DataFrame:
        frame = tables.read_evaluations(self.folder)
        frame = frame[frame["trial"] == spec.trial].drop(columns=OF_TIME[:1])
        texts = frame.select_dtypes("category").columns
        return frame.astype(dict.fromkeys(texts, object)).reset_index(drop=True)

    def row(self, spec: TrialSpec) -> dict[str, Any]:
        found = tables.read_trial(self.folder, spec.trial)
        assert found is not None
        return found


@pytest.fixture
def carried(tmp_path, monkeypatch) -> Carried:
    return Carried(RunFolder(tmp_path / "run"), monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Carried, TrialSpec]:
    """A run in which the first trial without 30 has ended, disturbed by nobody; only to read."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        found = Carried(RunFolder(tmp_path_factory.mktemp("whole") / "run"), monkeypatch)
        return found, found.out("30")


@pytest.fixture
def begun(whole, tmp_path, monkeypatch) -> Carried:
    """A copy of `whole` to go on with."""
    copy = shutil.copytree(whole[0].folder.root, tmp_path / "run")
    return Carried(RunFolder(copy), monkeypatch)


def without_time(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in OF_TIME}


def test_a_trial_is_its_folds_in_the_datasets_order_and_then_its_own_run(whole):
    carried, spec = whole
    sources = [name for name in DOMAINS if name != "30"]
    assert carried.trained == [("30", name) for name in [*sources, None]]
    found = carried.evaluations(spec)
    folds = found[found["fold"].notna()]
    assert [*zip(folds["fold"], folds["step"], strict=True)] == [
        (name, step) for name in sources for step in (4, 8, 12)
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
    run = spec.run
    news = [progress for progress in carried.said if progress["folds"] is not None]
    assert [progress["folds"] for progress in news] == [1, 2, 3, 4, 5]
    folds = carried.evaluations(spec).query("step == 4 and role == 'left_out'")
    assert [progress["images"] for progress in news] == [*folds["count"].cumsum()]
    ended = [read_fold(carried.folder, spec.study, fold)[1] for fold in folds_of(run, DOMAINS)]
    for progress in news:
        by_step = {}
        for fold, evaluations in zip(
            folds_of(run, DOMAINS), ended[: progress["folds"]], strict=False
        ):
            for e in evaluations:
                (own,) = (s.accuracy for s in e.scores if s.domain == fold.left_out)
                by_step.setdefault(e.step, []).append(own)
        means = [sum(accuracies) / len(accuracies) for accuracies in by_step.values()]
        assert progress["value"] == pytest.approx(max(means))
    # Signs of life: at each evaluation of each run.
    assert len(carried.said) == 6 * 3 + 5 + 1
    assert carried.said[0]["value"] is None
    assert [p["step"] for p in carried.said if p["state"] is None] == sorted(
        p["step"] for p in carried.said if p["state"] is None
    )


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
    alone = Carried(RunFolder(f"{begun.folder.root}-alone"), begun.monkeypatch)
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
def test_what_is_said_does_not_depend_on_the_held_out_domain(carried, held_out):
    """Its labels are others in the second run; whatever differs in what was said, leaked."""
    true = carried.out(held_out)
    said = [without_time(progress) for progress in carried.said]
    source = datasets.load("RotatedDigits")
    changed = [
        replace(d, labels=np.roll(d.labels, 1)) if d.name == "30" else d for d in source.domains
    ]
    carried.monkeypatch.setattr(
        trial, "load_dataset", lambda *_: replace(source, domains=tuple(changed))
    )
    other = Carried(RunFolder(f"{carried.folder.root}-other"), carried.monkeypatch)
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


def test_a_checkpoint_is_not_taken_for_that_of_another_fold(carried):
    carried.die_at = 6  # in the second fold
    with pytest.raises(Killed):
        carried.out("30")
    spec = planned("30").trial(0, VALUES)
    resume = TrialCheckpoints(carried.folder, spec).read()
    assert resume is not None
    assert (resume["run"], resume["left_out"], resume["step"]) == (1, "15", 8)
    run, trial = spec.run, Trial(carried.folder, spec)
    assert trial._begin(1, replace(run, left_out="15"), None, resume)[0] is resume
    assert trial._begin(1, replace(run, left_out="0"), None, resume)[0] is None
    assert trial._begin(0, replace(run, left_out="15"), None, resume)[0] is None
    assert trial._begin(1, run, None, resume)[0] is None


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
    def fold(**accuracies: float) -> Fold:
        return Fold(
            "a",
            tuple(
                Evaluation(int(step[1:]), (Score("a", "left_out", "in", accuracy, 1.0, 5),), 0.0)
                for step, accuracy in accuracies.items()
            ),
        )

    assert best_mean([]) == (None, None)
    assert best_mean([fold(s4=0.5)]) == (0.5, 4)
    assert best_mean([fold(s4=0.2, s8=0.9), fold(s4=0.4)]) == (pytest.approx(0.3), 4)
    assert best_mean([fold(s4=0.5, s8=0.25), fold(s4=0.0, s8=0.25)]) == (0.25, 4)
    assert best_mean([fold(s4=0.5), fold(s8=0.5)]) == (None, None)
