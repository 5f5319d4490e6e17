"""A run that is asked for more than it was launched with ends as one that was large at once."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
import torch

import models
from datasets import DATASETS
from search.checks.load_sweep import checked, load, sweep_of
from search.driver import launch, opening
from search.errors import SteppeError
from search.results.loading import read_sweep
from search.run import lease
from search.run.run_folder import MANIFEST, SWEEP, RunFolder
from search.study.resolved_sweep import as_yaml
from tests.search import file_dataset, play
from tests.search.command import printed, refused, write_yaml
from tests.search.play import launched, open_ledger, small_sweep, stored, without_ray

DIGITS, OTHER = "RotatedDigits", file_dataset.NAME
SPACE = {"lr": {"log_uniform": [1e-4, 1e-1]}, "weight_decay": 0, "dropout": 0}
FEW_POINTS = {"lr": {"choice": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}, "rho": 0.1, "alpha": 0.01}
TIMES = ("seconds", "started", "finished", "node")


def play_all(sweep, folder):
    """Carries out all trials of a sweep with curves that cross, so that some are pruned."""
    ledger = open_ledger(sweep, folder)
    while play_one(ledger, folder):
        pass


def play_one(ledger, folder) -> bool:
    spec = ledger.next()
    if spec is not None:
        quality = play.quality(spec.values)
        play.carry_out(ledger, folder, spec, lambda step: quality * min(step / 60, 1))
    return spec is not None


def outcomes(folder):
    return {
        study: [
            (t.number, t.state, t.params, t.values, t.intermediate_values, t.system_attrs)
            for t in trials
        ]
        for study, trials in stored(folder).items()
    }


@pytest.mark.parametrize(
    ("few", "many", "search"),
    [
        ({"trials": 3}, {"trials": 9}, {"sampler": "qmc", "scheduler": "asha"}),
        ({"trials": 3}, {"trials": 9}, {"scheduler": "hyperband"}),
        ({"trials": 4}, {"trials": 9}, {"sampler": "tpe", "scheduler": "median"}),
        ({"trials": 5}, {"trials": 16}, {"sampler": "cmaes", "scheduler": "asha"}),
        ({"trials": 2}, {"trials": 5}, {"sampler": "grid", "space": FEW_POINTS}),
        ({"seeds": [1]}, {"seeds": [0, 1]}, {"scheduler": "asha"}),
        ({"algorithms": ["SAM"]}, {"algorithms": ["SAGM", "SAM"]}, {"trials": 7}),
        ({"held_out": ["75"]}, {"held_out": ["75", "0"]}, {"scheduler": "median"}),
    ],
    ids=str,
)
def test_a_grown_run_suggests_and_stops_as_one_that_was_large_at_once(folder, few, many, search):
    def sweep(trials=6, **changes):
        return small_sweep(**changes, search={"trials": trials, "space": SPACE, **search})

    play_all(sweep(**few), folder)
    before = outcomes(folder)
    play_all(sweep(**many), folder)
    large = RunFolder(f"{folder.root}-large")
    play_all(sweep(**many), large)
    assert outcomes(folder) == outcomes(large)
    for study, trials in before.items():
        begun = [trial for trial in trials if trial[1].name != "WAITING"]
        assert outcomes(folder)[study][: len(begun)] == begun


def test_a_run_may_grow_before_it_has_ended(folder):
    few, many = small_sweep(search={"trials": 3}), small_sweep(search={"trials": 6})
    ledger = open_ledger(few, folder)
    at_work = ledger.next()
    play_one(ledger, folder)
    assert open_ledger(many, folder).next().trial == at_work.trial
    play_all(small_sweep(search={"trials": 8}), folder)
    large = RunFolder(f"{folder.root}-large")
    play_all(small_sweep(search={"trials": 8}), large)
    assert outcomes(folder) == outcomes(large)


def test_a_run_keeps_and_grows_with_keys_that_new_sweeps_are_refused(folder, tmp_path):
    refused = {"lr_schedule": "step", "lr_drop": 0, "lr_floor": 1, "rho_floor": 1, "momentum": 0.5}
    data = play.SWEEP | {
        "dataset": {"name": "RotatedDigits", "root": "/data"},
        "training": play.SWEEP["training"] | refused,
        "resources": {"cpu": 0.0005, "gpu": 0.0005},
    }
    recorded = checked(data, "sweep.yaml", recorded=True)
    folder.write_bytes(SWEEP, as_yaml(recorded).encode())
    assert as_yaml(sweep_of(folder)) == as_yaml(read_sweep(folder)) == as_yaml(recorded)

    file, more = write_yaml(tmp_path / "again.yaml", data), ["search.trials=9"]
    assert opening.open_run(load(file, more, folder.root), folder).asked.refused == ()
    with pytest.raises(SteppeError, match=r"training\.lr_drop is 0"):
        load(file, more)
    with pytest.raises(SteppeError, match=r"training\.nesterov is true but"):
        load(file, [*more, "training.nesterov=true"], folder.root)


def assert_same_tables(one: RunFolder, other: RunFolder, cost: Sequence[str] = ()) -> None:
    """As other tools read them, without what depends on the clock.

    cost: columns of trials that differ, as one trained what the other found trained.
    """
    for name in ("trials", "evaluations", "selection.parquet"):
        both = [pd.read_parquet(folder.path(name)) for folder in (one, other)]
        if name != "selection.parquet":  # which has an order
            both = [table.sort_values("trial", kind="stable", ignore_index=True) for table in both]
        left_out = [*TIMES, *(cost if name == "trials" else ())]
        ours, theirs = (table.drop(columns=left_out, errors="ignore") for table in both)
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True, obj=name)


@pytest.fixture
def other_dataset(tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS, OTHER, file_dataset.ENTRY)
    file_dataset.write(tmp_path / "images", {})
    return tmp_path / "images"


def tiny(**changes):
    training = {"steps": 2, "evaluate_every": 1, "batch_size": 2, **changes.pop("training", {})}
    search = {"trials": 1, "keep_weights": "best", **changes.pop("search", {})}
    return small_sweep(training=training, search=search, **changes)


def killed_at(module, name, sweep, folder):
    """Launches a sweep and dies where a function would be called."""
    death = patch.object(module, name, side_effect=KeyboardInterrupt)
    with death, pytest.raises(KeyboardInterrupt):
        launch.launch(sweep, folder)


def test_a_run_grows_in_all_it_may_and_its_images_move(tmp_path, other_dataset):
    one = {"dataset": {"name": OTHER, "root": other_dataset}}
    folder = launched(tiny(**one, algorithms=["ERM"]), tmp_path / "run")
    trial = (Path(folder.path("trials")) / f"{OTHER}.mlp.ERM.0.0.parquet").read_bytes()
    moved = tmp_path / "elsewhere"
    shutil.move(other_dataset, moved)
    one = {"dataset": {"name": OTHER, "root": moved}, "algorithms": ["SAGM", "ERM"]}
    killed_at(opening.manifest, "record", tiny(**one), folder)
    assert sweep_of(folder, {OTHER: moved}).algorithms == ("ERM",)
    killed_at(launch, "Ledger", tiny(**one), folder)
    assert sweep_of(folder).algorithms == ("SAGM", "ERM")
    several = {
        "dataset": None,
        "datasets": {OTHER: {"root": moved}, DIGITS: {"held_out": ["45"]}},
        "held_out": ["15", "0"],
        "algorithms": ["SAGM", "ERM"],
        "seeds": [0, 1],
    }
    large = tiny(**several, search={"trials": 2})
    launched(large, folder.root)
    assert_same_tables(folder, launched(large, tmp_path / "large"))
    assert trial != (Path(folder.path("trials")) / f"{OTHER}.mlp.ERM.0.0.parquet").read_bytes()
    header = folder.read_bytes(SWEEP).decode().splitlines()[:4]
    assert header[0] == opening.HISTORY
    assert "algorithms + [SAGM]" in header[1]
    assert f"datasets + [{DIGITS}]" in header[2]
    assert "search.trials 1 -> 2" in header[2]
    assert not header[3].startswith("#")


def test_folds_of_a_domain_that_was_not_held_out_are_trained_again(tmp_path):
    def sweep(**changes):
        search = {"objective": "leave-one-domain-out", "keep_weights": "none"}
        return tiny(algorithms=["ERM"], search=search, **changes)

    folder = launched(sweep(), tmp_path / "run")
    large = sweep(held_out=["0", "75"])
    launched(large, folder.root)
    assert_same_tables(folder, launched(large, tmp_path / "large"), cost=["steps", "passes"])


def test_what_would_change_trials_is_refused_and_nothing_is_written(tmp_path):
    folder = launched(tiny(), tmp_path / "run")
    before = {name: folder.read_bytes(name) for name in (SWEEP, MANIFEST)}
    for change, key in (
        ({"training": {"steps": 4}, "seeds": [0, 1]}, "training.steps: 4 here, 2 in the run"),
        ({"search": {"sampler": "tpe", "trials": 5}}, "search.sampler"),
        ({"seeds": [1]}, "seeds: [1] here, [0] in the run"),
        ({"search": {"warm_start": folder.uri}}, "search.warm_start"),
        ({"name": "other", "seeds": [0, 1]}, "name: 'other' here, 'played' in the run"),
    ):
        with pytest.raises(SteppeError, match="holds a run of another configuration") as error:
            launch.launch(tiny(**change), folder)
        assert key in str(error.value)
        assert ", ".join(opening.GROWING) in str(error.value)
    with (
        lease.Lease(folder, on_loss=lambda: None),
        pytest.raises(SteppeError, match="is being driven by process"),
    ):
        launch.launch(tiny(seeds=[0, 1]), folder)
    assert {name: folder.read_bytes(name) for name in (SWEEP, MANIFEST)} == before


def test_commands_find_images_that_have_moved(tmp_path, other_dataset):
    sweep = tiny(dataset={"name": OTHER, "root": other_dataset}, algorithms=["ERM"])
    folder = launched(sweep, tmp_path / "run")
    moved = tmp_path / "elsewhere"
    shutil.move(other_dataset, moved)
    printed("status", folder.uri)
    printed("results", folder.uri)
    for verb, *given in (
        ["rerun", "ERM.0.0.0"],
        ["export", "ERM.0.0.0", "--output", tmp_path / "exported"],
        ["resume"],
    ):
        lost = refused(verb, folder.uri, *given)
        assert str(other_dataset) in lost
        assert "--root" in lost
        with without_ray():
            printed(verb, folder.uri, *given, "--root", moved)
    assert sweep_of(folder).dataset.root == moved


def test_a_file_of_weights_may_move_and_be_no_other(tmp_path):
    def sweep(file, **changes):
        return tiny(model={"name": "mlp", "weights": str(file)}, algorithms=["ERM"], **changes)

    network, file = models.build("mlp", 10, (1, 8, 8)), tmp_path / "one.pth"
    torch.save(network.state_dict(), file)
    folder = launched(sweep(file), tmp_path / "run")
    moved = file.rename(tmp_path / "two.pth")
    printed("status", folder.uri)
    lost = refused("resume", folder.uri)
    assert all(part in lost for part in ("model.weights", str(file), "--output"))
    launched(sweep(moved, seeds=[0, 1]), folder.root)
    assert sweep_of(folder).model.weights == str(moved)
    torch.save({key: -own for key, own in network.state_dict().items()}, tmp_path / "other.pth")
    with pytest.raises(SteppeError) as error:
        launch.launch(sweep(tmp_path / "other.pth", seeds=[0, 1]), folder)
    assert all(part in str(error.value) for part in ("other.pth", str(moved)))
    assert str(error.value).count("sha256") == 2
