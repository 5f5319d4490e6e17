"""Sweeps that budgets end, and that go on with larger ones."""

from __future__ import annotations

import pandas as pd
import pytest
import yaml

from search.run import wall_clock
from search.run.run_folder import CHECKPOINTS, SWEEP, RunFolder
from search.run.wall_clock import WALL_CLOCK
from tests.search.command import launch, printed
from tests.search.play import small_sweep, states, stored, without_ray


@pytest.fixture(autouse=True)
def here():
    with without_ray():
        yield


def launched(place, steps=20, every=10, trials=3, **budget) -> str:
    """What a sweep of two studies prints; a step of ERM is a pass, and one of SAM two."""
    sweep = small_sweep(
        algorithms=["ERM", "SAM"],
        training={"steps": steps, "evaluate_every": every, "checkpoint_seconds": 0},
        search={"trials": trials, "budget": budget},
    )
    done = launch(sweep, place)
    assert done.exit_code == 0, done.output
    return in_one_line(done.stdout)


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def test_a_budget_ends_a_sweep_well_and_a_larger_one_goes_on(tmp_path):
    run = RunFolder(tmp_path / "run")
    said = launched(tmp_path, passes=100)
    assert "run: ended by its budget, search.budget.passes: " in said
    assert " of 100 spent" in said
    assert "run: trials per study, 3 asked for: ERM " in said
    assert "Winners (training-domain" in said
    first = pd.read_parquet(run.path("trials"))
    assert first["passes"].sum() >= 100
    assert len(first) < 6
    assert len(run.list("trials")) == 2  # a file per study
    assert not run.exists(CHECKPOINTS)
    status = in_one_line(printed("status", run.uri))
    assert f"{len(first)} of 6 trials ended" in status
    assert "ended by its budget: `launch` with more search.budget.passes goes on" in status
    assert "ended by its budget" in printed("resume", run.uri)
    assert len(pd.read_parquet(run.path("trials"))) == len(first)

    said = launched(tmp_path, passes=1e6)
    assert "6 of 6 trials ended" in said
    assert "ended by its budget" not in said
    assert yaml.safe_load(run.read_bytes(SWEEP))["search"]["budget"]["passes"] == 1e6
    second = pd.read_parquet(run.path("trials")).set_index("trial")
    assert len(second) == 6
    assert second.loc[first["trial"], "finished"].tolist() == first["finished"].tolist()
    assert "complete" in printed("status", run.uri)


def test_a_sweep_is_back_when_its_hours_are_over_and_keeps_what_was_at_work(tmp_path):
    run = RunFolder(tmp_path / "run")
    said = launched(tmp_path, steps=100_000, every=50, trials=1, wall_hours=1 / 3600)
    assert "run: ended by its budget, search.budget.wall_hours: " in said
    assert wall_clock.read(run) >= 1
    at_work = [state for trials in stored(run).values() for state in states(trials)]
    assert set(at_work) <= {"RUNNING"}
    before = run.read_bytes(WALL_CLOCK)
    status = in_one_line(printed("status", run.uri))
    assert "ended by its budget: `launch` with more search.budget.wall_hours goes on" in status
    assert run.read_bytes(WALL_CLOCK) == before
