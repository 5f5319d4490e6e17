"""An algorithm's name may say which average of the weights is its result."""

import pytest

from search.space.algorithm_names import averaging, parts, split
from search.study.plan import plans
from search.study.study import studies
from search.study.study_space import column_types, study_space
from tests.search.play import first_settings, small_sweep


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("ERM", ("ERM", None)),
        ("SWAD", ("ERM", "swad")),
        ("DISAM+SAGM", ("DISAM+SAGM", None)),
        ("DISAM+SAGM+SWAD", ("DISAM+SAGM", "swad")),
        ("SWA+SAM", ("SAM", "swa")),
        ("GGA+EMA", ("GGA", "ema")),
        ("ERM++", ("ERM", "erm++")),
        ("SAGM+ERM++", ("SAGM", "erm++")),
        ("ERM+++DISAM+SAM", ("DISAM+SAM", "erm++")),
    ],
)
def test_a_name_is_an_update_and_perhaps_an_average(name, meaning):
    assert split(name) == meaning
    assert averaging(name, "none") == (meaning[1] or "none")


def test_trials_of_ermpp_start_from_a_linear_probe_and_those_of_others_as_the_sweep_says():
    sweep = small_sweep(algorithms=["SMA", "SAM+ERM++"], training={"steps": 600})
    found = {plan.study.algorithm: plan for plan in plans(sweep).values()}
    runs = {name: plan.trial(0, {"ermpp_start": 99}).run for name, plan in found.items()}

    assert (runs["SMA"].start, runs["SMA"].averaging) == ("model", "sma")
    assert (runs["SAM+ERM++"].start, runs["SAM+ERM++"].start_steps) == ("linear-probe", 501)
    assert (runs["SAM+ERM++"].algorithm, runs["SAM+ERM++"].averaging) == ("SAM", "erm++")
    assert found["SAM+ERM++"].space["ermpp_start"].value == 99


def test_a_name_without_an_average_has_the_sweeps():
    assert averaging("SAGM", "ema") == "ema"
    assert averaging("SAGM+SWAD", "ema") == "swad"
    assert parts("DISAM+SWAD") == ("DISAM", "SAM")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("SWAD+EMA", "has two averages, SWAD and EMA; keep one"),
        ("SWAD+SWAD", "has two averages, SWAD and SWAD; keep one"),
        ("ERM+SWAD", "'ERM' in 'ERM\\+SWAD' is the update without any part; leave it out"),
        ("SAGM+erm++", "unknown algorithm 'erm\\+\\+' in .*; did you mean ERM\\+\\+\\?"),
        ("SAGM+swad", "unknown algorithm 'swad' in 'SAGM.*; did you mean SWAD\\?"),
        ("ERM_PP", "did you mean ERM\\+\\+\\?"),
        ("SAGM+ERMplusplus", "did you mean ERM\\+\\+\\?"),
        ("ERM+", "nothing on one side of a \\+; did you mean ERM\\+\\+\\?"),
    ],
)
def test_a_name_that_means_nothing_is_refused(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        split(name)


def test_a_named_average_runs_as_that_of_the_whole_sweep_does():
    named = small_sweep(algorithms=["SAGM+SWAD"])
    of_all = small_sweep(algorithms=["SAGM"], training={"averaging": "swad"})
    assert study_space(named, "SAGM+SWAD") == study_space(of_all, "SAGM")
    assert first_settings(named, "SAGM+SWAD") == first_settings(of_all, "SAGM")
    assert column_types(named) == column_types(of_all)
    (here,), (there,) = studies(named), studies(of_all)
    assert here.id == "RotatedDigits.mlp.SAGM+SWAD.0.0"
    values = {"lr": 1e-3}
    run = plans(named)[here.id].trial(0, values).run
    assert (run.algorithm, run.averaging) == ("SAGM", "swad")
    assert run == plans(of_all)[there.id].trial(0, values).run


def test_beside_it_an_algorithm_without_one_is_not_averaged():
    mine = small_sweep(algorithms=["ERM", "SWAD"], search={"space": {"lr": 1e-3}})
    assert [plans(mine)[s.id].trial(0, {}).run.averaging for s in studies(mine)] == ["none", "swad"]
    assert "swad_ratio" not in study_space(mine, "ERM")
    assert "swad_ratio" in study_space(mine, "SWAD")
