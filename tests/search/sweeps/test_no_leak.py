"""The search never sees a number measured on the held-out domain.

A sweep that holds out two domains is run twice. In the second the labels of one are random, which
changes all that can be measured there. Whatever differs in what the study without this domain
suggested, reported or stopped, leaked, maybe through the other study, which trains on this domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from optuna.trial import FrozenTrial

import datasets
from search.driver.tune_adapter import StudySearcher
from search.run import tables
from search.sweep.schema import Sweep
from search.worker.trial_rows import Progress
from tests.search import file_dataset
from tests.search.play import launched, small_sweep, states, stored

HELD_OUT, OTHER = "75", "0"
TRIALS = 7


@dataclass
class Ran:
    """What a sweep left in the storage, in the tables, and what its trials said meanwhile.

    trials: of the study without HELD_OUT. other: of the study without OTHER. reports, evaluations:
    of the former.
    """

    trials: list[FrozenTrial]
    other: list[FrozenTrial]
    evaluations: pd.DataFrame
    reports: list[dict[str, Any]]

    @property
    def held_out(self) -> pd.DataFrame:
        return self.evaluations[self.evaluations["role"] == "held_out"]


def study_of(held_out: str) -> str:
    return f"{file_dataset.NAME}.mlp.SAGM.{held_out}.0"


def sweep_of(root: str) -> Sweep:
    """One trial at a time, so that each suggestion has all earlier results to depend on."""
    return small_sweep(
        dataset={"name": file_dataset.NAME, "root": root},
        algorithms=["SAGM"],
        held_out=[HELD_OUT, OTHER],
        # All: so that held-out numbers are at hand at every report.
        training={"steps": 40, "evaluate_every": 10, "evaluations": "all"},
        search={
            "trials": TRIALS,
            "seed": 3,  # one with which the other study is led elsewhere
            "sampler": "tpe",
            "scheduler": "asha",
            "space": {"lr": {"log_uniform": [1e-5, 1e-2]}, "weight_decay": 0, "dropout": 0},
        },
    )


def carried_out(root: Path) -> Ran:
    reports: list[dict[str, Any]] = []
    judge = StudySearcher.report

    def listen(self: StudySearcher, trial: str, said: dict[str, Any]) -> bool:
        if self.specs[trial].plan.study.id == study_of(HELD_OUT):
            reports.append(dict(said))
        return judge(self, trial, said)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StudySearcher, "report", listen)
        patch.setitem(datasets.DATASETS, file_dataset.NAME, file_dataset.ENTRY)
        folder = launched(sweep_of(str(root)), root / "run")
    trials, evaluations = stored(folder), tables.read_evaluations(folder)
    assert trials.keys() == {study_of(HELD_OUT), study_of(OTHER)}
    own = evaluations[evaluations["study"] == study_of(HELD_OUT)]
    return Ran(trials[study_of(HELD_OUT)], trials[study_of(OTHER)], own, reports)


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> dict[str, Ran]:
    place = tmp_path_factory.mktemp("no-leak")
    count = len(file_dataset.SOURCE.domains[-1].labels)
    random_labels = np.random.RandomState(0).randint(0, 10, count)
    file_dataset.write(place / "true", {})
    file_dataset.write(place / "random", {HELD_OUT: random_labels})
    return {kind: carried_out(place / kind) for kind in ("true", "random")}


def test_held_out_numbers_were_measured_at_every_report_and_differ_between_the_two(ran):
    true, random = ran["true"].held_out, ran["random"].held_out
    assert len(true) == len(random) > 2 * TRIALS
    assert true["accuracy"].max() > 0.4  # it learned
    assert random["accuracy"].max() < 0.25
    assert set(zip(true["trial"], true["step"], strict=True)) == {
        (f"{study_of(HELD_OUT)}.{trial.number}", step)
        for trial in ran["true"].trials
        for step in trial.intermediate_values
    }


def test_the_search_does_the_same_whatever_the_held_out_labels_are(ran):
    true, random = (
        [(t.params, t.intermediate_values, t.state, t.values, t.user_attrs) for t in run.trials]
        for run in (ran["true"], ran["random"])
    )
    assert true == random
    # It did something: the sampler's model was used and trials were stopped.
    of_true = states(ran["true"].trials)
    assert 0 < of_true.count("PRUNED") < len(of_true) == TRIALS


def test_the_study_that_trains_on_the_domain_went_another_way_meanwhile(ran):
    """So something could have leaked from it."""
    true, random = ran["true"].other, ran["random"].other
    assert true[0].params == random[0].params
    assert true[0].intermediate_values != random[0].intermediate_values
    assert [trial.params for trial in true] != [trial.params for trial in random]


def test_what_is_measured_on_the_source_domains_is_the_same_too(ran):
    columns = ["trial", "step", "domain", "split", "accuracy", "loss", "count"]
    true, random = (
        run.evaluations[run.evaluations["role"] == "source"][columns].reset_index(drop=True)
        for run in (ran["true"], ran["random"])
    )
    pd.testing.assert_frame_equal(true, random)


def test_no_report_holds_a_held_out_number(ran):
    reports, held_out = ran["random"].reports, ran["random"].held_out
    assert len(reports) > 2 * TRIALS
    # Accuracies are too few different numbers: one may be a source domain's, or a dropout.
    losses = set(held_out["loss"])
    for report in reports:
        assert report.keys() == Progress.__dataclass_fields__.keys()
        assert not losses & set(report.values())
