"""A sweep that begins with settings of an earlier run, and promotes its own to a second seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from search.run.run_folder import SWEEP, RunFolder
from search.study.resolved_sweep import as_yaml
from tests.search.command import steppe, write_yaml
from tests.search.play import play, small_sweep, stored, without_ray

SPACE = {"lr": {"log_uniform": [1e-5, 1e-2]}, "weight_decay": 0, "dropout": 0}
STUDY = "RotatedDigits.mlp.SAGM.0"


def launch(place: Path, seeds: list[int], **search: Any):
    sweep = small_sweep(
        name="later",
        seeds=seeds,
        training={"steps": 20, "evaluate_every": 10},
        search={"space": SPACE, **search},
    )
    file = write_yaml(place / "later.yaml", sweep.model_dump(mode="json"))
    return steppe("launch", file, "--output", place / "later")


def played(place: Path, trials: int) -> str:
    """A run that nothing was trained for; its location."""
    sweep = small_sweep(name="earlier", search={"trials": 3, "space": SPACE})
    folder = RunFolder.create(place)
    folder.write_bytes(SWEEP, as_yaml(sweep).encode())
    play(sweep, folder, trials)
    return folder.uri


def best_first(place: Path, study: str) -> list[dict[str, float]]:
    trials = stored(RunFolder(place))[study]
    return [trial.params for trial in sorted(trials, key=lambda t: (-t.value, -t.number))]


def test_a_sweep_begins_with_an_earlier_runs_settings_and_promotes_its_own(tmp_path):
    earlier, later = played(tmp_path / "earlier", 3), tmp_path / "later"
    warm = {"runs": [earlier], "settings": 2}
    with without_ray():
        done = launch(tmp_path, [0, 1], trials=4, seed_reduction=2, warm_start=warm)
    assert done.exit_code == 0, done.stderr

    first, second = (stored(RunFolder(later))[f"{STUDY}.{seed}"] for seed in (0, 1))
    known = [s for s in best_first(tmp_path / "earlier", f"{STUDY}.0") if s != first[0].params]
    assert [trial.params for trial in first[1:3]] == known
    assert [trial.params for trial in second] == best_first(later, f"{STUDY}.0")[:2]
    trials = pd.read_parquet(later / "trials").set_index("trial")
    assert len(trials) == 4 + 2
    assert trials.loc[f"{STUDY}.1.0", "started"] > trials[trials["seed"] == 0]["finished"].max()
    assert "saw_held_out" not in json.loads((later / "manifest.json").read_bytes())

    shown = steppe("results", later).stdout
    assert f"later: began with settings of {earlier}" in shown
    assert "(most in a study: seed 0 4, seed 1 2)" in shown
    assert "not the honest protocol" not in shown
    assert "complete" in steppe("status", later).stdout


def test_a_run_that_has_nothing_that_fits_ends_the_sweep_before_it_begins(tmp_path):
    done = launch(tmp_path, [0], trials=2, warm_start=played(tmp_path / "earlier", 0))
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "search.warm_start:" in line
    assert "none of its trials completed" in line
    assert not (tmp_path / "later" / "sweep.yaml").exists()
