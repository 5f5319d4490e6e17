"""A sweep that begins with settings of an earlier run, and promotes its own to a second seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from search.run.run_folder import MANIFEST, RunFolder
from search.sweep.schema import Sweep
from tests.search.command import launch, printed
from tests.search.play import launched, play, record, small_sweep, stored

SPACE = {"lr": {"log_uniform": [1e-5, 1e-2]}, "weight_decay": 0, "dropout": 0}
STUDY = "RotatedDigits.mlp.SAGM.0"


def later(seeds: list[int], **search: Any) -> Sweep:
    training = {"steps": 20, "evaluate_every": 10}
    return small_sweep(
        name="later", seeds=seeds, training=training, search={"space": SPACE, **search}
    )


def played(place: Path, trials: int) -> str:
    """A run that nothing was trained for; its location."""
    sweep = small_sweep(name="earlier", search={"trials": 3, "space": SPACE})
    folder = RunFolder.create(place)
    record(sweep, folder)
    play(sweep, folder, trials)
    return folder.uri


def best_first(folder: RunFolder, study: str) -> list[dict[str, float]]:
    trials = stored(folder)[study]
    return [trial.params for trial in sorted(trials, key=lambda t: (-t.value, -t.number))]


def test_a_sweep_begins_with_an_earlier_runs_settings_and_promotes_its_own(tmp_path):
    earlier = played(tmp_path / "earlier", 3)
    warm = {"runs": [earlier], "settings": 2}
    run = launched(later([0, 1], trials=4, seed_reduction=2, warm_start=warm), tmp_path / "later")

    first, second = (stored(run)[f"{STUDY}.{seed}"] for seed in (0, 1))
    best = best_first(RunFolder(earlier), f"{STUDY}.0")
    assert [trial.params for trial in first[1:3]] == [s for s in best if s != first[0].params]
    assert [trial.params for trial in second] == best_first(run, f"{STUDY}.0")[:2]
    trials = pd.read_parquet(run.path("trials")).set_index("trial")
    assert len(trials) == 4 + 2
    assert trials.loc[f"{STUDY}.1.0", "started"] > trials[trials["seed"] == 0]["finished"].max()
    assert "saw_held_out" not in json.loads(run.read_bytes(MANIFEST))

    shown = printed("results", run.uri)
    assert f"later: began with settings of {earlier}" in shown
    assert "(most in a study: seed 0 4, seed 1 2)" in shown
    assert "not the honest protocol" not in shown
    assert "complete" in printed("status", run.uri)


def test_a_run_that_has_nothing_that_fits_ends_the_sweep_before_it_begins(tmp_path):
    sweep = later([0], trials=2, warm_start=played(tmp_path / "earlier", 0))
    done = launch(sweep, tmp_path)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "search.warm_start:" in line
    assert "none of its trials completed" in line
    assert not (tmp_path / "run" / "sweep.yaml").exists()
