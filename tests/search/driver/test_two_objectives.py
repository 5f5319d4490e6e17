"""A study with two objectives: what Optuna is told, and what a resume restores."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from optuna.trial import TrialState

from search.driver.ledger import Ledger
from search.driver.study_record import state_of
from search.run.run_folder import RunFolder
from search.study.samplers import ONE_OBJECTIVE
from search.sweep.search_keys import Search
from tests.search.play import open_ledger, quality, rows, said, small_sweep, stored, write_row

TWO = ["training-domain", "worst-source-domain"]
SAMPLERS = [
    name
    for name in Search.model_json_schema()["properties"]["sampler"]["enum"]
    if name not in ONE_OBJECTIVE
]


def sweep_of(**search):
    """Without a scheduler, which is the default of two objectives."""
    sweep = small_sweep(search={"objective": TWO, "trials": 12, **search})
    assert sweep.search.scheduler == "none"
    return sweep


def end_of(spec, state="completed"):
    value = quality(spec.values)
    return replace(said(90, value, state), second=1 - value**2)


def finish_next(ledger: Ledger, sweep, folder, state="completed"):
    spec = ledger.next()
    end = end_of(spec, state)
    ledger.report(spec, replace(said(10, 0.1), second=0.2))
    write_row(folder, spec, end)
    ledger.finish(spec, end)
    return spec


def test_optuna_and_the_table_have_both_values_of_a_trial(tmp_path):
    folder, sweep = RunFolder(tmp_path), sweep_of()
    ledger = open_ledger(sweep, folder)
    spec = finish_next(ledger, sweep, folder)
    ((trial,),) = stored(folder).values()
    values = list(end_of(spec).values)
    assert (trial.state, trial.values) == (TrialState.COMPLETE, values)
    row = rows(folder)[spec.trial]
    assert [row["objective"], row["objective_2"]] == values
    # Samplers would take a report for the value of a study with one objective.
    assert [math.isnan(value) for value in trial.intermediate_values.values()] == [True]


def test_a_trial_that_wrote_its_row_before_the_driver_died_has_both_values_too(tmp_path):
    folder, sweep = RunFolder(tmp_path), sweep_of()
    spec = open_ledger(sweep, folder).next()
    end = end_of(spec)
    write_row(folder, spec, end)
    ledger = open_ledger(sweep, folder)
    ((trial,),) = stored(folder).values()
    assert (state_of(trial), trial.values) == ("completed", list(end.values))
    assert ledger.records[spec.study.id].ranked == [(end.value, 0)]


def test_a_worker_that_died_after_its_row_has_told_both_values(tmp_path):
    folder, sweep = RunFolder(tmp_path), sweep_of()
    ledger = open_ledger(sweep, folder)
    spec = ledger.next()
    write_row(folder, spec, end_of(spec))
    ledger.lose(spec, "its worker process died", counts=True)
    ((trial,),) = stored(folder).values()
    assert trial.values == list(end_of(spec).values)


def test_a_trial_that_comes_further_may_fail_again(tmp_path):
    folder, sweep = RunFolder(tmp_path), sweep_of(max_failures=1)
    ledger = open_ledger(sweep, folder)
    spec = ledger.next()
    for step in (10, 20, 30):
        assert not ledger.report(spec, replace(said(step, 0.5), second=0.5))
        ledger.lose(spec, "its worker process died", counts=True)
        assert ledger.next() == spec
    ledger.lose(spec, "its worker process died", counts=True)
    assert rows(folder)[spec.trial]["state"] == "failed"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_goes_on_after_diverged_and_failed_trials_whatever_restarts(
    sampler, tmp_path
):
    space = {"weight_decay": 0, "dropout": 0}
    if sampler == "grid":
        values = {"choice": [0.1, 0.2, 0.3]}
        space |= {"lr": 1e-3, "rho": values, "alpha": values}
    sweep = sweep_of(sampler=sampler, space=space)
    found = []
    for restarts in (False, True):
        folder = RunFolder(tmp_path / str(restarts))
        ledger = open_ledger(sweep, folder)
        values = []
        for number in range(8):
            ledger = open_ledger(sweep, folder) if restarts else ledger
            if number == 2:
                spec = ledger.next()
                ledger.report(spec, replace(said(10, 0.1), second=0.2))
                ledger.fail(spec, "RuntimeError: no images")
            else:
                state = "diverged" if number in (1, 6) else "completed"
                spec = finish_next(ledger, sweep, folder, state)
            values.append(dict(spec.values))
        found.append(values)
        (trials,) = stored(folder).values()
        states = [trial.state.name for trial in trials[:8]]
        assert states == ["COMPLETE", "PRUNED", "FAIL", *["COMPLETE"] * 3, "PRUNED", "COMPLETE"]
    assert found[0] == found[1]
