from dataclasses import replace

import pytest
from optuna.trial import TrialState

from search.driver.study_record import JUDGED, REASON, STATE, state_of
from search.run.checkpoints import TrialCheckpoints
from search.run.run_folder import RunFolder
from tests.search.play import (
    counts,
    finish,
    open_ledger,
    play,
    rows,
    said,
    small_sweep,
    states,
    stored,
)

ASHA = {"scheduler": "asha", "grace_steps": 10}


# What is handed out.


def test_the_published_setting_comes_first_and_the_sweeps_own_next(folder):
    sweep = small_sweep(
        search={
            "space": {
                "lr": {"log_uniform": [1e-5, 1e-2]},
                "weight_decay": {"uniform": [0, 1]},
                "dropout": {"choice": [0, 0.5]},
            },
            "first_trials": [{"lr": 1e-3, "rho": 0.1}, {"alpha": 0.002, "lambda": 0.5}],
        },
        algorithms=["SAGM", "DISAM"],
    )
    given = {"SAGM": [], "DISAM": []}
    ledger = open_ledger(sweep, folder)
    for _ in range(8):
        spec = ledger.next()
        given[spec.study.algorithm].append(spec.values)
    published = {"lr": 1e-3, "weight_decay": 0, "dropout": 0, "batch_size": 32, "rho": 0.05}
    assert given["SAGM"][0] == {**published, "alpha": 0.001}
    assert given["DISAM"][0] == {**published, "lambda": 0.1}
    for algorithm in given:
        assert (given[algorithm][1]["lr"], given[algorithm][1]["rho"]) == (1e-3, 0.1)
    assert given["SAGM"][2]["alpha"] == 0.002
    assert given["DISAM"][2]["lambda"] == 0.5
    # What a setting leaves out is drawn.
    assert 0 < given["SAGM"][1]["weight_decay"] < 1
    assert 0.01 <= given["SAGM"][2]["rho"] <= 0.3
    for trials in stored(folder).values():
        assert "batch_size" not in trials[0].params  # a constant is no business of Optuna's


def test_trials_go_round_the_studies_to_the_one_with_the_fewest_at_work(folder):
    sweep = small_sweep(algorithms=["ERM", "SAM", "SAGM"], search={"trials": 3})
    ledger = open_ledger(sweep, folder)
    first = [ledger.next() for _ in range(4)]
    assert [a.study.algorithm for a in first] == ["ERM", "SAM", "SAGM", "ERM"]
    finish(ledger, folder, first[2], 0.5)
    assert ledger.next().study.algorithm == "SAGM"
    finish(ledger, folder, first[0], 0.5)
    finish(ledger, folder, first[3], 0.5)
    # ERM has nobody at work, although it was asked most often.
    assert ledger.next().study.algorithm == "ERM"


def test_no_study_is_asked_for_more_than_its_budget(folder):
    sweep = small_sweep(algorithms=["ERM", "SAM"], search={"trials": 3})
    ledger = open_ledger(sweep, folder)
    assert ledger.left == 6
    assert len(play(sweep, folder, 6, ledger)) == 6
    assert ledger.left == 0
    assert ledger.next() is None
    assert all(record.done for record in ledger.records.values())
    assert open_ledger(sweep, folder).next() is None
    assert [len(trials) for trials in stored(folder).values()] == [3, 3]


def test_a_space_with_fewer_settings_than_trials_is_gone_through_once(folder):
    space = {"lr": 1e-3, "weight_decay": 0, "dropout": {"choice": [0, 0.1]}}
    sweep = small_sweep(algorithms=["ERM"], search={"trials": 9, "space": space})
    assert open_ledger(sweep, folder).left == 2
    one = small_sweep(algorithms=["ERM"], search={"space": {**space, "dropout": 0}})
    ledger = open_ledger(one, RunFolder(folder.path("one")))
    play(one, folder, 1, ledger)
    assert ledger.next() is None


# How trials end.


def test_a_completed_trial_has_its_best_value_so_far_and_all_its_reports(folder):
    ledger = open_ledger(small_sweep(search={"trials": 1}), folder)
    spec = ledger.next()
    for step, best in ((10, 0.5), (20, 0.8), (30, 0.8)):
        assert not ledger.report(spec, said(step, best))
    TrialCheckpoints(folder, spec).write({"step": 30})
    finish(ledger, folder, spec, 0.8)
    ((trial,),) = stored(folder).values()
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.8)
    assert trial.intermediate_values == {10: 0.5, 20: 0.8, 30: 0.8}
    assert state_of(trial) == "completed"
    assert counts(ledger) == {"SAGM": {"completed": 1}}
    assert ledger.records[spec.study.id].best == 0.8
    assert TrialCheckpoints(folder, spec).read() is None


def test_a_pruned_trial_keeps_the_report_that_decided_and_leaves_a_row(folder):
    ledger = open_ledger(small_sweep(search={"trials": 2, **ASHA}), folder)
    good, bad = ledger.next(), ledger.next()
    assert not ledger.report(good, said(10, 0.9))
    assert ledger.report(bad, said(10, 0.3))
    TrialCheckpoints(folder, bad).write({"step": 10})
    ledger.prune(bad)
    trial = stored(folder)[bad.study.id][1]
    assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {10: 0.3})
    assert trial.user_attrs == {
        JUDGED: [10, True],
        STATE: "pruned",
        REASON: "asha: behind other trials at step 10",
    }
    row = rows(folder)[bad.trial]
    assert (row["state"], row["steps"], row["objective"]) == ("pruned", 10, 0.3)
    assert row["reason"] == trial.user_attrs[REASON]
    assert row["hp_rho"] == bad.values["rho"]
    assert row["seconds"] == pytest.approx(1.0)
    assert not ledger.is_running(bad)
    assert ledger.is_running(good)
    assert TrialCheckpoints(folder, bad).read() is None


@pytest.mark.parametrize("compare_at", ["steps", "passes"])
def test_the_last_report_of_a_trial_never_prunes_it(folder, compare_at):
    """It has done all there is to do; a worse one that came to its end is worth its row."""
    asha = {"scheduler": "asha", "grace_steps": 20, "compare_at": compare_at}  # a rung at 60 steps
    ledger = open_ledger(small_sweep(search={"trials": 2, **asha}), folder)
    good, bad = ledger.next(), ledger.next()
    assert not ledger.report(good, replace(said(90, 0.9), passes=180))
    assert not ledger.report(bad, replace(said(90, 0.3), passes=180))


def test_a_diverged_trial_is_pruned_to_optuna_and_diverged_to_us(folder):
    ledger = open_ledger(small_sweep(search={"trials": 2}), folder)
    early, late = ledger.next(), ledger.next()
    why = "the loss stopped being finite"
    ledger.report(late, said(10, 0.4))
    for spec, value in ((early, None), (late, 0.4)):
        finish(ledger, folder, spec, value, "diverged", reason=why)
    for trial in stored(folder)[early.study.id]:
        assert trial.state == TrialState.PRUNED
        assert trial.user_attrs == {STATE: "diverged", REASON: why}
        assert state_of(trial) == "diverged"
    assert counts(ledger) == {"SAGM": {"diverged": 2}}
    assert ledger.records[early.study.id].best is None


def test_a_failed_trial_is_failed_with_its_reason_and_costs_a_place_of_the_budget(folder):
    ledger = open_ledger(small_sweep(search={"trials": 2}), folder)
    before, after = ledger.next(), ledger.next()
    ledger.report(after, said(10, 0.4))
    ledger.fail(before, "RuntimeError: no images")
    ledger.fail(after, "RuntimeError: no images")
    trials = stored(folder)[before.study.id]
    assert states(trials) == ["FAIL", "FAIL"]
    assert [trial.user_attrs[REASON] for trial in trials] == ["RuntimeError: no images"] * 2
    found = rows(folder)
    assert found[before.trial]["state"] == found[after.trial]["state"] == "failed"
    assert found[after.trial]["steps"] == 10
    assert found[before.trial]["steps"] is not found[after.trial]["steps"]
    assert ledger.next() is None


def test_a_trial_that_is_lost_is_handed_out_again_before_anything_new(folder):
    ledger = open_ledger(small_sweep(search={"trials": 3, "max_failures": 2}), folder)
    first = ledger.next()
    ledger.report(first, said(10, 0.5))
    for _ in range(2):
        ledger.lose(first, "its worker process died", counts=True)
        assert not ledger.is_running(first)
        assert ledger.next() == first
    for _ in range(5):  # what was done to its node is not counted
        ledger.lose(first, "its node went away", counts=False)
        assert ledger.next() == first
    ledger.lose(first, "its worker process died", counts=True)
    row = rows(folder)[first.trial]
    assert (row["state"], row["reason"]) == ("failed", "its worker process died")
    assert (row["steps"], row["objective"]) == (10, 0.5)  # as far as it had come
    assert ledger.next().number == 1


@pytest.mark.parametrize(
    ("objective", "second"),
    [("training-domain", None), (["training-domain", "worst-source-domain"], 0.4)],
    ids=["one objective", "two"],
)
def test_a_trial_that_came_further_between_its_failures_may_fail_again_and_again(
    folder, objective, second
):
    sweep = small_sweep(search={"trials": 1, "max_failures": 1, "objective": objective})
    ledger = open_ledger(sweep, folder)
    spec = ledger.next()
    for known in ((10,), (10, 20), (10, 20, 30)):
        for step in known:
            ledger.report(spec, replace(said(step, 0.5), second=second))
        ledger.lose(spec, "its worker process died", counts=True)
        assert ledger.next() == spec
    ledger.report(spec, replace(said(30, 0.5), second=second))  # nothing new
    ledger.lose(spec, "its worker process died", counts=True)
    assert rows(folder)[spec.trial]["state"] == "failed"


def test_failures_are_counted_over_drivers(folder):
    sweep = small_sweep(search={"trials": 1, "max_failures": 1})
    ledger = open_ledger(sweep, folder)
    ledger.lose(ledger.next(), "RuntimeError: no images", counts=True)
    resumed = open_ledger(sweep, folder)
    spec = resumed.next()
    resumed.lose(spec, "RuntimeError: no images", counts=True)
    assert rows(folder)[spec.trial]["state"] == "failed"
