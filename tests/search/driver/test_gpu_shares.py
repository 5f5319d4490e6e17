"""resources.gpu: auto, from the measurement of a trial to the share of the next; no GPU needed."""

import threading
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from search.checks.check_training import check_device
from search.checks.load_sweep import checked
from search.cli.status import _gpu_shares
from search.driver.gpu_shares import GpuShares, Measured, choose, measured_in
from search.driver.slots import Slots
from search.driver.tune_adapter import StudySearcher
from search.errors import SteppeError
from search.study.plan import plans
from search.sweep.schema import Resources
from search.worker import limits, trial
from tests.search.play import SWEEP, open_ledger, said, small_sweep
from tests.search.worker.trained import trained

AUTO = {"resources": Resources(gpu="auto")}


# One GPU, and CPUs for eight trials.
EIGHT_PLACES = SimpleNamespace(gpus=1.0, count=lambda running, left: 8)


def reported(step, memory, share, beside=0.0, state=None):
    on_gpu = {"gpu": share, "gpu_memory": memory, "gpu_beside": beside}
    return vars(said(step, 0.5, state)) | {"passes": float(step), **on_gpu}


@pytest.fixture
def searcher(folder):
    sweep = small_sweep(search={"trials": 8}).model_copy(update=AUTO)
    ledger = open_ledger(sweep, folder)
    shares = GpuShares(plans(sweep), folder)
    return StudySearcher(ledger, EIGHT_PLACES, threading.Event(), gpu_shares=shares)


def test_the_first_trial_is_alone_until_it_has_measured_and_the_next_ones_share(searcher):
    assert searcher.suggest("a")["gpu"] == 1
    assert searcher.suggest("b") is None
    searcher.report("a", reported(10, 0.2, 1.0))
    assert searcher.suggest("b") is None  # it still has the whole GPU
    searcher.on_trial_complete("a", reported(90, 0.2, 1.0, state="completed"))
    assert searcher.suggest("b")["gpu"] == 0.5
    assert searcher.suggest("c")["gpu"] == 0.5
    assert searcher.suggest("d") is None
    for name in ("b", "c"):
        searcher.report(name, reported(10, 0.2, 0.5, beside=0.2))
    searcher.on_trial_complete("b", reported(90, 0.2, 0.5, state="completed"))
    assert searcher.suggest("d")["gpu"] == 0.25


def test_a_trial_that_failed_by_itself_is_alone_from_then_on(searcher):
    first = searcher.suggest("a")
    searcher.report("a", reported(10, 0.2, 1.0))
    spec = searcher.specs["a"]
    assert searcher._shares.of(spec) == 0.5
    searcher._shares.lost(spec, counts=False)  # its node went away
    assert searcher._shares.of(spec) == 0.5
    searcher._shares.lost(spec, counts=True)
    assert searcher._shares.of(spec) == first["gpu"] == 1


def test_a_trial_that_goes_on_with_another_share_is_measured_anew(searcher):
    """As after it was frozen: neither what it measured alone nor its time then is mixed in."""
    searcher.suggest("a")
    searcher.report("a", reported(10, 0.2, 1.0))
    searcher._ledger.lose(searcher.specs["a"], "gone", counts=False)
    searcher.on_trial_complete("a")
    assert searcher.suggest("b")["gpu"] == 0.5
    spec = searcher.specs["b"]
    searcher.report("b", reported(20, 0.2, 0.5, beside=0.2) | {"seconds": 3.0})
    (known,) = searcher._shares._known.values()
    assert {share: own.speed for (_, share), own in known.items()} == {1: 320, 0.5: 160}
    assert searcher._shares.of(spec) == 1  # two at once are no faster than one
    searcher._ledger.lose(spec, "gone", counts=False)
    searcher.on_trial_complete("b")
    assert searcher.suggest("c")["gpu"] == 1
    searcher.report("c", reported(10, 0.2, 1.0) | {"seconds": 2.0})  # from the start again
    assert known[spec.trial, 1].speed == 160


def test_ray_is_asked_for_the_share_of_the_trial_and_places_are_counted_by_the_smallest():
    slots = Slots(Resources(gpu="auto", cpu=2).as_ray_resources(), shared_by=8)
    assert slots.request(0.25).bundles == [{"CPU": 2.0, "GPU": 0.25}]
    assert slots.request().bundles == [{"CPU": 2.0, "GPU": 1.0}]
    assert slots._fit({"CPU": 64, "GPU": 2}) == 16
    assert slots._fit({"CPU": 8, "GPU": 2}) == 4


def test_the_probe_counts_what_others_hold_apart_from_its_own(monkeypatch):
    known = {
        "is_available": True, "mem_get_info": (40e9, 100e9),
        "memory_reserved": 20e9, "max_memory_reserved": 30e9,
    }  # fmt: skip
    for name, value in known.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    found = limits.measured_on_gpu("cuda", 0.5)
    assert found == {
        "gpu": 0.5,
        "gpu_memory": pytest.approx(0.306),
        "gpu_beside": pytest.approx(0.394),
    }
    assert limits.measured_on_gpu("cpu", 0.0) == {}


def test_a_measurement_is_in_the_trials_row_and_status_shows_what_follows(folder, monkeypatch):
    place = {"gpu": 1.0, "gpu_memory": 0.3, "gpu_beside": 0.0}
    monkeypatch.setattr(trial, "measured_on_gpu", lambda device, share: place)
    monkeypatch.setattr("search.study.plan.device", lambda sweep: "cpu")
    sweep = small_sweep(training={"steps": 20}).model_copy(update=AUTO)
    (plan,) = plans(sweep).values()
    spec = plan.trial(0, plan.begins_with[0])
    row = trained(folder, spec)
    assert {name: row[name] for name in place} == place
    assert GpuShares(plans(sweep), folder).of(spec) == 0.5
    (line,) = _gpu_shares(folder, sweep)
    assert "RotatedDigits, mlp, SAGM: 1/2 of a GPU" in line
    assert "30%" in line


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"training": {"device": "cpu"}}, ("training.device", "resources.gpu is auto")),
        ({"resources": {"gpu": "half"}}, ("resources.gpu", "auto, 0, or a number")),
        ({"resources": {"gpu": -1}}, ("resources.gpu", "auto, 0, or a number")),
        ({"search": {"budget": {"gpu_hours": 1}}}, ("search.budget.gpu_hours", "passes")),
    ],
)
def test_what_does_not_go_with_auto_is_refused(changes, says):
    data = {**SWEEP, "resources": {"gpu": "auto"}}
    data |= {key: {**data[key], **own} for key, own in changes.items()}
    with pytest.raises(SteppeError) as error:
        checked(data, "sweep.yaml")
    assert all(text in str(error.value) for text in says)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_a_launch_is_refused_in_a_sentence():
    (problem,) = check_device(small_sweep().model_copy(update=AUTO))
    assert problem.path == ("resources", "gpu")
    assert "is auto" in problem.text
    assert "resources.gpu: 0" in problem.text


def measured(together, memory, speed, beside=None, batch=32):
    """A trial with its share of a GPU whose other places are taken, unless `beside` says not."""
    taken = (together - 1) * memory if beside is None else beside
    return Measured(1 / together, memory, taken, speed, batch)


ALONE = measured(1, 0.2, 1000)
LONELY = measured(2, 0.2, 1000, beside=0.0)
SHARED = measured(2, 0.2, 500)  # which is no faster than one


def together(memory=0.2, **speeds):
    """Trials of which 1, 2, 4, ... shared a GPU: n1, n2, n4 and so on are their speeds."""
    return [measured(int(name[1:]), memory, speed) for name, speed in speeds.items()]


@pytest.mark.parametrize(
    ("known", "batch", "share"),
    [
        pytest.param([], 32, 1, id="the first is alone"),
        pytest.param([ALONE], 32, 1 / 2, id="two fit"),
        pytest.param([measured(1, 0.5, 1000)], 32, 1, id="no two fit"),
        pytest.param(together(n1=1000, n2=900), 32, 1 / 4, id="two do the work of 1.8"),
        pytest.param(together(n1=1000, n2=540), 32, 1, id="two do the work of 1.08"),
        pytest.param(together(n1=1000, n2=900, n4=480), 32, 1 / 2, id="four do 1.07 of two"),
        pytest.param(together(n1=1000, n2=900, n4=700), 32, 1 / 4, id="1.6, and no eight fit"),
        pytest.param(
            together(0.01, n1=1000, n2=1000, n4=1000, n8=1000), 32, 1 / 8, id="never more than 8"
        ),
        pytest.param([ALONE, LONELY], 32, 1 / 2, id="it shared with nobody"),
        pytest.param([ALONE, LONELY, SHARED], 32, 1, id="one shared with nobody"),
        # A trial that goes on with another share leaves none that was alone.
        pytest.param([SHARED], 32, 1 / 4, id="none alone"),
        pytest.param([SHARED], 96, 1, id="none alone, larger batch"),
        pytest.param([ALONE, measured(1, 0.46, 1000)], 32, 1, id="the highest memory counts"),
        pytest.param([ALONE], 64, 1 / 2, id="twice the batch"),
        pytest.param([ALONE], 96, 1, id="the memory of three times the batch"),
        pytest.param([ALONE], 8, 1 / 2, id="a smaller batch"),
    ],
)
def test_twice_as_many_share_while_they_fit_and_are_faster_together(known, batch, share):
    assert choose(known, batch).share == share


def test_a_share_says_why():
    assert "50%" in choose([measured(1, 0.5, 1000)], 32).why
    assert "8.00 times as fast as one" in choose(together(0.01, n1=1, n2=1, n4=1, n8=1), 32).why
    assert "no two" not in choose([LONELY], 32).why


def test_speed_is_of_images_so_that_batches_of_any_size_are_compared():
    rows = {
        "trial": list("abcd"), "dataset": "PACS", "model": "resnet50",
        "algorithm": ["SAM", "SAM", "ERM", "ERM"], "held_out": ["photo", "cartoon", "a/b", "a/b"],
        "gpu": [1.0, 0.5, 1.0, None], "gpu_memory": [0.2, 0.2, 0.1, None],
        "gpu_beside": [0.0, 0.2, 0.0, None], "passes": [100.0, 200.0, 50.0, 50.0],
        "seconds": [10.0, 10.0, 10.0, 10.0], "hp_batch_size": [32, 16, None, 32],
    }  # fmt: skip
    found = measured_in(pd.DataFrame(rows), 8)
    sam, erm = found["PACS", "resnet50", "SAM", 1], found["PACS", "resnet50", "ERM", 2]
    assert {name: own.speed for name, own in sam.items()} == {"a": 320.0, "b": 320.0}
    assert {name: (own.speed, own.batch) for name, own in erm.items()} == {"c": (40.0, 8)}
    assert measured_in(pd.DataFrame(rows).drop(columns="gpu_memory"), 8) == {}
