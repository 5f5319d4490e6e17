"""A sweep of MIRO and ERM++ whose trials have a second stage on all images."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

import models
from search.run.tables import read_evaluations, read_trials
from tests.search.command import printed
from tests.search.play import launched, small_sweep


def test_tables_show_the_second_stages_accuracy_beside_the_validation_of_the_first(tmp_path: Path):
    weights = tmp_path / "weights.pth"
    torch.save(models.build("mlp", 10, (1, 8, 8)).state_dict(), weights)
    found = small_sweep(
        name="stages",
        model={"name": "mlp", "weights": str(weights)},
        algorithms=["MIRO+SAGM", "ERM++"],
        held_out=["30"],
        seeds=[0],
        training={
            "steps": 6,
            "evaluate_every": 1,
            "start_steps": 3,
            "retrain": "all-images",
            "lr_schedule": "plateau",
        },
        search={"trials": 1, "scheduler": "none", "keep_weights": "best"},
    )
    folder = launched(found, tmp_path / "run")
    trials, rows = read_trials(folder), read_evaluations(folder)
    assert list(trials["state"]) == ["completed"] * 2
    assert {"hp_miro_lambda", "hp_ermpp_start"} <= set(trials)
    second = rows[rows["weights"] == "retrained"]
    assert second.groupby("trial")["role"].value_counts().to_dict() == {
        (trial, role): count
        for trial in trials["trial"]
        for role, count in (("source", 5), ("held_out", 2))
    }
    first = rows[(rows["weights"] != "retrained") & (rows["role"] == "source")]
    for trial, own in second[second["role"] == "source"].groupby("trial"):
        earlier = set(first.loc[first["trial"] == trial, "accuracy"])
        assert set(own["accuracy"]) <= earlier
    # It has the held-out accuracy of the second stage.
    printed("export", folder.uri, "MIRO+SAGM.30.0", "--output", tmp_path / "out")
    card = yaml.safe_load((tmp_path / "out" / "model.yaml").read_text())
    assert {score["role"] for score in card["scores"]} == {"held_out"}
