"""A sweep whose objective is leave-one-domain-out, with an attempt that ends in a fold."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from search.results import load, select
from search.run.run_folder import RunFolder
from search.worker.trial import Trial
from search.worker.trial_rows import Progress
from tests.search.command import printed
from tests.search.play import launched, small_sweep, stored


class Died(Exception):
    """Stands for whatever may end an attempt."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> RunFolder:
    sweep = small_sweep(
        algorithms=["ERM"],
        held_out=["0", "30"],
        training={"steps": 20, "evaluate_every": 10, "checkpoint_seconds": 0},
        search={
            "objective": "leave-one-domain-out",
            "trials": 1,
            "space": {"lr": 1e-2, "weight_decay": 0, "dropout": 0},
        },
    )
    report, died = Trial._report_progress, []

    def die_once(self: Trial, progress: Progress) -> None:
        """At the second evaluation of the second fold of one study."""
        own = self._spec.study.held_out == "0"
        if own and not died and progress.step == 30 and progress.folds is None:
            died.append(True)
            raise Died
        report(self, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trial, "_report_progress", die_once)
        folder = launched(sweep, tmp_path_factory.mktemp("folds"))
    assert died
    return folder


def test_every_trial_ends_with_all_of_its_folds_whatever_died(folder):
    found = load(folder.uri)
    assert set(found.trials["state"]) == {"completed"}
    folds = found.evaluations[found.evaluations["fold"].notna()]
    assert (folds.groupby("trial")["fold"].nunique() == 5).all()
    assert len(folds) == 2 * 5 * 2
    for trials in stored(folder).values():
        for trial in trials:
            assert list(trial.intermediate_values) == [20, 40, 60, 80, 100]
            assert trial.value == trial.intermediate_values[100]


def test_the_best_of_the_search_is_the_one_that_the_rule_selects(folder):
    found = load(folder.uri)
    chosen = select(found, "leave-one-domain-out")
    best = found.trials.groupby("study")["objective"].max()
    assert dict(zip(chosen["study"], chosen["validation"], strict=True)) == best.to_dict()
    assert chosen["accuracy"].notna().all()
    method = ("--method", "leave-one-domain-out")
    assert json.loads(printed("results", folder.uri, *method, "--format", "json"))


def test_folds_are_gone_when_the_sweep_is_complete_and_their_rows_stay(folder):
    assert not Path(folder.path("folds")).exists()
    assert not Path(folder.path("checkpoints")).exists()
    plain = pd.read_parquet(folder.path("evaluations"))
    assert set(plain.loc[plain["fold"].notna(), "role"]) == {"left_out"}
    assert "complete" in printed("status", folder.uri)
