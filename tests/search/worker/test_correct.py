"""The table `correct`: on which held-out images each completed trial is right, without Ray."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest

import datasets
from datasets.randomness import split
from search.driver import cleanup
from search.run import tables
from search.study.plan import plans
from tests.search.play import small_sweep
from tests.search.worker.trained import VALUES, Killed, trained


def planned(**training):
    training = {"steps": 30, "checkpoint_seconds": 0, **training}
    sweep = small_sweep(algorithms=["ERM"], held_out=["30"], training=training)
    (plan,) = plans(sweep).values()
    return plan


def read(folder):
    return pd.read_parquet(folder.path("correct"))


@pytest.mark.parametrize("averaging", ["none", "ema"])
def test_the_images_are_those_that_the_accuracies_count(folder, averaging):
    more = {"ema_decay": 0.5} if averaging == "ema" else {}
    spec = planned(predictions="correct", averaging=averaging).trial(0, VALUES | more)
    known = trained(folder, spec)
    (row,) = read(folder).to_dict("records")
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
    trained(folder, planned().trial(0, VALUES))
    assert not folder.exists("correct")


def test_a_trial_that_was_killed_at_its_end_has_its_row_once_also_after_merging(folder):
    plan = planned(predictions="correct")
    first, second = (plan.trial(number, VALUES) for number in (0, 1))
    trained(folder, first)
    with patch.object(tables, "write_trial", side_effect=Killed), pytest.raises(Killed):
        trained(folder, second)
    before = read(folder)
    assert len(before) == 2
    trained(folder, second)  # from its last checkpoint
    pd.testing.assert_frame_equal(read(folder), before)
    study = first.study.id
    cleanup.merge(folder, study, [first.trial, second.trial])
    assert folder.list("correct") == [f"{study}.parquet"]
    pd.testing.assert_frame_equal(read(folder), before)
    cleanup.unmerge(folder, study)
    assert len(folder.list("correct")) == 2
    pd.testing.assert_frame_equal(read(folder), before)
