from dataclasses import replace

import pytest

from search.driver import cleanup
from search.run import tables
from search.run.run_folder import EVALUATIONS, TRIALS, RunFolder
from search.study.resolved_sweep import differences
from tests.search.play import (
    finish,
    open_ledger,
    play,
    quality,
    said,
    small_sweep,
    stored,
    write_row,
)

# A trial that is carried out to its end takes 9 s and 540 passes.
SECONDS, PASSES = 9.0, 540.0


def sweep_with(**search):
    return small_sweep(algorithms=["ERM", "SAM"], search={"trials": 4, **search})


def costing(passes, *what):
    return replace(said(*what), passes=passes)


def spend(sweep, folder, ledger=None):
    """Carries out trials one after the other until there are no more; how many there were."""
    ledger = ledger or open_ledger(sweep, folder)
    count = 0
    while (spec := ledger.next()) is not None:
        end = costing(PASSES, 90, quality(spec.values), "completed")
        write_row(folder, spec, end)
        ledger.finish(spec, end)
        count += 1
    assert ledger.left == 0
    return count


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


@pytest.mark.parametrize("last", range(4))
def test_making_parts_again_may_be_cut_off_anywhere(folder, monkeypatch, last):
    sweep = sweep_with(budget={"trials": 4})
    spend(sweep, folder)
    (study, _) = open_ledger(sweep, folder).records
    for number in range(2):
        tables.write_evaluations(folder, "played", study, f"{study}.{number}", [EVALUATION])
    cleanup.merge(folder, study, [f"{study}.0", f"{study}.1"])
    before = tables.read_trials(folder), tables.read_evaluations(folder)
    left = iter(range(last))

    def dying(do):
        def once(*given):
            if next(left, None) is None:
                raise KeyboardInterrupt
            do(*given)

        return once

    with monkeypatch.context() as patched:
        patched.setattr(folder, "write_bytes", dying(folder.write_bytes))
        patched.setattr(folder, "delete", dying(folder.delete))
        with pytest.raises(KeyboardInterrupt):
            cleanup.unmerge(folder, study)
    assert tables.read_trials(folder).equals(before[0])
    assert tables.read_evaluations(folder).equals(before[1])
    cleanup.unmerge(folder, study)
    assert f"{study}.parquet" not in folder.list(TRIALS) + folder.list(EVALUATIONS)
    assert tables.read_trials(folder).equals(before[0])
    assert tables.read_evaluations(folder).equals(before[1])


EVALUATION = {
    "step": 90, "weights": "iterate", "domain": "15", "role": "source", "split": "out",
    "accuracy": 0.5, "loss": 1.0, "count": 9, "seconds": 1.0,
}  # fmt: skip


def test_budgets_may_differ_from_those_a_run_was_launched_with():
    larger = sweep_with(budget={"trials": 5}, study_budget={"passes": 10})
    assert differences(larger, sweep_with(budget={"trials": 3})) == []
    other = sweep_with(terminator="stagnation", patience=1, sampler="random")
    assert len(differences(other, sweep_with())) == 2
