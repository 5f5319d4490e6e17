"""Sweeps that budgets end, and that go on with larger ones."""

from __future__ import annotations

import pandas as pd
import pytest
import yaml

from search.run import wall_clock
from search.run.run_folder import CHECKPOINTS, SWEEP, RunFolder
from search.run.wall_clock import WALL_CLOCK
from tests.search.command import steppe, write_yaml
from tests.search.play import small_sweep, states, stored, without_ray


@pytest.fixture(autouse=True)
def here():
    with without_ray():
        yield


def launch(place, steps=20, every=10, trials=3, **budget):
    """Writes and launches a sweep of two studies; a step of ERM is a pass, and one of SAM two."""
    sweep = small_sweep(
        algorithms=["ERM", "SAM"],
        training={"steps": steps, "evaluate_every": every, "checkpoint_seconds": 0},
        search={"trials": trials, "budget": budget},
    )
    file = write_yaml(place / "sweep.yaml", sweep.model_dump(mode="json"))
    return steppe("launch", file, "--output", place / "run")


def told(done, *words):
    text = " ".join(done.stdout.split())
    assert done.exit_code == 0, done.output
    assert not [word for word in words if word not in text], text


def test_a_budget_ends_a_sweep_well_and_a_larger_one_goes_on(tmp_path):
    run = RunFolder(tmp_path / "run")
    told(
        launch(tmp_path, passes=100),
        "run: ended by its budget, search.budget.passes: ",
        " of 100 spent",
        "run: trials per study, 3 asked for: ERM ",
        "Winners (training-domain",
    )
    first = pd.read_parquet(run.path("trials"))
    assert first["passes"].sum() >= 100
    assert len(first) < 6
    assert len(run.list("trials")) == 2  # a file per study
    assert not run.exists(CHECKPOINTS)
    told(
        steppe("status", run.uri),
        f"{len(first)} of 6 trials ended",
        "ended by its budget: `launch` with more search.budget.passes goes on",
    )
    told(steppe("resume", run.uri), "ended by its budget")
    assert len(pd.read_parquet(run.path("trials"))) == len(first)

    done = launch(tmp_path, passes=1e6)
    told(done, "6 of 6 trials ended")
    assert "ended by its budget" not in done.stdout
    assert yaml.safe_load(run.read_bytes(SWEEP))["search"]["budget"]["passes"] == 1e6
    second = pd.read_parquet(run.path("trials")).set_index("trial")
    assert len(second) == 6
    assert second.loc[first["trial"], "finished"].tolist() == first["finished"].tolist()
    told(steppe("status", run.uri), "6 of 6 trials ended", "complete")


def test_a_sweep_is_back_when_its_hours_are_over_and_keeps_what_was_at_work(tmp_path):
    run = RunFolder(tmp_path / "run")
    hours = 1 / 3600
    told(
        launch(tmp_path, steps=100_000, every=50, trials=1, wall_hours=hours),
        "run: ended by its budget, search.budget.wall_hours: ",
    )
    assert wall_clock.read(run) >= 1
    at_work = [state for trials in stored(run).values() for state in states(trials)]
    assert set(at_work) <= {"RUNNING"}
    status = steppe("status", run.uri)
    told(status, "ended by its budget: `launch` with more search.budget.wall_hours goes on")
    before = run.read_bytes(WALL_CLOCK)
    told(steppe("status", run.uri))
    assert run.read_bytes(WALL_CLOCK) == before
