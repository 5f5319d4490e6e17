import pyarrow.parquet as pq
import pytest

from search import results
from search.run.run_folder import RunFolder
from search.run.wall_clock import WALL_CLOCK
from tests.search import written_run

RESOURCES = {"cpu": 2.0, "gpu": 0.5, "memory": None}


def notes_of(folder):
    """Those of the table of a run."""
    return written_run.without_winners(results.summary(results.load(folder.uri)).tables[0].notes)


def written(place, trials=4, unfinished=(), **search):
    """A run of 12 studies whose trials take 20 s each."""
    domains = ["art_painting", "cartoon", "photo", "sketch"]
    data = written_run.sweep(
        held_out=domains, seeds=[0], search={"trials": 4, **search}, resources=RESOURCES
    )
    return written_run.write(place / "run", data, trials=trials, unfinished=unfinished)


def test_a_run_within_its_budget_has_nothing_to_say(tmp_path):
    limits = {"gpu_hours": 1.0, "trials": 70, "passes": None}
    assert notes_of(written(tmp_path, budget=limits, study_budget={"passes": None})) == ()


def test_what_ended_a_run_is_said_with_what_was_spent_and_who_had_how_many_trials(tmp_path):
    budget = {"trials": 24, "gpu_hours": 0.05, "passes": 9}
    assert notes_of(written(tmp_path, trials=2, unfinished=["SAM"], budget=budget)) == (
        "run: ended by its budget, search.budget.gpu_hours: 0.06667 of 0.05 spent",
        "run: ended by its budget, search.budget.trials: 24 of 24 spent",
        "run: trials per study, 4 asked for: ERM 2, SAM 2, SAGM 2",
    )


def test_of_seeds_that_are_earned_only_the_first_was_asked_for_all_trials(tmp_path):
    folder = written(tmp_path, trials=2, budget={"trials": 24}, seed_reduction=2)
    asked = "run: trials per study, 4 asked for of the first seed: ERM 2, SAM 2, SAGM 2"
    assert asked in notes_of(folder)


def test_hours_on_the_wall_are_those_of_the_drivers(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_bytes(WALL_CLOCK, b'{"seconds": 7200}')
    assert notes_of(written(tmp_path, budget={"wall_hours": 2.5})) == ()
    assert results.load(folder.uri).runs["run"].budget[0].spent == pytest.approx(2)
    folder.write_bytes(WALL_CLOCK, b'{"seconds": 9000}')
    ended = "run: ended by its budget, search.budget.wall_hours: 2.5 of 2.5 spent"
    assert notes_of(folder) == (ended,)


def test_studies_that_stopped_are_counted_without_those_that_go_on(tmp_path):
    folder = written(tmp_path, terminator="stagnation", unfinished=["SAGM"])
    assert notes_of(folder) == ("not final: 4 of 12 studies have not ended",)
    path = folder.path(f"trials/{folder.list('trials')[0]}")
    pq.write_table(pq.read_table(path).slice(0, 3), path)
    assert notes_of(folder) == (
        "not final: 4 of 12 studies have not ended",
        "run: trials per study, 4 asked for (search.terminator): ERM 3 to 4, SAM 4",
    )
