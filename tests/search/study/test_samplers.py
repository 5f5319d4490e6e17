import json
import logging
import math
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import optuna
import pytest
from optuna.samplers import TPESampler

import search
from search.checks.load_sweep import sweep_of as sweep_of_run
from search.run import manifest, tables
from search.run.run_folder import RunFolder
from search.space.ranges import contains
from search.study import samplers
from search.study.plan import plans
from search.study.samplers import SharedDraws
from search.study.study_space import study_space
from search.sweep.search_keys import Search
from tests.search.play import open_ledger, play, quality, small_sweep

CHECKOUT = Path(search.__file__).parent.parent
SAMPLERS = get_args(Search.model_fields["sampler"].annotation)
MODELLED = [name for name in SAMPLERS if name != "grid"]

# An interval of each kind, choices of both types and a constant.
SPACE = {
    "lr": {"log_uniform": [1e-4, 1e-2]},
    "weight_decay": {"uniform": [0.0, 0.1]},
    "batch_size": {"log_int": [4, 64]},
    "dropout": {"choice": [0, 0.25, 0.5]},
    "rho": {"log_uniform": [0.01, 0.5]},
    "neighborhood": 1e-5,
    "search_steps": {"int_uniform": [2, 9]},
    "start": {"choice": [0, 10, 20]},
    "length": 5,
    "tolerance": {"uniform": [0.1, 0.2]},
}
POINTS = {
    "lr": {"choice": [1e-4, 1e-3, 1e-2]},
    "weight_decay": 0,
    "dropout": {"choice": [0, 0.5]},
    "rho": {"choice": [0.05, 0.1]},
}


def sweep_of(sampler, trials=16, **changes):
    """At least four trials at random, then the sampler's model."""
    space, algorithm = (POINTS, "SAM") if sampler == "grid" else (SPACE, "GGA+SAM")
    search = {"sampler": sampler, "trials": trials, "space": space, **changes.pop("search", {})}
    return small_sweep(algorithms=[algorithm], search=search, **changes)


# The model of cmaes is one of generations: of nine trials with these ranges, after the four. That
# of gp takes long.
PLAYED = dict.fromkeys(SAMPLERS, 9) | {"cmaes": 15, "gp": 5}


def play_new(sampler, folder):
    return play(sweep_of(sampler), RunFolder(folder), PLAYED[sampler])


def play_with_restarts(sampler, folder):
    """A new driver for each trial."""
    return [
        spec
        for _ in range(PLAYED[sampler])
        for spec in play(sweep_of(sampler), RunFolder(folder), 1)
    ]


def suggested(specs):
    return [dict(spec.values) for spec in specs]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """By sampler: what one driver suggested."""
    return {
        sampler: suggested(play_new(sampler, tmp_path_factory.mktemp(sampler)))
        for sampler in SAMPLERS
    }


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_suggestion_lies_in_its_range_and_has_its_type(sampler, played):
    sweep = sweep_of(sampler)
    space = study_space(sweep, sweep.algorithms[0])
    for values in played[sampler]:
        assert values.keys() == space.keys()
        for name, value in values.items():
            assert contains(space[name], value), (name, value)
            whole = name in ("batch_size", "search_steps", "start", "length")
            assert type(value) is (int if whole else float), (name, value)


def test_another_process_that_restarts_before_every_trial_suggests_the_same(played, tmp_path):
    """Python hashes text differently in each process; nothing may hang on that."""
    code = """
import json, os, sys
os.fsync = lambda descriptor: None
from tests.search.study.test_samplers import SAMPLERS, play_with_restarts, suggested
found = {s: suggested(play_with_restarts(s, f"{sys.argv[1]}/{s}")) for s in SAMPLERS}
print(json.dumps(found))
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert json.loads(subprocess.check_output(command, cwd=CHECKOUT)) == played


@pytest.mark.parametrize("sampler", MODELLED)
def test_the_history_changes_what_a_model_suggests(sampler, played, tmp_path, monkeypatch):
    """And nothing else does: a random or quasi-random study is not moved by results."""
    monkeypatch.setattr("tests.search.play.quality", lambda values: 1 - quality(values))
    other = suggested(play_new(sampler, tmp_path))
    known = played[sampler]
    assert other[:4] == known[:4]  # before the model is used
    assert (other == known) == (sampler in ("random", "qmc"))


@pytest.mark.parametrize("sampler", MODELLED)
def test_no_trial_comes_twice_also_across_restarts(sampler, played):
    values = played[sampler]
    assert len({json.dumps(v) for v in values}) == len(values)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_of_single_values_each_setting_comes_once_also_across_restarts(sampler, tmp_path):
    search = {"sampler": sampler, "trials": 40, "space": POINTS}
    folder, sweep = RunFolder(tmp_path), small_sweep(algorithms=["SAM"], search=search)
    ledger = open_ledger(sweep, folder)
    assert ledger.left == 12  # no more than there are points
    values = suggested(play(sweep, folder, 5, ledger))
    values += suggested(play(sweep, folder, 7))
    assert len({json.dumps(v) for v in values}) == 12
    assert open_ledger(sweep, folder).next() is None
    # Cut short, a grid is no corner of it.
    assert len({v["lr"] for v in values[:6]}) > 1


RANDOM_PHASE = [name for name in MODELLED if name != "qmc"]


def drawn(plan, count=4):
    """The first suggestions of a study's sampler, without those that are queued."""
    study, found = optuna.create_study(), []
    for number in range(count):
        trial = study.ask()
        study.sampler = samplers.build(plan.search.sampler, plan, number)
        found.append({name: samplers.suggest(trial, name, r) for name, r in plan.space.items()})
        study.tell(trial, 0.5)
    return found


@pytest.mark.parametrize("sampler", RANDOM_PHASE)
def test_all_algorithms_held_out_domains_and_seeds_draw_the_same_at_random(sampler):
    space = {**SPACE, "alpha": {"uniform": [0.1, 0.2]}, "SAGM": {"lr": {"log_uniform": [1e-3, 1]}}}
    names = ["ERM", "SAM", "GGA+SAM", "SAGM"]
    search = {"sampler": sampler, "trials": 8, "space": space}
    sweep = small_sweep(algorithms=names, held_out=["0", "75"], seeds=[0, 1], search=search)
    found = {}
    for plan in plans(sweep).values():
        found.setdefault(plan.study.algorithm, []).append(drawn(plan))
    assert all(those == [those[0]] * 4 for those in found.values())
    for erm, sam, gga, sagm in zip(*(found[name][0] for name in names), strict=True):
        assert erm.items() <= sam.items()
        assert sam.items() <= gga.items()
        # Another range is drawn at the same quantile: here from 1e-3 to 1, not 1e-4 to 1e-2.
        assert math.log10(sagm["lr"]) + 3 == pytest.approx(1.5 * (math.log10(sam["lr"]) + 4))
        assert all(sagm[name] == sam[name] for name in sam if name != "lr")
    assert len({values["lr"] for values in found["ERM"][0]}) == 4
    other, *_ = plans(small_sweep(algorithms=names, search={**search, "seed": 1})).values()
    assert drawn(other)[0]["lr"] != found["ERM"][0][0]["lr"]


def test_draws_are_spread_over_their_ranges():
    """A thousand trials: each tenth of an interval, and each value of a choice, about as often."""
    (plan,) = plans(sweep_of("random")).values()
    spaced = ("lr", "rho", "weight_decay", "dropout", "search_steps")
    space = {name: samplers.distribution(plan.space[name]) for name in spaced}
    draws = [
        {
            name: SharedDraws(0).sample_independent(None, SimpleNamespace(number=n), name, range_)
            for name, range_ in space.items()
        }
        for n in range(1000)
    ]
    for name in ("lr", "rho", "weight_decay"):
        low, high, log = space[name].low, space[name].high, space[name].log
        scale = math.log if log else float
        where = [(scale(d[name]) - scale(low)) / (scale(high) - scale(low)) for d in draws]
        counts = Counter(int(10 * unit) for unit in where)
        assert all(60 < counts[tenth] < 140 for tenth in range(10))
    assert all(250 < count < 420 for count in Counter(d["dropout"] for d in draws).values())
    assert {d["search_steps"] for d in draws} == set(range(2, 10))
    # Names are drawn apart from each other.
    assert abs(statistics.correlation(*([d[k] for d in draws] for k in ("lr", "rho")))) < 0.1


def test_a_run_of_an_earlier_commit_draws_as_it_did(tmp_path):
    """What its studies tried is in its table of trials."""
    earlier = RunFolder(CHECKOUT / "tests/search/earlier_run/undisturbed")
    tried = tables.read_trials(earlier).set_index("trial")
    sweep = sweep_of_run(earlier)
    assert sweep.searches_as_before
    specs = play(sweep, RunFolder(tmp_path), len(tried))
    for spec in specs:
        # Its commit also drew what was published outside of a range, for trial 0.
        for name, value in spec.values.items() if spec.number else ():
            assert tried[f"hp_{name}"][spec.trial] == value
    assert not sweep_of("random").searches_as_before
    new = RunFolder.create(str(tmp_path / "new"))
    manifest.record(new, [])
    assert not manifest.searches_as_before(new)


def test_a_quasi_random_study_is_one_sequence_whatever_the_restarts(tmp_path):
    """Eight consecutive points of a scrambled Sobol sequence: one in each eighth of an axis."""
    axis, choice = {"uniform": [0.1, 0.9]}, {"choice": [0, 0.5]}
    space = {"lr": axis, "rho": axis, "weight_decay": 0, "dropout": choice}
    search = {"sampler": "qmc", "trials": 9, "space": space}
    sweep = small_sweep(algorithms=["SAM"], search=search)
    values = []
    for count in (1, 2, 3, 3):
        values += suggested(play(sweep, RunFolder(tmp_path), count))
    points = values[1:]  # the first has the published setting
    for name in ("lr", "rho"):
        assert sorted(int((v[name] - 0.1) * 10) for v in points) == list(range(8))
    assert sorted(v["dropout"] for v in points) == [0] * 4 + [0.5] * 4


@pytest.mark.parametrize("method", ["sample_relative", "sample_independent"])
def test_a_sampler_that_fails_is_replaced_by_chance_and_the_sweep_goes_on(
    method, tmp_path, monkeypatch, caplog
):
    def fail(*args, **kwargs):
        raise RuntimeError("the matrix is singular")

    monkeypatch.setattr(TPESampler, method, fail)
    # Steppe's logger does not propagate once a sweep has been launched in this process.
    monkeypatch.setattr(logging.getLogger("steppe"), "propagate", True)
    sweep = sweep_of("tpe")
    values = suggested(play(sweep, RunFolder(tmp_path), 6))
    space = study_space(sweep, "GGA+SAM")
    assert all(contains(space[name], v) for one in values for name, v in one.items())
    assert len({v["tolerance"] for v in values}) == 6
    assert "the matrix is singular" in caplog.text
    assert "at random" in caplog.text


def test_a_disk_that_fails_is_no_failing_sampler(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(TPESampler, "sample_independent", fail)
    with pytest.raises(OSError, match="no space left"):
        play(sweep_of("tpe"), RunFolder(tmp_path), 2)


def test_shuffling_keeps_all_items_and_is_the_same_for_a_seed():
    items = list(range(20))
    assert samplers.shuffled(items, 1) == samplers.shuffled(items, 1) != samplers.shuffled(items, 2)
    assert sorted(samplers.shuffled(items, 1)) == items != samplers.shuffled(items, 1)
