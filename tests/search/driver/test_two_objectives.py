"""A study with two objectives: what Optuna is told, and what a resume restores."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from optuna.trial import TrialState

from search.driver.study_record import state_of
from search.run.run_folder import RunFolder
from search.study.samplers import ONE_OBJECTIVE
from search.sweep.search_keys import Search
from tests.search.play import (
    finish,
    open_ledger,
    quality,
    rows,
    said,
    small_sweep,
    stored,
    write_row,
)

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


def values_of(spec):
    value = quality(spec.values)
    return [value, 1 - value**2]


def finish_next(ledger, folder, state="completed"):
    spec = ledger.next()
    ledger.report(spec, replace(said(10, 0.1), second=0.2))
    value, second = values_of(spec)
    finish(ledger, folder, spec, value, state, second=second)
    return spec


def test_optuna_and_the_table_have_both_values_of_a_trial(folder):
    spec = finish_next(open_ledger(sweep_of(), folder), folder)
    ((trial,),) = stored(folder).values()
    values = values_of(spec)
    assert (trial.state, trial.values) == (TrialState.COMPLETE, values)
    row = rows(folder)[spec.trial]
    assert [row["objective"], row["objective_2"]] == values
    # Samplers would take a report for the value of a study with one objective.
    assert [math.isnan(value) for value in trial.intermediate_values.values()] == [True]


@pytest.mark.parametrize("died", ["driver", "worker"])
def test_a_trial_that_wrote_its_row_has_both_values_whoever_died_then(folder, died):
    sweep = sweep_of(max_failures=0)
    ledger = open_ledger(sweep, folder)
    spec = ledger.next()
    value, second = values_of(spec)
    write_row(folder, spec, replace(said(90, value, "completed"), second=second))
    if died == "driver":
        ledger = open_ledger(sweep, folder)
    else:
        ledger.lose(spec, "its worker process died", counts=True)
    ((trial,),) = stored(folder).values()
    assert (state_of(trial), trial.values) == ("completed", [value, second])
    assert rows(folder)[spec.trial]["state"] == "completed"
    assert ledger.records[spec.study.id].ranked == [(value, 0)]


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
                spec = finish_next(ledger, folder, state)
            values.append(dict(spec.values))
        found.append(values)
        (trials,) = stored(folder).values()
        states = [trial.state.name for trial in trials[:8]]
        assert states == ["COMPLETE", "PRUNED", "FAIL", *["COMPLETE"] * 3, "PRUNED", "COMPLETE"]
    assert found[0] == found[1]
