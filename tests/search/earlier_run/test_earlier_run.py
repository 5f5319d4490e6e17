"""Runs of an earlier commit are read, and one that was killed goes on to the end it would have had.

README.md beside this file says how they were made.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search import results
from search.run import tables
from search.run.lease import LEASE
from search.run.run_folder import CHECKPOINTS, RunFolder
from tests.search.command import printed
from tests.search.play import without_ray

HERE = Path(__file__).parent
ELSEWHERE = ["seconds", "started", "finished", "node", "device"]  # of a run at another time
CHOICE = ["study", "method", "trial", "step", "validation", "accuracy", "accuracy_all"]


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return shutil.copytree(HERE / "finished", tmp_path / "finished")


def test_its_tables_choose_what_it_chose(finished: Path) -> None:
    recorded = pd.read_parquet(finished / "selection.parquet")
    again = results.load(finished).selection
    for column in CHOICE:
        known = again[again["method"].isin(recorded["method"].unique())][column]
        assert known.astype(object).where(known.notna(), None).tolist() == [
            None if pd.isna(value) else value for value in recorded[column]
        ]


def test_it_is_compared_printed_and_shown(finished: Path) -> None:
    recorded = pd.read_parquet(finished / "selection.parquet")
    chosen = recorded[recorded["method"] == "training-domain"]
    means = chosen.groupby("algorithm")["accuracy"].mean()

    (row,) = results.compare(results.load(finished), "DISAM+SAGM", "ERM").to_dict("records")
    assert row["difference"] == pytest.approx(means["DISAM+SAGM"] - means["ERM"])
    assert "12 of 12 trials ended" in printed("status", finished)
    shown = printed("results", finished)
    assert all(f"{100 * mean:.1f}" in shown for mean in means)
    printed("report", finished)


@pytest.mark.slow
def test_one_that_was_killed_goes_on_to_the_tables_of_the_undisturbed(tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(HERE / "interrupted", tmp_path / "interrupted"))
    lease = json.loads(run.read_bytes(LEASE))
    run.write_bytes(LEASE, json.dumps({**lease, "beat": time.time() - 3600}).encode())
    begun = tables.read_trials(run)
    assert (len(begun), run.exists(CHECKPOINTS)) == (2, True)

    with without_ray():
        printed("resume", run.uri)

    undisturbed = RunFolder(HERE / "undisturbed")
    here, there = (tables.read_trials(folder) for folder in (run, undisturbed))
    same = there.columns.drop([*ELSEWHERE, "objective", "best_step"])
    pd.testing.assert_frame_equal(here[same], there[same])
    scores, known = (_scores(folder) for folder in (run, undisturbed))
    assert scores.index.tolist() == known.index.tolist()
    # What is begun anew here tells whether this processor computes as that of the earlier run did.
    numbers = scores.index.get_level_values("trial").str.rsplit(".", n=1).str[-1]
    tolerance = 0.0 if scores[numbers == "2"].equals(known[numbers == "2"]) else 0.05
    np.testing.assert_allclose(scores, known, rtol=0, atol=tolerance)
    np.testing.assert_allclose(here["objective"], there["objective"], rtol=0, atol=tolerance)
    if not tolerance:
        assert here["best_step"].tolist() == there["best_step"].tolist()
        assert results.load(run.uri).selection.equals(results.load(undisturbed.uri).selection)
    assert len(json.loads(run.read_bytes("manifest.json"))["sessions"]) == 2


def _scores(folder: RunFolder) -> pd.Series:
    """The accuracy of each (trial, step, weights, domain, split)."""
    frame = tables.read_evaluations(folder)
    frame = frame.astype(dict.fromkeys(frame.select_dtypes("category").columns, str))
    return frame.set_index(["trial", "step", "weights", "domain", "split"])["accuracy"].sort_index()
