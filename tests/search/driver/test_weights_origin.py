"""A model that saw a held-out domain does not start a search there unnoticed."""

import json
from pathlib import Path

import pytest
import safetensors.torch

import datasets
import models
from models import exported
from search.driver import launch
from search.driver.weights_origin import known_in_full, origin, seen
from search.errors import SteppeError
from search.results import load, summary
from search.run.run_folder import MANIFEST, RunFolder
from tests.search.play import record, small_sweep, without_ray

DIGITS = datasets.load("RotatedDigits")


def export(
    place: Path, method: str = "training-domain", weights: str | None = None, held_out: str = "0"
) -> str:
    """An export of a trial."""
    place.mkdir()
    network = models.build("mlp", 10, DIGITS.image_shape)
    images = exported.Images(1, 8, 8, (0.0,), (1.0,))
    trained = {"trial": "X.0.0.1", "dataset": DIGITS.name, "fingerprint": DIGITS.fingerprint}
    about = {"trained": {**trained, "held_out": held_out, "method": method}}
    state = network.state_dict()
    exported.write(place, "mlp", weights, DIGITS.classes, images, state, about=about)
    return str(place / exported.WEIGHTS)


def saw(file: str, *held_out: str) -> list[str]:
    return seen(origin("mlp", file), file, DIGITS, held_out)


def test_the_held_out_domains_that_a_file_was_trained_on_or_chosen_by_are_found(tmp_path):
    honest = export(tmp_path / "honest")
    assert saw(honest, "0") == []
    (why,) = saw(honest, "0", "15", "75")
    assert "X.0.0.1, which was trained on 15, 75 of" in why
    assert saw(honest, "0/15", "75/15") == [why]
    of_pair = export(tmp_path / "pair", held_out="0/15")
    assert saw(of_pair, "0", "15", "0/15") == []
    (why,) = saw(of_pair, "0/75")
    assert "trained on 75 of" in why
    (why,) = saw(export(tmp_path / "oracle", method="oracle"), "0")
    assert "selected by oracle" in why
    # A model that began with another has seen what that saw.
    assert len(saw(export(tmp_path / "again", weights=honest), "15")) == 2
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(Path(honest).read_bytes())
    assert not known_in_full(origin("mlp", str(alone)), [DIGITS])
    assert known_in_full(origin("mlp", honest), [DIGITS])
    assert known_in_full(origin("resnet50", "imagenet"), [DIGITS])


def test_weights_that_a_run_has_kept_are_of_its_study(folder):
    record(small_sweep(held_out=["0", "15"]), folder)
    state = models.build("mlp", 10, DIGITS.image_shape).state_dict()
    name = "weights/RotatedDigits.mlp.SAGM.15.0.3.safetensors"
    folder.write_bytes(name, safetensors.torch.save(state))
    assert saw(folder.path(name), "15") == []
    (why,) = saw(folder.path(name), "0", "15")
    assert "trained on 0 of" in why
    # Under a name of the user's own it could be any study's.
    folder.write_bytes("weights/best.safetensors", safetensors.torch.save(state))
    assert not origin("mlp", folder.path("weights/best.safetensors")).known


def test_of_a_card_that_somebody_edited_nothing_is_known(tmp_path):
    weights = export(tmp_path / "export")
    (tmp_path / "export" / exported.CARD).write_text("trained: {method: null}\n")
    assert not origin("mlp", weights).known


def test_a_launch_refuses_them_and_with_leave_every_table_says_so(tmp_path):
    weights = export(tmp_path / "export")

    def sweep(**search):
        return small_sweep(
            model={"name": "mlp", "weights": weights},
            held_out=["15"],
            training={"steps": 2, "evaluate_every": 2},
            search={"trials": 1, **search},
        )

    folder = RunFolder(tmp_path / "run")
    with pytest.raises(SteppeError, match=r"trained on 15 .*search\.allow_oracle: true"):
        launch.launch(sweep(), folder)
    with without_ray():
        assert launch.launch(sweep(allow_oracle=True), folder)
    assert len(json.loads(folder.read_bytes(MANIFEST))["saw_held_out"]) == 1
    Path(weights).unlink()  # tables go by the manifest
    (table,) = summary(load(folder.uri)).tables
    assert len([note for note in table.notes if "not the honest protocol" in note]) == 1
