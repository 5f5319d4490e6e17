"""The section `model` of a sweep: what it takes, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import models
from models.entry import Texts
from search.checks.check_data import try_model
from search.checks.load_sweep import checked
from search.driver.launch import launch
from search.errors import SteppeError
from search.run.run_folder import RunFolder
from search.run.tables import read_trials
from search.study.plan import plans
from search.study.resolved_sweep import as_yaml
from search.study.study_space import column_types, study_space
from search.sweep.per_dataset import by_dataset
from search.sweep.schema import Model, Sweep
from tests.datasets.photos import tree
from tests.models.tiny_models import SHAPE, saved
from tests.search.play import first_settings, without_ray
from tests.search.refused import SWEEP, problems, space, the_problem
from tests.training.photographs import photographs
from training.run import Run

# Both have batch norm; the second's features do not train.
RESNET = {"name": "timm/test_resnet"}
PROBED = {**RESNET, "tuning": "head"}
LORA = {"name": "open_clip/tiny", "tuning": "lora"}


def sweep(**changes: object) -> Sweep:
    return checked({**SWEEP, **changes}, "sweep.yaml")


def run(of: Sweep) -> Run:
    return next(iter(plans(of).values())).trial(0, {}).run


def resolved(of: Sweep) -> Sweep:
    """The sweep that its resolved file launches."""
    return checked(yaml.safe_load(as_yaml(of)), "sweep.yaml")


@pytest.fixture
def weights(tmp_path: Path) -> str:
    return saved(models.build("timm/test_resnet", 2, SHAPE).state_dict(), tmp_path / "weights.pth")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three domains of two classes."""
    return tree(tmp_path / "images", ("art", "photo", "sketch"), ("cat", "dog"), count=10)


def test_pretrained_batch_norm_is_frozen_unless_the_sweep_says_otherwise(weights: str) -> None:
    pretrained = {**RESNET, "weights": weights}
    for model, given, means in (
        (RESNET, {}, "updated"),
        (RESNET, {"bn": "frozen"}, "frozen"),
        (pretrained, {}, "frozen"),
        (pretrained, {"bn": "auto"}, "frozen"),
        (pretrained, {"bn": "updated"}, "updated"),
    ):
        found = sweep(model=model, training=given)
        assert run(found).bn == means
        assert resolved(found).training.bn == means
        assert run(resolved(found)).bn == means


def test_without_batch_norm_there_is_nothing_to_resolve(weights: str) -> None:
    for model in ({"name": "cnn"}, PROBED):
        found = sweep(model=model, algorithms=["SAM"])
        assert resolved(found).training.bn == "auto"
        assert run(found).bn == "updated"


@pytest.mark.parametrize(
    ("model", "training", "reason"),
    [
        (PROBED, {"bn": "frozen"}, "model.tuning is head, and the features stay"),
        (PROBED, {"bn": "updated"}, "model.tuning is head, and the features stay"),
        (PROBED, {"bn_second_pass": "updated"}, "model.tuning is head, and the features stay"),
        (PROBED, {"compile": True}, "model.tuning is head"),
        (
            {**RESNET, "weights": "WEIGHTS"},
            {"bn_second_pass": "updated"},
            "frozen batch norm is not updated in any pass",
        ),
    ],
)
def test_a_key_of_training_that_the_model_leaves_without_effect_is_refused(
    weights: str, model: dict[str, str], training: dict[str, object], reason: str
) -> None:
    given = {key: value.replace("WEIGHTS", weights) for key, value in model.items()}
    line = the_problem(model=given, algorithms=["SAM"], training=training)
    (key,) = training
    assert line.startswith(f"training.{key} is ")
    assert f"has no effect: {reason}" in line


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (
            {"name": "timm/test_vitt"},
            "model.name is 'timm/test_vitt': timm has no model 'test_vitt'; "
            "did you mean 'timm/test_vit",
        ),
        ({"name": "resnet51"}, "model.name is 'resnet51'; did you mean resnet50? (there are: cnn"),
        ({"name": "RN50"}, "model.name is 'RN50'; did you mean resnet50? (there are: cnn"),
        (
            {"name": "timm/test_vit", "weights": "r161_in1k"},
            "model.weights is 'r161_in1k': model 'timm/test_vit' has no weights 'r161_in1k'; "
            "did you mean 'r160_in1k'?",
        ),
        ({"name": "cnn", "tuning": "lara"}, "model.tuning is 'lara'"),
        (
            {"name": "cnn", "tuning": "lora"},
            "model.tuning is 'lora': lora adapts the matrices of attention, and the model has "
            "none; choose full or head",
        ),
    ],
)
def test_what_there_is_not_is_refused(model: dict[str, str], line: str) -> None:
    assert the_problem(model=model).startswith(line)


def test_algorithms_that_change_features_are_refused_where_they_cannot_change() -> None:
    model = {"name": "cnn", "tuning": "head"}
    lines = problems(model=model, algorithms=["SAGM", "CORAL+SAM", "GGA", "VREx"])
    assert [line.partition(",")[0] for line in lines] == [
        "algorithms[1] is 'CORAL+SAM'",
        "algorithms[2] is 'GGA'",
    ]
    assert "whose CORAL changes the features, but with model.tuning: head they stay" in lines[0]
    sweep(model=LORA, algorithms=["CORAL+SAM", "GGA"])


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (RESNET, "model.weights"),
        ({**PROBED, "weights": "WEIGHTS"}, "head"),
        ({"name": "timm/vgg11", "weights": "tv_in1k"}, "feature map"),
    ],
)
def test_miro_is_refused_without_features_to_stay_close_to(
    weights: str, model: dict[str, str], word: str
) -> None:
    given = {key: value.replace("WEIGHTS", weights) for key, value in model.items()}
    line = the_problem(model=given, algorithms=["ERM", "SAGM+MIRO+SWAD"])
    assert line.startswith("algorithms[1] is 'SAGM+MIRO+SWAD', whose MIRO ")
    assert word in line


def test_miro_takes_pretrained_weights_in_full_or_with_lora(weights: str) -> None:
    model = {**RESNET, "weights": weights}
    sweep(model=model, algorithms=["MIRO"], training={"start": "linear-probe"})


def test_images_that_the_model_cannot_take_are_refused_before_they_are_decoded(root: Path) -> None:
    dataset = {"name": "ImageFolders", "root": str(root), "size": 40}
    line = the_problem(dataset=dataset, model={"name": "timm/test_vit"})
    assert line.startswith("dataset.size is 40, and model 'timm/test_vit' cannot take images of 40")
    sweep(dataset={**dataset, "size": 48}, model={"name": "timm/test_vit"})


def test_loras_rank_is_searched_from_the_papers_and_its_alpha_fixed() -> None:
    found = sweep(model=LORA, algorithms=["SAGM"])
    one = by_dataset(found)["RotatedDigits"]

    assert (column_types(found)["lora_rank"], column_types(found)["lora_alpha"]) == (int, float)
    assert study_space(one, "SAGM")["lora_rank"].values == (2, 4, 8, 16)
    assert study_space(one, "SAGM")["lora_alpha"].value == 8.0
    assert first_settings(one, "SAGM")[0]["lora_rank"] == 8


@pytest.mark.parametrize(
    ("model", "entry", "line"),
    [
        (
            {"name": "cnn"},
            4,
            "search.space.lora_rank is a number of the tuning lora, but model.tun",
        ),
        (LORA, {"choice": [0, 4]}, "search.space.lora_rank is"),
        (LORA, {"uniform": [2, 4]}, "search.space.lora_rank is"),
    ],
)
def test_a_rank_of_lora_that_cannot_be_is_refused(
    model: dict[str, str], entry: object, line: str
) -> None:
    assert the_problem(model=model, search=space(lora_rank=entry)).startswith(line)


def test_a_model_that_cannot_be_built_is_said_before_any_trial(tmp_path: Path) -> None:
    other = saved(models.build("cnn", 2, SHAPE).state_dict(), tmp_path / "other.pth")
    (tmp_path / "page.pth").write_text("<html>404</html>")
    for weights, reason in (
        (other, "do not fit"),
        (str(tmp_path / "page.pth"), "cannot read weights"),
    ):
        with pytest.raises(SteppeError, match=rf"^model\.weights is .*{reason}"):
            try_model(Model(name="timm/test_vit", weights=weights), [photographs()])


@pytest.mark.parametrize(
    ("name", "how"),
    [("timm/test_resnet", "full"), ("timm/test_vit", "lora"), ("open_clip/tiny", "head")],
)
def test_a_sweep_runs_on_a_model_of_a_family(
    root: Path, tmp_path: Path, name: str, how: str
) -> None:
    found = sweep(
        dataset={"name": "ImageFolders", "root": str(root), "size": 32},
        model={"name": name, "tuning": how},
        algorithms=["SAGM"],
        held_out=["photo"],
        seeds=[0],
        training={"steps": 4, "evaluate_every": 2, "batch_size": 2},
        search={"trials": 1, "scheduler": "none"},
    )
    folder = RunFolder.create(tmp_path / "run")

    with without_ray():
        assert launch(found, folder)

    trials = read_trials(folder)
    assert list(trials["state"]) == ["completed"]
    assert set(trials["model"]) == {name}
    assert ("hp_lora_rank" in trials) == (how == "lora")


def test_the_default_prompt_is_that_of_a_text_head():
    assert Model(name="open_clip/ViT-B-16").prompts == Texts(("a",)).prompts
