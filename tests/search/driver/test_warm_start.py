"""A search that begins with the best settings of earlier runs."""

import json
import shutil
from pathlib import Path

import pytest

from search.driver import warm_start
from search.errors import SteppeError
from search.results import load, summary
from search.run.run_folder import SWEEP, WARM_START, RunFolder
from search.study.plan import plans
from tests.search.play import finish, open_ledger, record, small_sweep, stored

SPACE = {"lr": {"log_uniform": [1e-5, 1e-2]}, "weight_decay": 0, "dropout": 0}


def study(seed=0, held_out="0"):
    return f"RotatedDigits.mlp.SAGM.{held_out}.{seed}"


def earlier(place, objectives, search=None, states=None, draws_of_its_own=False, **changes):
    """A run whose trials, in every study, are worth `objectives` of their study and number."""
    given = {"trials": 4, "space": SPACE, **(search or {})}
    sweep = small_sweep(name="earlier", search=given, **changes)
    sweep = sweep.of_earlier_run(names=False, search=draws_of_its_own)
    folder = RunFolder(place)
    ledger = open_ledger(sweep, folder)
    record(sweep, folder)
    while (spec := ledger.next()) is not None:
        state = (states or {}).get(spec.number, "completed")
        finish(ledger, folder, spec, objectives(spec.study, spec.number), state)
    return folder


def rising(study, number):
    return 0.1 * number


@pytest.fixture
def run(tmp_path):
    return earlier(tmp_path / "earlier", rising)


def later(folder, **search):
    runs = search.pop("warm_start", folder.uri)
    changes = search.pop("changes", {})
    given = {"trials": 6, "space": SPACE, "warm_start": runs, **search}
    return small_sweep(name="later", search=given, **changes)


def found_by(sweep):
    """What a run of the sweep that has recorded nothing takes over."""
    return warm_start.find(RunFolder("nowhere"), plans(sweep))


def launched(sweep, folder):
    warm_start.record(folder, found_by(sweep))
    return open_ledger(sweep, folder)


def settings(found, name):
    return [entry["setting"] for entry in found["studies"][name]]


def params(folder, name, *numbers):
    trials = stored(folder)[name]
    return [trials[number].params for number in numbers]


def test_the_best_settings_come_right_after_the_published_one(run, folder):
    begins = {"runs": [run.uri], "settings": 2}
    ledger = launched(later(run, first_trials=[{"rho": 0.123}], warm_start=begins), folder)
    given = [ledger.next().values for _ in range(5)]
    assert (given[0]["lr"], given[0]["rho"]) == (1e-3, 0.05)
    best = params(run, study(), 3, 2)
    assert [{name: v[name] for name in best[0]} for v in given[1:3]] == best
    assert given[3]["rho"] == 0.123
    assert given[4]["rho"] not in {values["rho"] for values in given[:4]}


def test_those_that_did_not_complete_and_the_published_one_are_passed_over(tmp_path):
    run = earlier(
        tmp_path / "earlier",
        lambda study, number: 0.9 - 0.1 * number,  # the published one is the best
        states={1: "diverged"},
    )
    found = found_by(later(run))
    assert settings(found, study()) == params(run, study(), 2, 3)


def test_settings_of_several_seeds_are_ranked_by_how_far_they_are_behind_the_best(tmp_path):
    """Seed 1 has easier splits: by their objectives alone, all of its settings would be ahead.

    Each seed draws settings of its own, as in a run of an earlier commit.
    """
    run = earlier(
        tmp_path / "earlier",
        lambda study, number: 0.5 * study.seed + (0.0, 0.125, 0.375, 0.25)[number],
        seeds=[0, 1],
        held_out=["0", "75"],
        draws_of_its_own=True,
    )
    sweep = later(run, changes={"held_out": ["0", "15"]})
    found = found_by(sweep)
    best = [*params(run, study(1), 2), *params(run, study(0), 2), *params(run, study(1), 3)]
    assert settings(found, study()) == best
    assert found["studies"][study()][0]["behind"] == 0
    assert found["studies"][study()][0]["trials"] == [f"{run.uri}: {study(1)}.2"]
    # Nothing was searched for this domain, and what was for others has seen its labels.
    assert settings(found, study(held_out="15")) == []


def test_settings_of_other_held_out_domains_are_taken_if_asked_and_every_table_says_so(run, folder):
    elsewhere = {"held_out": ["15"]}
    with pytest.raises(SteppeError, match="has no completed trial of a dataset, model, algorithm"):
        found_by(later(run, changes=elsewhere))
    marked = later(run, warm_start={"runs": [run.uri], "held_out": "any"}, changes=elsewhere)
    assert settings(found_by(marked), study(held_out="15")) == params(run, study(), 3, 2, 1)

    ledger = launched(marked, folder)
    record(marked, folder)
    finish(ledger, folder, ledger.next(), 0.5)
    for table in summary(load(folder.uri), methods=["training-domain", "last-step"]).tables:
        (note,) = [note for note in table.notes if "not the honest protocol" in note]
        assert "trained and validated on the domain that they hold out" in note

    # What was shaped by those labels stays so in whatever begins with it.
    with pytest.raises(SteppeError, match="were shaped by labels of its held-out domains"):
        found_by(later(folder, changes=elsewhere))
    again = {"runs": [folder.uri], "held_out": "any"}
    assert found_by(later(folder, warm_start=again, changes=elsewhere))


def test_a_run_that_shared_across_domains_is_marked_too(tmp_path):
    run = earlier(tmp_path / "earlier", rising, {"share": "domains"}, held_out=["0", "75"])
    with pytest.raises(SteppeError, match="share: domains"):
        found_by(later(run))


def test_what_lies_outside_of_the_space_is_passed_over_and_what_is_fixed_stays_so(run, caplog):
    known = params(run, study(), 1, 2, 3)
    low, middle, high = sorted(known, key=lambda setting: setting["lr"])
    narrow = {"log_uniform": [low["lr"], (middle["lr"] * high["lr"]) ** 0.5]}
    sweep = later(run, space={**SPACE, "lr": narrow, "alpha": 0.001})
    found = settings(found_by(sweep), study())
    inside = [s for s in reversed(known) if s is not high]
    assert found == [{"lr": s["lr"], "rho": s["rho"]} for s in inside]
    assert "settings are not taken over: lr is outside of log" in caplog.text
    nowhere = later(run, space={**SPACE, "lr": {"log_uniform": [0.5, 1]}})
    with pytest.raises(SteppeError, match=r"no setting of .* fits the space of this sweep"):
        found_by(nowhere)


def test_a_hyperparameter_that_the_earlier_run_lacked_is_drawn(run, folder):
    sweep = later(run, changes={"training": {"averaging": "ema"}})
    found = settings(found_by(sweep), study())
    assert found == params(run, study(), 3, 2, 1)
    ledger = launched(sweep, folder)
    ledger.next()
    values = ledger.next().values
    assert {name: values[name] for name in found[0]} == found[0]
    assert values["ema_decay"] in (0.99, 0.999)


def test_a_resume_queues_the_same_whatever_became_of_the_earlier_run(run, folder):
    sweep = later(run, changes={"seeds": [0, 1]})
    ledger = launched(sweep, folder)
    assert ledger.next().study.seed == 0  # that of seed 1 has not begun
    shutil.rmtree(run.root)
    resumed = open_ledger(sweep, folder)
    given = [resumed.next() for _ in range(8)]
    for seed in (0, 1):
        written = json.loads(folder.read_bytes(WARM_START))
        own = [a.values for a in given if a.study.seed == seed]
        for values, setting in zip(own[1:4], settings(written, study(seed)), strict=True):
            assert {name: values[name] for name in setting} == setting


def test_a_run_that_is_none_or_maximized_something_else_is_refused(run, folder):
    with pytest.raises(SteppeError, match=r"search\.warm_start: there is no run at"):
        found_by(later(run, warm_start=[run.uri, folder.path("none")]))
    written = Path(run.path(SWEEP))
    written.write_text(written.read_text().replace(": training-domain", ": last-step"))
    with pytest.raises(SteppeError, match=r"maximized last-step, and .* maximizes training-"):
        found_by(later(run))
    for damaged in (
        b"{}",
        b'{"studies": {"a": [{"setting": {"lr": null}}]}}',
        b'{"studies": {"a": [{"setting": 5}]}}',
    ):
        folder.write_bytes(WARM_START, damaged)
        with pytest.raises(SteppeError, match=r"warm_start\.json is damaged"):
            warm_start.recorded(folder)
