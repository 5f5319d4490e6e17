"""The bill of a sweep before it starts, and of what is left of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import datasets
from search.checks.load_sweep import load
from search.driver import known_images, planning
from search.errors import SteppeError
from search.report.bill_document import document, lines
from search.run.run_folder import RunFolder
from search.study.plan import plans
from search.sweep.per_dataset import by_dataset
from tests.datasets.test_further_benchmarks import sviro
from tests.search.command import CHECKOUT, printed, refused
from tests.search.play import open_ledger, play, record, small_sweep, without_timing
from training.run import Run
from training.timing import stand_in, time_run


def planned(sweep, folder):
    with without_timing():
        return planning.plan_sweep(sweep, folder, "sweep.yaml")


def test_the_bill_of_pacs_and_its_costly_first_trial_of_gga(tmp_path):
    found = planned(load(CHECKOUT / "configs/pacs.yaml"), RunFolder(tmp_path / "run"))
    untimed = replace(found, timed={})
    assert any("checkpoints and weights are not known" in str(line) for line in lines(untimed))
    bill = document(found)
    assert bill["studies"] == 8 * 4 * 3
    assert bill["left"]["trials"] == bill["left"]["runs"] == 20 * bill["studies"]
    assert bill["left"]["steps"] == 5000 * bill["left"]["runs"]
    assert bill["images"]["PACS"]["sketch"] == 3929
    assert bill["undecoded"]["images"] == 9991
    ordinary = bill["left"]["steps"] * 32 * 3
    assert bill["left"]["trained"] == ordinary
    (costly,) = (one for one in bill["costly"] if ".GGA." in one["trial"])
    # 101 steps of 251 points each, with dropout, which draws each twice.
    assert costly["passes"] == pytest.approx(5000 + 101 * 251 * 4 / 3)
    shares = {(one["what"], one["name"]): one["share"] for one in bill["one_less"]}
    assert shares["seed", ""] == pytest.approx(1 / 3)
    assert sum(s for (what, _), s in shares.items() if what == "algorithm") == pytest.approx(1)
    assert bill["pruning"]["spends"] == pytest.approx([0.54, 0.72])
    assert any("--like" not in note and "published" in note for note in bill["notes"])


def test_of_a_run_that_grows_what_it_has_is_paid(folder):
    few = small_sweep(algorithms=["ERM", "SAM"], search={"trials": 2})
    record(few, folder)
    ledger = open_ledger(few, folder)
    play(few, folder, 3, ledger)
    before = {path: path.read_bytes() for path in Path(folder.root).rglob("*") if path.is_file()}
    assert planned(few, folder).left.trials == 1
    grown = small_sweep(algorithms=["ERM", "SAM"], search={"trials": 5}, seeds=[0, 1])
    found = planned(grown, folder)
    assert (len(found.trials), found.ended, found.left.trials) == (20, 3, 17)
    with pytest.raises(SteppeError, match=r"training\.steps: 50 here, 90 in the run"):
        planned(small_sweep(training={"steps": 50}), folder)
    shown = json.loads(printed("status", folder.uri, "--format", "json"))
    assert (shown["trials"], shown["ended"], shown["left"]) == (4, 3, 1)
    after = {path: path.read_bytes() for path in Path(folder.root).rglob("*") if path.is_file()}
    assert after == before
    assert open_ledger(few, folder).left == 1


def test_folds_that_studies_share_and_budgets_are_counted(tmp_path):
    search = {"objective": "leave-one-domain-out", "trials": 1, "budget": {"passes": 10 * 90}}
    one = document(planned(small_sweep(search=search, algorithms=["ERM"]), RunFolder(tmp_path)))
    assert one["left"]["runs"] == 1 + 5
    assert one["budget"] == []
    sweep = small_sweep(search=search, algorithms=["ERM"], held_out="all")
    every = document(planned(sweep, RunFolder(tmp_path)))
    assert every["left"]["runs"] == 6 + 15
    assert every["budget"] == [{"key": "search.budget.passes", "share": pytest.approx(10 / 21)}]


def test_second_stages_probes_and_seeds_that_may_stay_untrained_are_counted(tmp_path):
    sweep = small_sweep(
        algorithms=["ERM", "ERM++"],
        seeds=[0, 1],
        training={"retrain": "all-images", "start": "linear-probe"},
        search={"trials": 4, "objective_over": "seeds", "scheduler": "none"},
    )
    found = planned(sweep, RunFolder(tmp_path))
    bill = document(found)
    assert bill["left"]["runs"] == 2 * 16
    # Each second stage has a probe of its own; ERM++'s is as long as ERM's in so short a run.
    assert bill["left"]["steps"] == 90 * (2 * 16 + 16 + 2)
    assert bill["pruning"]["spends"] == [5 / 8, 1.0]
    assert any("objective_over" in str(line) for line in lines(found))
    assert any("training.retrain" in note for note in bill["notes"])


def test_the_pass_of_an_average_that_sees_batches_is_counted():
    for bn, passes in (("auto", 1 + 1 / 3), ("frozen", 1)):
        model = {"name": "resnet18"}
        sweep = small_sweep(algorithms=["ERM++"], model=model, training={"bn": bn})
        (plan,) = plans(sweep).values()
        assert plan.passes_per_step == pytest.approx(passes)


def test_steps_are_timed_and_their_passes_counted():
    images = datasets.load("RotatedDigits")
    dataset = stand_in("RotatedDigits", [d.name for d in images.domains], 10, (1, 8, 8), False)
    run = Run("RotatedDigits", None, "mlp", "GGA+SAM", "0", 0, 20, 10, {"batch_size": 4})
    found = time_run(run, dataset, threads=1, seconds=0.01)
    assert found.passes == 2
    assert found.step > 0
    assert found.search >= 0  # of a few milliseconds
    assert not found.redrawn
    assert found.checkpoint > 3 * found.weights > 0


def test_images_that_are_not_decoded_are_counted_wherever_the_domains_lie(tmp_path, monkeypatch):
    monkeypatch.setattr(known_images, "MOST_DECODED", 20)
    sviro(tmp_path / "sviro")
    for root in (tmp_path, tmp_path / "sviro"):
        dataset = {"name": "SVIRO", "root": str(root), "allow": ["counts"]}
        found = known_images.look(by_dataset(small_sweep(dataset=dataset, held_out="all"))["SVIRO"])
        assert (set(found.counts.values()), found.undecoded) == ({7}, 70)


def test_the_command_prints_a_document_and_refuses_what_launch_refuses(tmp_path):
    config = CHECKOUT / "configs" / "quickstart.yaml"
    changes = ["--set", "model.name=mlp", "--set", "algorithms=[ERM]", "--set", "search.space={}"]
    changes += ["--output", tmp_path / "run"]
    shown = json.loads(printed("plan", config, *changes, "--format", "json"))
    assert shown["left"]["steps"] == 8 * 5 * 250
    for wrong in ("training.evaluate_every=300", "search.space.rho=0.1"):
        given = [config, *changes, "--set", wrong]
        assert refused("plan", *given) == refused("launch", *given)
