"""Each mistake in a sweep file has a sentence that names its key, its value and the way out."""

import dataclasses

import pytest

import datasets
from search.checks.load_sweep import checked
from tests.search.refused import SWEEP, problems, space, the_problem


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "a b"}, "name is 'a b'; it names the run's folder"),
        ({"name": "../x"}, "name is '../x'; it names the run's folder"),
        ({"name": 2024}, "name is 2024; it must be text; put it in quotes"),
        ({"dataset": "PACS"}, "dataset is 'PACS'; it must be a mapping, such as {name: Rot"),
        ({"dataset": {}}, "dataset.name is missing; add it, such as name: RotatedDigits"),
        ({"dataset": {"name": "RotatedDigit"}}, "dataset.name is 'RotatedDigit'; did you mean Ro"),
        ({"model": {"name": "cn"}}, "model.name is 'cn'; did you mean cnn? (there are: "),
        ({"algorithms": "SAM"}, "algorithms is 'SAM'; it must be a list, such as [ERM, SAM, "),
        ({"algorithms": []}, "algorithms is []; it needs at least one entry"),
        ({"algorithms": ["SAMM"]}, "algorithms[0] cannot be used: unknown algorithm 'SAMM'; did"),
        ({"algorithms": ["ERM", "SAM+SAGM"]}, "algorithms[1] cannot be used: 'SAM+SAGM' does not"),
        ({"algorithms": ["SAM", "SAM"]}, "algorithms[1] is 'SAM', which the list already has"),
        ({"algorithms": ["DISAM", "SAM+DISAM"]}, "algorithms[1] is 'SAM+DISAM', the same as DISAM"),
        ({"held_out": []}, "held_out is []; it must be all or name at least one domain"),
        ({"held_out": "75"}, "held_out is '75'; it must be all or a list of domains"),
        ({"held_out": ["75", "5"]}, "held_out[1] is '5', no domain of RotatedDigits; did you"),
        ({"held_out": [0, "0"]}, "held_out[1] is '0', which the list already has"),
        (
            {"dataset": {"name": "SpawriousM2MEasy", "root": "x"}, "held_out": ["SC_group_1"]},
            "held_out[0] is 'SC_group_1', but SpawriousM2MEasy is made for holding out Test alone",
        ),
        ({"held_out": [["0", "5"]]}, "held_out[0] is '5', no domain of RotatedDigits; did you"),
        ({"held_out": [[0, 15], [15, 0]]}, "held_out[1] is ['0', '15'], which the list already"),
        ({"held_out": [[0], "0"]}, "held_out[1] is '0', which the list already has"),
        ({"held_out": [[0, 15, 0]]}, "held_out is [[0, 15, 0]]; the set ['0', '15', '0'] has a"),
        ({"held_out": [[]]}, "held_out is [[]]; a set of domains that are held out together"),
        ({"held_out": [[[0, 15]]]}, "held_out is [[[0, 15]]]; [0, 15] is not the name of a"),
        (
            {"held_out": [["0", "15", "30", "45", "60", "75"]]},
            "held_out leaves no source domain to train on, as it has a set of all 6",
        ),
        (
            {"held_out": ["0", ["15", "30", "45", "60", "75"]]},
            "algorithms[3] is 'DISAM', which compares source domains and needs at least two",
        ),
        ({"seeds": [0, 1, 0]}, "seeds[2] is 0, which the list already has"),
        ({"seeds": [0, -1]}, "seeds[1] is -1; it must be at least 0"),
        ({"seeds": [True]}, "seeds[0] is true; it must be a number"),
        ({"seeds": 3}, "seeds is 3; it must be a list, such as [0, 1, 2]"),
        ({"training": None}, "training is empty; it must be a mapping"),
        ({"search": {"first_trials": [0.1]}}, "search.first_trials[0] is 0.1; it must be a map"),
        ({"search": {"first_trials": [None]}}, "search.first_trials[0] is empty; it must be a ma"),
        ({"search": {"trials": 10**12}}, "search.trials is 1000000000000; it must be at most 100"),
        ({"search": {"patience": 1e30}}, "search.patience is 1.0e+30; it is too large"),
        ({"training": {"steps": 0}}, "training.steps is 0; it must be at least 1"),
        ({"training": {"steps": 1.5}}, "training.steps is 1.5; it must be a whole number"),
        ({"training": {"steps": "many"}}, "training.steps is 'many'; it must be a whole number"),
        ({"training": {"steps": 100}}, "training.evaluate_every is 200 (its default); it must be"),
        ({"training": {"rho_warmup": 5000}}, "training.rho_warmup is 5000; it must be below train"),
        ({"training": {"rho_floor": 1}}, "training.rho_floor is 1; it must be below 1"),
        ({"training": {"lr_drop": 1}}, "training.lr_drop is 1; it must be below 1"),
        ({"training": {"optimizer": "adma"}}, "training.optimizer is 'adma'; did you mean adam?"),
        ({"training": {"lr_warmup": 5000}}, "training.lr_warmup is 5000; it must be below train"),
        ({"training": {"lr_schedule": "cosin"}}, "training.lr_schedule is 'cosin'; did you mean "),
        ({"training": {"lr_drop_at": 0.8}}, "training.lr_drop_at is 0.8; it must be a list, such"),
        ({"training": {"lr_drop_at": [0.5, 1]}}, "training.lr_drop_at[1] is 1; it must be below 1"),
        ({"training": {"lr_drop_at": []}}, "training.lr_drop_at is []; it needs at least one ent"),
        ({"training": {"clip_norm": 0}}, "training.clip_norm is 0; it must be above 0"),
        ({"training": {"averaging": "sawd"}}, "training.averaging is 'sawd'; did you mean swad?"),
        ({"training": {"micro_batches": 0}}, "training.micro_batches is 0; it must be at least 1"),
        ({"training": {"micro_batches": 64}}, "training.micro_batches is 64, but a batch may have"),
        ({"training": {"precision": "fp16"}}, "training.precision is 'fp16'; did you mean "),
        ({"training": {"compile": "maybe"}}, "training.compile is 'maybe'; it must be true or fal"),
        ({"training": {"deterministic": 2}}, "training.deterministic is 2; it must be true or fal"),
        ({"training": {"device": "gpu"}}, "training.device is 'gpu'; "),
        (
            {"training": {"device": "mps", "micro_batches": 2}},
            "training.micro_batches is 2, but on mps torch cannot repeat the random numbers of a",
        ),
        (
            {"training": {"device": "cuda"}},
            "training.device is 'cuda', but resources.gpu is 0, and Ray hides the GPUs from such",
        ),
        (
            {"training": {"device": "cpu"}, "resources": {"gpu": 0.5}},
            "training.device is 'cpu', but resources.gpu is 0.5, and a trial would hold its GPU",
        ),
        (
            {"training": {"lr": 1e-3}},
            "training.lr is not a key; it is a hyperparameter and belongs",
        ),
        ({"training": {"trials": 3}}, "training.trials is not a key; did you mean search.trials?"),
        ({"search": {"sampler": "optuna"}}, "search.sampler is 'optuna'; there are: random, "),
        (
            {"search": {"reduction_factor": 1}},
            "search.reduction_factor is 1; it must be at least 2",
        ),
        ({"search": {"grace_steps": 9000}}, "search.grace_steps is 9000; it must be at most tra"),
        ({"resources": {"cpu": 0}}, "resources.cpu is 0; it must be at least 0.001"),
        (
            {"resources": {"gpu": 1.5}},
            "resources.gpu is 1.5; it must be a share up to 1 or a whole",
        ),
        ({"resources": {"gpu": float("nan")}}, "resources.gpu is .nan; it must be a finite number"),
        ({"serach": {}}, "serach is not a key; did you mean search?"),
    ],
)
def test_a_wrong_value_is_told_in_one_sentence(changes, sentence):
    assert the_problem(**changes).startswith(sentence)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        (
            {"rh": 0.1},
            "search.space.rh is no hyperparameter of the listed algorithms (ERM, SAM, SA",
        ),
        (
            {"gamma": 1},
            "search.space.gamma is a hyperparameter of GGA-L, but of none of the listed",
        ),
        ({"ERM": {"rho": 1}}, "search.space.ERM.rho is no hyperparameter of ERM; there are: lr, "),
        (
            {"SAM": {"rhoo": 1}},
            "search.space.SAM.rhoo is no hyperparameter of SAM; did you mean rh",
        ),
        ({"GSAM": {"rho": 1}}, "search.space.GSAM is not among the algorithms (ERM, SAM, SAGM, DI"),
        ({"SAGN": {"rho": 1}}, "search.space.SAGN is no algorithm; did you mean SAGM?"),
        (
            {"rho": {"min": 1}},
            "search.space.rho holds settings of its own, which only an algorithm",
        ),
        (
            {"rho": {"uniform": [1, 0]}},
            "search.space.rho is {uniform: [1, 0]}; the low end 1 is ab",
        ),
        (
            {"SAM": {"rho": [1, 2]}},
            "search.space.SAM.rho is [1, 2]; a list is not a range; write {cho",
        ),
        ({"rho": {"log_unifrom": [1, 2]}}, "search.space.rho is {log_unifrom: [1, 2]}; 'log_unif"),
        (
            {"lr": {"uniform": [-1, 1]}},
            "search.space.lr is {uniform: [-1.0, 1.0]}; lr must be at l",
        ),
        ({"lr": "fast"}, "search.space.lr is 'fast'; lr is a number, not 'fast'"),
        (
            {"swad_ratio": 0.3},
            "search.space.swad_ratio is a number of the averaging swad, but trai",
        ),
        ({"dropout": 1}, "search.space.dropout is 1; dropout must be at most 0.99, not 1"),
        ({"batch_size": 0}, "search.space.batch_size is 0; batch_size must be at least 1, not 0"),
        ({"batch_size": 8.5}, "search.space.batch_size is 8.5; batch_size is a whole number, not"),
        ({"batch_size": {"log_uniform": [8, 32]}}, "search.space.batch_size is {log_uniform: [8.0"),
    ],
)
def test_a_space_that_does_not_fit_is_told_in_one_sentence(entries, sentence):
    assert the_problem(search=space(**entries)).startswith(sentence)


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
    lines = problems(name=None, dataset=None, algorithms=3, seeds=[[]], search=space(lr=None))
    assert len(lines) == 5
    assert not [line for line in lines if "http" in line or "Input" in line or "valid" in line]


def dataset_with(domains: int) -> datasets.Entry:
    entry = datasets.DATASETS["RotatedDigits"]
    names = tuple("abc"[:domains])
    return dataclasses.replace(
        entry, description=dataclasses.replace(entry.description, domains=names)
    )


def test_holding_out_the_only_domain_is_refused(monkeypatch):
    monkeypatch.setitem(datasets.DATASETS, "One", dataset_with(domains=1))
    line = the_problem(dataset={"name": "One"})
    assert line.startswith("held_out leaves no source domain to train on, as One has only 1; ")


def test_what_compares_domains_needs_two_of_them(monkeypatch):
    monkeypatch.setitem(datasets.DATASETS, "Two", dataset_with(domains=2))
    algorithms = ["ERM", "DISAM+SAGM", "GGA", "GGA-L"]
    lines = problems(dataset={"name": "Two"}, algorithms=algorithms)
    assert [line.split(",")[0] for line in lines] == [
        f"algorithms[{index}] is '{algorithms[index]}'" for index in (1, 2, 3)
    ]
    monkeypatch.setitem(datasets.DATASETS, "Two", dataset_with(domains=3))
    assert checked({**SWEEP, "dataset": {"name": "Two"}, "algorithms": algorithms}, "x")


def test_a_grid_needs_single_values():
    lines = problems(
        algorithms=["ERM", "SAM"],
        search={
            "sampler": "grid",
            "space": {
                "lr": {"choice": [1e-5, 1e-4]},
                "weight_decay": 0,
                "SAM": {"rho": {"uniform": [0, 1]}},
            },
        },
    )
    assert lines == [
        "search.space.SAM.rho is 0 .. 1, but a grid needs single values: write "
        "{choice: [0, 1]}, with as many as you like, or a constant"
    ]


def test_a_grid_too_large_to_list_is_refused():
    many = {"choice": [i / 1000 for i in range(400)]}
    search = {"sampler": "grid", "space": {"lr": many, "weight_decay": many}}
    line = the_problem(algorithms=["ERM"], search=search)
    assert line.startswith("search.space gives ERM a grid of 160,000 points; list fewer values")


def test_first_trials_have_hyperparameters_that_someone_has():
    line = the_problem(search={"first_trials": [{"rho": 0.1}, {"rhoo": 0.1}]})
    assert line.startswith("search.first_trials[1].rhoo is no hyperparameter of the listed")


def test_a_first_trial_outside_of_every_range_is_refused():
    search = {**space(lr={"uniform": [0.1, 0.2]}), "first_trials": [{"lr": 0.15}, {"lr": 0.5}]}
    line = the_problem(search=search)
    assert line.startswith("search.first_trials[1].lr is 0.5, which its range (0.1 .. 0.2) does")


def test_a_first_trial_inside_of_one_algorithms_range_is_taken():
    search = {**space(SAM={"rho": {"uniform": [1, 2]}}), "first_trials": [{"rho": 1.5}]}
    assert checked({**SWEEP, "search": search}, "x")


def test_an_annealing_window_opens_while_the_run_lasts():
    short = {"steps": 100, "evaluate_every": 50}
    line = the_problem(algorithms=["GGA"], training=short)
    assert line.startswith("search.space.start may be 200, but a run of 100 steps would be over")
    line = the_problem(algorithms=["GGA"], training=short, search=space(GGA={"start": 100}))
    assert line.startswith("search.space.GGA.start may be 100, ")
    early = {**SWEEP, "algorithms": ["GGA"], "training": short, "search": space(start=99)}
    assert checked(early, "x")
    line = the_problem(algorithms=["SMA"], training=short, search=space(sma_start=101))
    assert line.startswith("search.space.sma_start may be 101, but a run of 100 steps would be ")
    assert checked({**SWEEP, "algorithms": ["SMA"], "training": short}, "x")


def test_weights_that_the_model_does_not_have_are_refused_before_anything_starts(tmp_path):
    for model, named in (
        ({"name": "resnet18", "weights": "imagent"}, "imagenet"),
        ({"name": "cnn", "weights": "imagenet"}, "cnn"),
        ({"name": "resnet18", "weights": str(tmp_path / "no.pt")}, "no.pt"),
    ):
        line = the_problem(model=model)
        assert line.startswith("model.weights is ")
        assert named in line.split(": ", 1)[1]
