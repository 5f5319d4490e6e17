"""The table `correct`: on which held-out images each completed trial is right, without Ray."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import datasets
from datasets.randomness import split
from search.driver import cleanup
from search.run import manifest, tables
from search.run.run_folder import RunFolder
from search.study.plan import plans
from search.worker import trial
from search.worker.trial import Trial
from tests.search.play import small_sweep

VALUES = {"lr": 1e-3, "weight_decay": 0.0, "dropout": 0.0, "batch_size": 8}


class Killed(Exception):
    """The worker dies here."""


def specs(numbers=(0,), **training):
    training = {"steps": 30, "checkpoint_seconds": 0, **training}
    sweep = small_sweep(algorithms=["ERM"], held_out=["30"], training=training)
    (plan,) = plans(sweep).values()
    return [plan.trial(number, VALUES) for number in numbers]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(trial.tune, "report", lambda report: None)
    found = RunFolder(tmp_path / "run")
    manifest.record(found, [])
    return found


def read(folder):
    return pd.read_parquet(folder.path("correct"))


@pytest.mark.parametrize("averaging", ["none", "ema"])
def test_the_images_are_those_that_the_accuracies_count(folder, averaging):
    (spec,) = specs(predictions="correct", averaging=averaging)
    more = {"ema_decay": 0.5} if averaging == "ema" else {}
    spec = spec.plan.trial(0, VALUES | more)
    Trial(folder, spec).carry_out()
    (row,) = read(folder).to_dict("records")
    known = tables.read_trial(folder, spec.trial)
    assert (row["trial"], row["domain"], row["step"]) == (spec.trial, "30", known["best_step"])
    domains = datasets.load("RotatedDigits").domains
    index = [domain.name for domain in domains].index("30")
    assert len(row["correct"]) == len(domains[index])
    halves = split(len(domains[index]), 0, index)
    rows = tables.read_evaluations(folder)
    rows = rows[(rows["role"] == "held_out") & (rows["step"] == row["step"])]
    rows = rows[rows["weights"] == ("average" if averaging == "ema" else "iterate")]
    accuracy = rows.set_index("split")["accuracy"]
    assert np.mean(row["correct"][halves.in_]) == pytest.approx(accuracy["in"])
    assert np.mean(row["correct"][halves.out]) == pytest.approx(accuracy["out"])


def test_without_the_key_nothing_is_written_or_computed(folder, monkeypatch):
    monkeypatch.setattr("training.result.predict", lambda *args: pytest.fail("not asked for"))
    (spec,) = specs()
    Trial(folder, spec).carry_out()
    assert not folder.exists("correct")


def test_a_trial_that_was_killed_at_its_end_has_its_row_once_also_after_merging(
    folder, monkeypatch
):
    first, second = specs((0, 1), predictions="correct")
    Trial(folder, first).carry_out()
    kept = tables.write_trial

    def dies(*args, **options):
        raise Killed

    monkeypatch.setattr(tables, "write_trial", dies)
    with pytest.raises(Killed):
        Trial(folder, second).carry_out()
    before = read(folder)
    assert len(before) == 2
    monkeypatch.setattr(tables, "write_trial", kept)
    Trial(folder, second).carry_out()  # from its last checkpoint
    after = read(folder)
    pd.testing.assert_frame_equal(after, before)
    study = first.study.id
    cleanup.merge(folder, study, [first.trial, second.trial])
    assert folder.list("correct") == [f"{study}.parquet"]
    pd.testing.assert_frame_equal(read(folder), before)
    cleanup.unmerge(folder, study)
    assert len(folder.list("correct")) == 2
    pd.testing.assert_frame_equal(read(folder), before)
