"""Each mistake in a sweep file has a sentence that names its key, its value and the way out."""

import pytest

import datasets
from datasets import Description, Entry
from tests.search.refused import accepted, problems, the_problem


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("name", "a b", " is 'a b'; it names the run's folder"),
        ("name", "../x", " is '../x'; it names the run's folder"),
        ("name", 2024, " is 2024; it must be text; put it in quotes"),
        ("dataset", "PACS", " is 'PACS'; it must be a mapping, such as {name:"),
        ("dataset", {}, ".name is missing; add it, such as name: RotatedDigits"),
        ("dataset.name", "RotatedDigit", " is 'RotatedDigit'; did you mean RotatedDigits"),
        ("model.name", "cn", " is 'cn'; did you mean cnn?"),
        ("algorithms", "SAM", " is 'SAM'; it must be a list, such as [ERM, SAM,"),
        ("algorithms", [], " is []; it needs at least one entry"),
        ("algorithms", ["SAMM"], "[0] cannot be used: unknown algorithm 'SAMM'; did"),
        ("algorithms", ["ERM", "SAM+SAGM"], "[1] cannot be used: 'SAM+SAGM' does not"),
        ("algorithms", ["SAM", "SAM"], "[1] is 'SAM', which the list already has"),
        ("algorithms", ["DISAM", "SAM+DISAM"], "[1] is 'SAM+DISAM', the same as DISAM"),
        ("held_out", [], " is []; it must be all or name at least one domain"),
        ("held_out", "75", " is '75'; it must be all or a list of domains"),
        ("held_out", ["75", "5"], "[1] is '5', no domain of RotatedDigits; did you"),
        ("held_out", [0, "0"], "[1] is '0', which the list already has"),
        ("held_out", [["0", "5"]], "[0] is '5', no domain of RotatedDigits; did you"),
        ("held_out", [[0, 15], [15, 0]], "[1] is ['0', '15'], which the list already"),
        ("held_out", [[0], "0"], "[1] is '0', which the list already has"),
        ("held_out", [[0, 15, 0]], " is [[0, 15, 0]]; the set ['0', '15', '0'] has a"),
        ("held_out", [[]], " is [[]]; a set of domains that are held out together"),
        ("held_out", [[[0, 15]]], " is [[[0, 15]]]; [0, 15] is not the name of a"),
        ("held_out", [[0, 15, 30, 45, 60, 75]], " leaves no source domain to train on"),
        ("seeds", [0, 1, 0], "[2] is 0, which the list already has"),
        ("seeds", [0, -1], "[1] is -1; it must be at least 0"),
        ("seeds", [True], "[0] is true; it must be a number"),
        ("seeds", 3, " is 3; it must be a list, such as [0, 1, 2]"),
        ("training", None, " is empty; it must be a mapping"),
        ("search.first_trials", [0.1], "[0] is 0.1; it must be a"),
        ("search.first_trials", [None], "[0] is empty; it must be a"),
        ("search.trials", 10**12, " is 1000000000000; it must be at most 100000"),
        ("search.patience", 1e30, " is 1.0e+30; it is too large"),
        ("training.steps", 0, " is 0; it must be at least 1"),
        ("training.steps", 1.5, " is 1.5; it must be a whole number"),
        ("training.steps", "many", " is 'many'; it must be a whole number"),
        ("training.rho_warmup", 5000, " is 5000; it must be below training"),
        ("training.rho_floor", 1, " is 1; it must be below 1"),
        ("training.lr_drop", 1, " is 1; it must be below 1"),
        ("training.optimizer", "adma", " is 'adma'; did you mean adam?"),
        ("training.lr_warmup", 5000, " is 5000; it must be below training"),
        ("training.lr_schedule", "cosin", " is 'cosin'; did you mean cosine?"),
        ("training.lr_drop_at", 0.8, " is 0.8; it must be a list, such"),
        ("training.lr_drop_at", [0.5, 1], "[1] is 1; it must be below 1"),
        ("training.lr_drop_at", [], " is []; it needs at least one entry"),
        ("training.clip_norm", 0, " is 0; it must be above 0"),
        ("training.averaging", "sawd", " is 'sawd'; did you mean swad?"),
        ("training.micro_batches", 0, " is 0; it must be at least 1"),
        ("training.micro_batches", 64, " is 64, but a batch may have"),
        ("training.precision", "fp16", " is 'fp16'; did you mean"),
        ("training.compile", "maybe", " is 'maybe'; it must be true or false"),
        ("training.deterministic", 2, " is 2; it must be true or false"),
        ("training.device", "gpu", " is 'gpu';"),
        ("training.device", "cuda", " is 'cuda', but resources.gpu is 0"),
        ("training.lr", 0.001, " is not a key; it is a hyperparameter and belongs"),
        ("training.trials", 3, " is not a key; did you mean search.trials?"),
        ("search.sampler", "optuna", " is 'optuna'; there are: random,"),
        ("search.reduction_factor", 1, " is 1; it must be at least 2"),
        ("search.grace_steps", 9000, " is 9000; it must be at most"),
        ("resources.cpu", 0, " is 0; it must be at least 0.001"),
        ("resources.gpu", 1.5, " is 1.5; it must be a share up to 1 or a whole"),
        ("resources.gpu", float("nan"), " is .nan; it must be a finite number"),
        ("serach", {}, " is not a key; did you mean search?"),
        ("model.weights", "imagenet", " is 'imagenet': model 'cnn' has no weights"),
        ("search.space.rh", 0.1, " is no hyperparameter of the listed algorithms"),
        ("search.space.gamma", 1, " is a hyperparameter of GGA-L, but of none"),
        ("search.space.ERM.rho", 1, " is no hyperparameter of ERM; there are: lr"),
        ("search.space.SAM.rhoo", 1, " is no hyperparameter of SAM; did you mean rho"),
        ("search.space.rho", {"uniform": [1, 0]}, " is {uniform: [1, 0]}; the low end 1"),
        ("search.space.SAM.rho", [1, 2], " is [1, 2]; a list is not a range"),
        ("search.space.rho", {"log_unifrom": [1, 2]}, " is {log_unifrom: [1, 2]}; 'log_unifrom'"),
        ("search.space.lr", {"uniform": [-1, 1]}, " is {uniform: [-1.0, 1.0]}; lr must"),
        ("search.space.lr", "fast", " is 'fast'; lr is a number, not 'fast'"),
        ("search.space.swad_ratio", 0.3, " is a number of the averaging"),
        ("search.space.dropout", 1, " is 1; dropout must be at most 0.99"),
        ("search.space.batch_size", 0, " is 0; batch_size must be at least 1"),
        ("search.space.batch_size", 8.5, " is 8.5; batch_size is a whole number"),
        ("search.space.batch_size", {"log_uniform": [8, 32]}, " is {log_uniform: [8"),
        (
            "search.first_trials",
            [{"rho": 0.1}, {"rhoo": 0.1}],
            "[1].rhoo is no hyperparameter of the listed",
        ),
    ],
)
def test_a_wrong_value_is_told_in_one_sentence(key, value, told):
    assert the_problem(**{key: value}).startswith(key + told)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"dataset.name": "SpawriousM2MEasy", "dataset.root": "x", "held_out": ["SC_group_1"]},
            "held_out[0] is 'SC_group_1', but SpawriousM2MEasy is made for",
        ),
        ({"held_out": [0, [15, 30, 45, 60, 75]]}, "algorithms[3] is 'DISAM', which compares"),
        ({"training.steps": 100}, "training.evaluate_every is 200 (its default); it must be"),
        (
            {"training.device": "mps", "training.micro_batches": 2},
            "training.micro_batches is 2, but on mps",
        ),
        (
            {"training.device": "cpu", "resources.gpu": 0.5},
            "training.device is 'cpu', but resources.gpu is 0.5",
        ),
        (
            {"model.name": "resnet18", "model.weights": "imagent"},
            "model.weights is 'imagent': model 'resnet18' has no weights 'imagent'; did",
        ),
        (
            {"model.name": "resnet18", "model.weights": "/no.pt"},
            "model.weights is '/no.pt': weights of model 'resnet18': there is no file",
        ),
        ({"search.space.GSAM.rho": 1}, "search.space.GSAM is not among the algorithms (ERM, SAM,"),
        ({"search.space.SAGN.rho": 1}, "search.space.SAGN is no algorithm; did you mean SAGM?"),
        ({"search.space.rho.min": 1}, "search.space.rho holds settings of its own, which only an"),
        (
            {
                "search.first_trials": [{"lr": 0.15}, {"lr": 0.5}],
                "search.space.lr.uniform": [0.1, 0.2],
            },
            "search.first_trials[1].lr is 0.5, which its range (0.1 .. 0.2) does",
        ),
    ],
)
def test_a_value_that_does_not_go_with_another_is_told_in_one_sentence(changes, told):
    assert the_problem(**changes).startswith(told)


def test_everything_wrong_is_told_at_once_in_the_order_of_the_file():
    lines = problems(
        name="a b",
        model={"name": "cn"},
        held_out=["7"],
        seeds=["x", 0],
        training={"steps": 0, "optimizer": "sgdd", "momentum": 0.5},
        search={"trials": 0, "space": {"lr": {"uniform": [2, 1]}}, "sampler": "gp"},
        surplus=1,
    )
    assert [line.split()[0] for line in lines] == [
        "surplus",
        "name",
        "model.name",
        "held_out[0]",
        "seeds[0]",
        "training.steps",
        "training.optimizer",
        "search.trials",
        "search.space.lr",
    ]


def test_what_depends_on_a_broken_key_is_not_told():
    lines = problems(
        algorithms=["SGAM"],
        search={"scheduler": "ashaa", "grace_steps": 10, "space": {"alpha": 0.1}},
    )
    assert [line.split()[0] for line in lines] == ["algorithms[0]", "search.scheduler"]


def test_no_sentence_is_pydantics_own():
    lines = problems(
        name=None, dataset=None, algorithms=3, seeds=[[]], search={"space": {"lr": None}}
    )
    assert len(lines) == 5
    assert not [line for line in lines if "http" in line or "Input" in line or "valid" in line]


FOLDS = {"search.objective": "leave-one-domain-out"}


@pytest.mark.parametrize(
    ("enough", "algorithms", "more", "told"),
    [
        (2, ["ERM"], {}, ["held_out leaves no source domain to train on, as Few has only 1"]),
        (3, ["ERM", "GGA", "GGA-L"], {}, ["algorithms[1] is 'GGA'", "algorithms[2] is 'GGA-L'"]),
        (3, ["ERM", "DISAM+SAGM"], {}, ["algorithms[1] is 'DISAM+SAGM', which compares"]),
        (3, ["ERM"], FOLDS, ["search.objective is leave-one-domain-out"]),
        (4, ["ERM", "DISAM"], FOLDS, ["algorithms[1] is 'DISAM', which compares"]),
    ],
)
def test_one_domain_less_than_enough_is_refused(monkeypatch, enough, algorithms, more, told):
    changes = {"dataset.name": "Few", "algorithms": algorithms, **more}
    few, whole = (
        Entry(Description(tuple("abcd"[:count]), 2, "", ""), lambda root, reading: None)
        for count in (enough - 1, enough)
    )
    monkeypatch.setitem(datasets.DATASETS, "Few", few)
    for line, start in zip(problems(**changes), told, strict=True):
        assert line.startswith(start)
    monkeypatch.setitem(datasets.DATASETS, "Few", whole)
    accepted(**changes)


def test_a_grid_needs_single_values_and_not_too_many():
    grid = {"algorithms": ["ERM", "SAM"], "search.sampler": "grid"}
    points = {"lr": {"choice": [1e-5, 1e-4]}, "weight_decay": 0, "rho": {"uniform": [0, 1]}}
    line = the_problem(**grid, **{"search.space": points})
    assert line.startswith("search.space.rho is 0 .. 1, but a grid needs single values: write ")
    assert "{choice: [0, 1]}" in line
    many = {"choice": [i / 1000 for i in range(400)]}
    points = {"lr": many, "weight_decay": many, "SAM": {"lr": 1, "rho": 1}}
    line = the_problem(**grid, **{"search.space": points})
    assert line.startswith("search.space gives ERM a grid of 160,000 points; list fewer values")


def test_a_first_trial_inside_of_one_algorithms_range_is_taken():
    accepted(**{"search.space.SAM.rho.uniform": [1, 2], "search.first_trials": [{"rho": 1.5}]})


def test_an_annealing_window_opens_while_the_run_lasts():
    short = {"algorithms": ["GGA"], "training.steps": 100, "training.evaluate_every": 50}
    line = the_problem(**short)
    assert line.startswith("search.space.start may be 200, but a run of 100 steps would be over")
    line = the_problem(**short, **{"search.space.GGA.start": 100})
    assert line.startswith("search.space.GGA.start may be 100, ")
    accepted(**short, **{"search.space.start": 99})
    short["algorithms"] = ["SMA"]
    line = the_problem(**short, **{"search.space.sma_start": 101})
    assert line.startswith("search.space.sma_start may be 101, but a run of 100 steps would be ")
    accepted(**short)
