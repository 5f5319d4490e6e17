from dataclasses import replace

import pytest

from search.run import tables
from search.run.run_folder import TRIALS, RunFolder
from search.study.resolved_sweep import differences
from tests.search.play import finish, open_ledger, play, play_out, said, small_sweep, stored

# A trial that is carried out to its end takes 9 s and 540 passes.
SECONDS, PASSES = 9.0, 540.0


def sweep_with(**search):
    return small_sweep(algorithms=["ERM", "SAM"], search={"trials": 4, **search})


def costing(passes, *what):
    return replace(said(*what), passes=passes)


def spend(sweep, folder):
    """How many trials a driver carries out until there are no more."""
    ledger = open_ledger(sweep, folder)
    trials = play_out(ledger, folder, passes=PASSES)
    assert ledger.left == 0
    return len(trials)


@pytest.mark.parametrize(
    ("budget", "trials"),
    [
        ({"trials": 3}, 3),
        ({"passes": 3 * PASSES}, 3),
        ({"passes": 3 * PASSES + 1}, 4),
        ({"cpu_hours": 2 * 3 * SECONDS / 3600 - 1e-6}, 3),
        ({"gpu_hours": 0.5 * 5 * SECONDS / 3600 - 1e-6, "trials": 6}, 5),
    ],
)
def test_a_sweep_hands_out_no_more_once_its_budget_is_spent(folder, budget, trials):
    sweep = small_sweep(
        algorithms=["ERM", "SAM"], search={"budget": budget}, resources={"cpu": 2, "gpu": 0.5}
    )
    assert spend(sweep, folder) == trials
    assert spend(sweep, folder) == 0  # another driver, that knows what is in the tables


def test_what_each_study_may_spend_leaves_the_others_theirs(folder):
    sweep = sweep_with(study_budget={"passes": 2 * PASSES})
    assert spend(sweep, folder) == 4
    assert [len(trials) for trials in stored(folder).values()] == [2, 2]
    ledger = open_ledger(sweep, folder)
    assert all(record.done for record in ledger.records.values())
    assert folder.list(TRIALS) == [f"{study}.parquet" for study in ledger.records]


def test_trials_at_work_count_with_what_they_said_last_and_end_as_they_would(folder):
    sweep = sweep_with(budget={"passes": 500})
    ledger = open_ledger(sweep, folder)
    first, second = ledger.next(), ledger.next()
    assert ledger.next() is not None
    ledger.report(first, costing(400, 10, 0.5))
    ledger.report(second, costing(100, 10, 0.5))
    assert ledger.next() is None
    assert ledger.left == 0
    assert not any(record.done for record in ledger.records.values())  # they are at work
    ledger.lose(first, "its node went away", counts=False)
    assert ledger.next() == first  # it had begun
    resumed = open_ledger(sweep, folder)
    assert [resumed.next() for _ in range(3)].count(None) == 0
    assert resumed.next() is not None  # what was not written is not spent


def test_pruned_and_failed_trials_cost_what_their_rows_say(folder):
    sweep = sweep_with(budget={"passes": 600})
    ledger = open_ledger(sweep, folder)
    pruned, failed = ledger.next(), ledger.next()
    for spec in (pruned, failed):
        ledger.report(spec, costing(300, 10, 0.5))
    ledger.prune(pruned)
    ledger.fail(failed, "no")
    assert ledger.next() is None
    assert open_ledger(sweep, folder).next() is None


def test_a_larger_budget_goes_on_as_if_there_had_been_no_smaller(folder, tmp_path):
    whole = sweep_with()
    play(whole, RunFolder(tmp_path / "whole"), 8)
    folder = RunFolder(tmp_path / "by steps")
    for trials, more in ((3, 3), (4, 1), (7, 3)):
        assert spend(sweep_with(budget={"trials": trials}), folder) == more
        open_ledger(sweep_with(budget={"trials": trials}), folder)
        assert len(tables.read_trials(folder)) == trials
    assert spend(whole, folder) == 1
    same = ["study", "number", "state", "objective", "hp_lr", "hp_rho"]
    expected = tables.read_trials(RunFolder(tmp_path / "whole"))[same]
    assert tables.read_trials(folder)[same].equals(expected)


def test_the_tables_of_studies_that_a_budget_ended_become_parts_again(folder):
    sweep = sweep_with(budget={"trials": 5})
    spend(sweep, folder)
    ledger = open_ledger(sweep, folder)
    erm, sam = ledger.records
    assert folder.list(TRIALS) == [f"{erm}.parquet", f"{sam}.parquet"]
    before = tables.read_trials(folder)
    ledger = open_ledger(sweep_with(), folder)
    spec = ledger.next()
    assert spec.trial == f"{sam}.2"
    assert folder.list(TRIALS) == [f"{erm}.parquet", f"{sam}.0.parquet", f"{sam}.1.parquet"]
    assert tables.read_trials(folder).equals(before)
    finish(ledger, folder, spec, 0.5)
    assert len(tables.read_trials(folder)) == 6


def test_budgets_may_differ_from_those_a_run_was_launched_with():
    larger = sweep_with(budget={"trials": 5}, study_budget={"passes": 10})
    assert differences(larger, sweep_with(budget={"trials": 3})) == []
    other = sweep_with(terminator="stagnation", patience=1, sampler="random")
    assert len(differences(other, sweep_with())) == 2
