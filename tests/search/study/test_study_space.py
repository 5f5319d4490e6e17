"""What each algorithm searches, and what its studies try first."""

import json
from pathlib import Path

import pytest
import yaml

from models.tuning import TUNINGS
from search.checks.load_sweep import checked
from search.checks.notes import unpublished
from search.space.algorithm_names import parts
from search.space.published_settings import ANY, PUBLISHED, published
from search.space.ranges import (
    Choice,
    Fixed,
    Interval,
    Value,
    grid_points,
    grid_size,
    nearest_value,
    value_in,
    widened,
)
from search.space.suggested_ranges import RANDOM_WEIGHTS, RANGES, TEXT_HEAD, TRAINING, suggestions
from search.study.plan import plans
from search.study.resolved_sweep import as_yaml, differences
from search.study.study import trials_per_study
from search.study.study_space import begins_with, column_types, study_space
from search.sweep.per_dataset import by_dataset
from search.sweep.schema import Sweep
from tests.search.play import first_settings
from training import averaging
from training.algorithms import OF_TEXTS, PARTS, hyperparameters, part_hyperparameters
from training.averaging import AVERAGINGS

GOLDEN = Path(__file__).parents[2] / "golden"
COMPOSITIONS = ["DISAM+SAGM", "DISAM+GSAM", "GGA+SAM", "ASAM+SAGM", "ASAM+DISAM"]
OF_IMAGES = [part for part in PARTS if part not in OF_TEXTS]
ALGORITHMS = ["ERM", *OF_IMAGES, *COMPOSITIONS]
# Of any part but `start`, which would be after the last step.
OWN = {name for part in OF_IMAGES for name in part_hyperparameters(part)}
NUMBERS = {*suggestions(()), *OWN} - {"start"}


PRETRAINED = {"name": "resnet50", "weights": "imagenet"}


def sweep(
    *algorithms: str,
    dataset: str = "RotatedDigits",
    model: dict[str, str] = PRETRAINED,
    **search: object,
) -> Sweep:
    data = {
        "name": "x",
        "dataset": {"name": "RotatedDigits"},
        "model": model,
        "algorithms": algorithms,
        "search": search,
    }
    found = checked(data, "x")
    return found.model_copy(update={"dataset": found.dataset.model_copy(update={"name": dataset})})


def published_values(dataset: str, algorithm: str) -> dict[str, Value]:
    """The published values of an algorithm on a dataset."""
    return {name: entry.value for name, entry in published(parts(algorithm), dataset).items()}


@pytest.mark.parametrize("part", PARTS)
def test_every_hyperparameter_of_a_part_has_a_range_and_a_published_value(part):
    assert part_hyperparameters(part).keys() <= RANGES[part].keys()
    assert hyperparameters(part).items() <= published_values("any", part).items()


def test_every_range_and_every_published_value_has_a_source_and_a_hyperparameter():
    of_models = {RANDOM_WEIGHTS, TEXT_HEAD, "genie", *TUNINGS} - {"full"}
    for table in (RANGES, PUBLISHED):
        assert table.keys() == {TRAINING, *PARTS, *AVERAGINGS, *of_models}
    for part in PARTS:
        known = {*suggestions(()), *hyperparameters(part)}
        assert RANGES[part].keys() <= known
        for entries in PUBLISHED[part].values():
            assert entries.keys() <= known
    assert all(s.source for part in PARTS for s in suggestions([part]).values())
    assert all(p.source for part in PARTS for p in published([part], "PACS").values())


@pytest.mark.parametrize(
    "dataset", ["PACS", "VLCS", "OfficeHome", "TerraIncognita", "DomainNet", "RotatedDigits"]
)
def test_every_published_setting_lies_in_the_suggested_ranges(dataset):
    of_all = sweep(*ALGORITHMS, dataset=dataset)
    by_algorithm = {plan.study.algorithm: plan for plan in plans(of_all).values()}
    for algorithm in ALGORITHMS:
        space = study_space(of_all, algorithm)
        assert space.keys() == published_values(dataset, algorithm).keys()
        searched = {k for k, r in space.items() if not isinstance(r, Fixed)}
        settings = by_algorithm[algorithm].first_settings()
        assert all(setting.keys() == searched for setting in settings)
    assert [n for n in unpublished(of_all) if not n.startswith("weight_decay 0 ")] == []


def test_published_settings_are_those_of_the_papers():
    for dataset, algorithm, values in (
        ("PACS", "SAGM", {"lr": 3e-5, "weight_decay": 1e-4, "dropout": 0.5, "batch_size": 32}),
        ("PACS", "SAGM", {"rho": 0.05, "alpha": 1e-3}),
        ("OfficeHome", "SAGM", {"alpha": 5e-4}),
        ("DomainNet", "DISAM+SAGM", {"weight_decay": 1e-6}),
        ("TerraIncognita", "DISAM", {"rho": 0.01, "lambda": 0.2, "lr": 1e-5}),
        ("VLCS", "GGA", {"neighborhood": 1e-6}),
        ("VLCS", "ERM", {"lr": 5e-5, "weight_decay": 0, "dropout": 0, "batch_size": 32}),
    ):
        assert values.items() <= published_values(dataset, algorithm).items()


def test_all_that_climb_share_one_range_of_radii_and_a_stretched_ball_is_ten_times_as_large():
    for algorithm in ("ASAM", "ASAM+SAGM", "DISAM+ASAM", "ASAM-elementwise+GSAM"):
        assert study_space(sweep(algorithm), algorithm)["rho"] == Interval(0.1, 2, log=True)
        assert published_values("TerraIncognita", algorithm)["rho"] == 0.5
    climbing = [name for name in PARTS if "rho" in hyperparameters(name) and "ASAM" not in name]
    assert {"SAM", "GSAM", "SAGM", "GAM", "DISAM", "VaSSO", "F-SAM"} <= set(climbing)
    for algorithm in climbing:
        assert study_space(sweep(algorithm), algorithm)["rho"] == Interval(0.01, 0.2, log=True)


@pytest.mark.parametrize("dataset", ["PACS", "TerraIncognita", "DomainNet", "RotatedDigits"])
def test_all_algorithms_of_a_dataset_begin_with_the_same_training(dataset):
    names = ("ERM", "SAM", "SAGM", "DISAM", "GGA", "SWAD", "Fishr")
    of_all = sweep(*names, dataset=dataset)
    (one,) = by_dataset(of_all).values()
    begun = {name: begins_with(one, name) for name in names}
    trained = {
        name: [tuple(s[key] for key in ("lr", "weight_decay", "dropout")) for s in settings]
        for name, settings in begun.items()
    }
    assert len({frozenset(settings) for settings in trained.values()}) == 1
    assert all(len(set(settings)) == len(settings) for settings in trained.values())
    assert len(trained["ERM"]) == (1 if dataset == "RotatedDigits" else 3)
    # Its own values stay, and its own training comes first.
    assert len({setting["rho"] for setting in begun["DISAM"]}) == 1
    if dataset == "PACS":
        assert trained["ERM"] == [(5e-5, 1e-6, 0), (3e-5, 1e-4, 0.5), (3e-5, 1e-6, 0)]
        assert trained["SAGM"] == trained["GGA"] == [trained["ERM"][n] for n in (1, 0, 2)]


def test_an_algorithm_searches_its_own_hyperparameters_and_no_others():
    of_all = sweep(*ALGORITHMS, space={"rho": 0.1})
    for algorithm in ALGORITHMS:
        own = {"lr", "weight_decay", "dropout", "batch_size", *hyperparameters(algorithm)}
        assert study_space(of_all, algorithm).keys() == own
    assert "rho" not in study_space(of_all, "ERM")
    assert study_space(of_all, "DISAM+SAGM")["rho"] == Fixed(0.1)


def test_a_range_for_one_algorithm_holds_over_the_general_one():
    mine = sweep("SAM", "SAGM", space={"rho": 0.1, "lr": 1e-4, "SAGM": {"rho": 0.2}})
    assert study_space(mine, "SAM")["rho"] == Fixed(0.1)
    assert study_space(mine, "SAGM")["rho"] == Fixed(0.2)
    assert study_space(mine, "SAGM")["lr"] == Fixed(1e-4)


def test_the_batch_size_is_searched_only_if_the_space_names_it():
    assert study_space(sweep("ERM"), "ERM")["batch_size"] == Fixed(32)
    log_int = {"log_int": [8, 45]}
    searched = sweep("ERM", space={"batch_size": log_int})
    assert study_space(searched, "ERM")["batch_size"] == Interval(8, 45, log=True, whole=True)
    assert first_settings(searched, "ERM")[0]["batch_size"] == 32


def test_values_have_the_type_of_their_hyperparameter():
    space = {"rho": 1, "dropout": {"choice": [0, 0.5]}, "search_steps": 5.0, "start": 0}
    ranges = study_space(sweep("GGA+SAM", space=space), "GGA+SAM")
    assert isinstance(ranges["rho"].value, float)
    assert isinstance(ranges["search_steps"].value, int)
    assert [type(value) for value in ranges["dropout"].values] == [float, float]


def test_default_and_published_settings_come_first_then_the_sweeps_own():
    mine = sweep("SAM", dataset="PACS", first_trials=[{"lr": 1e-4, "rho": 0.2}])
    assert first_settings(mine, "SAM") == [
        # A logarithmic range has no 0; its low end stands for it.
        {"lr": 5e-5, "weight_decay": 1e-6, "dropout": 0.0, "rho": 0.05},
        {"lr": 3e-5, "weight_decay": 1e-4, "dropout": 0.5, "rho": 0.05},
        {"lr": 3e-5, "weight_decay": 1e-6, "dropout": 0.0, "rho": 0.05},
        {"lr": 1e-4, "rho": 0.2},
    ]


def test_the_published_setting_comes_as_near_as_ranges_allow_and_the_rest_is_left_to_the_sampler():
    mine = sweep(
        "ERM",
        "SAM",
        "ASAM",
        space={"lr": {"uniform": [0.1, 0.2]}, "weight_decay": 0, "dropout": 0},
        first_trials=[{"rho": 0.02}, {"rho": 0.05}, {"rho": 2.0, "lr": 0.15}],
    )
    first = {"lr": 0.1}  # the same for all trainings that are known
    assert first_settings(mine, "ERM") == [first, {"lr": 0.15}]
    assert first_settings(mine, "SAM") == [
        {**first, "rho": 0.05},
        {"rho": 0.02},
        {"rho": 0.05},
        {"lr": 0.15},
    ]
    # In ASAM's space eta is fixed and rho begins at 0.1.
    assert first_settings(mine, "ASAM") == [
        {**first, "rho": 0.5},
        {"rho": 2.0, "lr": 0.15},
    ]


@pytest.mark.parametrize(
    ("range_", "value", "tried", "wider"),
    [
        (Interval(3e-4, 1e-2, log=True), 5e-5, 3e-4, Interval(5e-5, 1e-2, log=True)),
        (Interval(3e-4, 1e-2, log=True), 1, 1e-2, Interval(3e-4, 1, log=True)),
        (Interval(1e-6, 1e-2, log=True), 0, 1e-6, Interval(0, 1e-2)),
        (Interval(8, 45, log=True, whole=True), 64, 45, Interval(8, 64, log=True, whole=True)),
        (Choice((1e-4, 1e-3)), 5e-5, 1e-4, Choice((5e-5, 1e-4, 1e-3))),
        (Choice((1e-5, 1e-3)), 2e-4, 1e-3, Choice((1e-5, 2e-4, 1e-3))),
        (Choice((0, 0.1)), 0.5, 0.1, Choice((0, 0.1, 0.5))),
        (Fixed(0.2), 0.5, 0.2, Choice((0.2, 0.5))),
    ],
    ids=str,
)
def test_a_value_outside_of_a_range_has_a_nearest_one_and_a_range_that_holds_it(
    range_, value, tried, wider
):
    assert nearest_value(range_, value) == tried
    assert value_in(range_, tried) == tried
    assert widened(range_, value) == wider
    assert nearest_value(wider, value) == value


def test_a_launch_says_what_is_not_as_published_and_names_the_range_that_would_hold_it():
    space = {"lr": {"log_uniform": [1e-3, 1e-2]}, "dropout": 0.2, "SAM": {"rho": {"choice": [1]}}}
    told = unpublished(sweep("ERM", "SAM", space=space))
    for name, words in {
        "lr": ("5e-05", "ERM, SAM", "search.space.lr", "log 0.001 .. 0.01", "[5e-05, 0.01]"),
        "dropout": ("search.space.dropout", "0.2", "{choice: [0, 0.2]}"),
        "rho": ("search.space.SAM.rho", "{choice: [0.05, 1]}"),
        "weight_decay": ("1e-06", "{uniform: [0, 0.01]}"),
    }.items():
        (note,) = (note for note in told if note.startswith(f"{name} "))
        assert all(word in note for word in words)
    assert len(told) == 4
    decay = {"weight_decay": {"uniform": [0, 0.01]}}
    assert unpublished(sweep("ERM", "SAM", space=decay)) == []


def test_ranges_follow_from_what_the_model_starts_from():
    fresh = sweep("ERM", model={"name": "cnn"})
    (one,) = by_dataset(fresh).values()
    assert study_space(one, "ERM") == {
        "lr": Interval(10**-4.5, 10**-2.5, log=True),
        "weight_decay": Fixed(0.0),
        "dropout": Fixed(0.0),
        "batch_size": Fixed(32),
    }
    assert first_settings(one, "ERM") == [{"lr": 1e-3}]
    (note,) = unpublished(fresh)
    assert "cnn from random weights" in note
    assert "search.space.lr" in note
    (one,) = by_dataset(sweep("ERM")).values()
    assert study_space(one, "ERM")["lr"] == Interval(1e-5, 10**-3.5, log=True)


@pytest.mark.parametrize("dataset", ["RotatedMNIST", "ColoredMNIST"])
def test_digits_of_mnist_have_domainbeds_small_images(dataset, tmp_path):
    record = json.loads((GOLDEN / "small_images.json").read_text())
    (default,) = (
        row["hparams"]
        for row in record["default"]
        if (row["algorithm"], row["dataset"]) == ("ERM", dataset)
    )
    data = {
        "name": "x",
        "dataset": {"name": dataset, "root": str(tmp_path)},
        "model": {"name": "mnist_cnn"},
        "algorithms": ["ERM", "VREx"],
        "search": {"space": {"VREx": {"batch_size": {"log_int": [8, 511]}}}},
    }
    found = checked(data, "x")
    (one,) = by_dataset(found).values()

    values = {name: default[name] for name in ("lr", "weight_decay", "batch_size")}
    assert published_values(dataset, "ERM") == {**values, "dropout": 0}
    assert unpublished(found) == []
    assert (one.training.batch_size, one.training.evaluate_every) == (64, 100)
    assert study_space(one, "ERM")["batch_size"] == Fixed(64)
    for row in record["random"]:
        if row["algorithm"] == "ERM" and row["dataset"] == dataset:
            lr, decay = row["hparams"]["lr"], row["hparams"]["weight_decay"]
            space = study_space(one, "VREx")
            assert value_in(space["lr"], lr) == lr
            assert value_in(space["weight_decay"], decay) == decay
            assert value_in(space["batch_size"], row["hparams"]["batch_size"]) is not None
    again = checked(yaml.safe_load(as_yaml(found)), "x")
    assert differences(found, again) == []
    said = checked({**data, "training": {"batch_size": 32, "evaluate_every": 200}}, "x")
    (old,) = by_dataset(said).values()
    assert (old.training.batch_size, old.training.evaluate_every) == (32, 200)
    assert "training.batch_size: 64" in unpublished(said)[0]


def test_a_value_is_placed_in_the_type_of_its_range():
    assert type(value_in(Interval(1, 9, whole=True), 8.0)) is int
    assert type(value_in(Interval(0, 1), 1)) is float
    assert type(value_in(Choice((0.0, 0.5)), 0)) is float
    assert value_in(Interval(0.1, 1), 0) is None


def test_a_grid_is_every_combination_of_the_choices():
    space = {"lr": Choice((1, 2)), "rho": Fixed(0.1), "alpha": Choice((3, 4, 5))}
    points = grid_points(space)
    assert len(points) == grid_size(space) == 6
    assert points[0] == {"lr": 1, "alpha": 3}
    assert len({tuple(point.items()) for point in points}) == 6
    assert grid_points({"rho": Fixed(0.1)}) == [{}]
    with pytest.raises(ValueError, match="rho is an interval"):
        grid_points({"rho": Interval(0, 1)})


def test_a_grid_tries_nothing_first():
    choices = {"lr": {"choice": [1e-5, 1e-4]}, "weight_decay": 0}
    gridded = sweep("ERM", sampler="grid", space={**choices, "dropout": 0})
    assert first_settings(gridded, "ERM") == []
    # But of its points the nearest to the default setting is the first.
    assert begins_with(gridded, "ERM") == [{"lr": 1e-4}]


def test_no_hyperparameter_is_mistaken_for_a_kind_of_range():
    of_all = sweep(*ALGORITHMS)
    spaces = {algorithm: study_space(of_all, algorithm) for algorithm in ALGORITHMS}
    for name in NUMBERS:
        algorithm = next(algorithm for algorithm, space in spaces.items() if name in space)
        value = 0 if name == "dropout" else 1
        nested = sweep(algorithm, space={algorithm: {name: value}})
        assert study_space(nested, algorithm)[name] == Fixed(float(value))


def test_a_study_has_no_more_trials_than_settings():
    choices = {"lr": {"choice": [1e-5, 1e-4, 1e-3]}, "weight_decay": 0, "dropout": 0}
    of_erm, of_sam = (study_space(sweep(name, space=choices), name) for name in ("ERM", "SAM"))
    assert trials_per_study(20, of_erm) == 3
    assert trials_per_study(2, of_erm) == 2
    assert trials_per_study(20, of_sam) == 20


@pytest.mark.parametrize("name", ["none", *AVERAGINGS])
def test_every_number_of_an_averaging_has_a_range_and_a_published_value_in_it(name):
    numbers = averaging.hyperparameters(name)
    ranges, settings = RANGES.get(name, {}), PUBLISHED.get(name, {ANY: {}})
    assert numbers.keys() == ranges.keys()
    assert {key: entry.value for key, entry in settings[ANY].items()} == numbers
    for found in settings.values():
        assert all(value_in(ranges[key].range, p.value) is not None for key, p in found.items())
        assert all(p.source for p in found.values())
    assert all(s.source for s in ranges.values())


def test_an_averagings_numbers_are_searched_only_where_it_is_asked_for():
    def averaged(name: str) -> Sweep:
        found = sweep("ERM", "SAM", dataset="VLCS")
        training = found.training.model_copy(update={"averaging": name})
        return found.model_copy(update={"training": training})

    for algorithm in ("ERM", "SAM"):
        plain = study_space(averaged("none"), algorithm)
        swad = study_space(averaged("swad"), algorithm)
        assert swad.keys() - plain.keys() == {"swad_converge", "swad_tolerance", "swad_ratio"}
    assert column_types(averaged("swad"))["swad_converge"] is int
    assert column_types(averaged("ema"))["ema_decay"] is float
    assert "ema_decay" not in column_types(averaged("none"))
    assert study_space(averaged("sma"), "ERM")["sma_start"] == Fixed(100)
    first, *_ = first_settings(averaged("swad"), "ERM")
    assert (first["swad_converge"], first["swad_tolerance"], first["swad_ratio"]) == (3, 6, 0.2)
