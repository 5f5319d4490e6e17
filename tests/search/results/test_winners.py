"""Where winners lie is said below each table."""

import pytest

from search import results
from tests.search import written_run


def accuracy(algorithm, held_out, seed, number, step):
    best = number == (0 if algorithm == "ERM" else 3)
    return 0.8 * best + 0.1, 0.5


def notes_of(place, rho, **search):
    """Of a run in which trial 0 is the best of ERM and trial 3 of SAM, at this end of its range."""
    data = written_run.sweep(algorithms=["ERM", "SAM"], held_out=["art_painting", "photo"])
    data["search"]["space"]["SAM"]["rho"] = rho
    data["search"] |= search
    folder = written_run.write(place / "run", data, accuracy)
    found = results.summary(results.load(folder.uri), methods=["training-domain"]).tables[0]
    return [note for note in found.notes if note.startswith("winners ")]


def test_winners_that_were_first_trials_are_counted(tmp_path):
    first, *_ = notes_of(tmp_path, {"uniform": [0, 1]})
    assert "first trial" in first
    assert first.endswith(": ERM 6 of 6")


def test_the_first_trial_of_a_later_seed_may_be_earned_and_then_does_not_count(tmp_path):
    first, *_ = notes_of(tmp_path, {"uniform": [0, 1]}, seed_reduction=3)
    assert first.endswith(": ERM 2 of 2")


@pytest.mark.parametrize(("high", "edge"), [(0.151, True), (0.4, False)])
def test_winners_at_the_edge_of_a_range_are_counted_by_hyperparameter(high, edge, tmp_path):
    """Trial 3 has a rho of 0.15."""
    _, *edges = notes_of(tmp_path, {"uniform": [0, high]})
    assert ("SAM rho 6 of 6" in "".join(edges)) == edge


def test_a_winner_over_all_seeds_counts_once(tmp_path):
    first, edge = notes_of(tmp_path, {"uniform": [0, 0.151]}, objective_over="seeds")
    assert first.endswith(": ERM 2 of 2")
    assert "SAM rho 2 of 2" in edge
