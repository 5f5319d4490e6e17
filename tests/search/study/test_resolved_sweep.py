import json
import pickle

import pytest
import yaml

from datasets import KINDS
from search.checks.load_sweep import checked, load, sweep_of
from search.errors import SteppeError
from search.results.loading import read_sweep
from search.run.run_folder import SWEEP as SWEEP_FILE
from search.run.run_folder import RunFolder
from search.study.resolved_sweep import Changes, as_yaml, changes, differences, resolved
from search.study.study_space import study_space
from search.sweep.per_dataset import by_dataset, with_originals_of
from search.sweep.schema import Sweep, json_schema
from tests.search.command import steppe, write_yaml
from tests.search.play import first_settings

SWEEP = {
    "name": "small",
    "dataset": {"name": "RotatedMNIST", "root": "/data/digits"},
    "model": {"name": "cnn"},
    "algorithms": ["ERM", "DISAM+SAGM", "GGA"],
    "held_out": "all",
    "seeds": [0, 3],
    "training": {"steps": 300, "evaluate_every": 50, "batch_size": 16, "optimizer": "adamw"},
    "search": {
        "trials": 4,
        "space": {
            "lr": {"log_uniform": ["1e-5", 1e-3]},
            "search_steps": {"log_int": [2, 9]},
            "GGA": {"batch_size": {"choice": [8, 16]}, "dropout": 0.5},
        },
        "first_trials": [{"lr": 1e-4, "alpha": 0.01}],
    },
}


def sweep(**changes: object) -> Sweep:
    return checked({**SWEEP, **changes}, "sweep.yaml")


def test_the_resolved_file_launches_the_same_sweep(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(as_yaml(sweep()))
    again = load(path)
    assert differences(sweep(), again) == []
    assert as_yaml(again) == as_yaml(sweep())
    for algorithm in again.algorithms:
        assert study_space(again, algorithm) == study_space(sweep(), algorithm)
        assert first_settings(again, algorithm) == first_settings(sweep(), algorithm)
    larger = load(path, ["training.batch_size=64"])
    assert study_space(larger, "ERM")["batch_size"].value == 64


def test_nothing_is_left_implicit_in_the_resolved_file():
    data = yaml.safe_load(as_yaml(sweep()))
    assert data["held_out"] == ["0", "15", "30", "45", "60", "75"]
    assert data["training"]["optimizer"] == "adamw"
    assert data["search"]["scheduler"] == "asha"
    assert data["search"]["space"]["ERM"] == {
        "lr": {"log_uniform": [1e-5, 1e-3]},
        "weight_decay": 0.0,
        "dropout": 0.0,
    }
    assert data["search"]["space"]["GGA"]["batch_size"] == {"choice": [8, 16]}


def test_differences_name_the_keys_and_both_values():
    other = sweep(
        search={**SWEEP["search"], "trials": 20, "space": {"search_steps": 5}},
        held_out=["0"],
    )
    found = differences(other, sweep())
    assert found[0] == "held_out: ['0'] here, ['0', '15', '30', '45', '60', '75'] in the run"
    found = differences(sweep(), other)
    assert "search.trials: 4 here, 20 in the run" in found
    assert "search.space.GGA.search_steps: {log_int: [2, 9]} here, 5 in the run" in found
    assert "search.space.GGA.batch_size: {choice: [8, 16]} here, nothing in the run" in found


def test_a_run_may_be_asked_for_more_studies_and_trials_and_for_nothing_less():
    fewer = {"algorithms": ["ERM", "GGA"], "held_out": ["15", "0"], "seeds": [3]}
    search = {**SWEEP["search"], "trials": 3, "first_trials": [{"lr": 1e-4}]}
    small = sweep(**fewer, search=search)
    large = sweep(search={**search, "trials": 4})
    assert changes(large, small).refused == ()
    assert changes(large, small).more == (
        "algorithms + [DISAM+SAGM]",
        "held_out + ['30', '45', '60', '75']",
        "seeds + [0]",
        "search.trials 3 -> 4",
    )
    assert [found.split(":")[0] for found in differences(small, large)] == [
        *("algorithms", "held_out", "seeds", "search.trials")
    ]


@pytest.mark.parametrize(
    ("key", "was", "now", "may_change"),
    [
        ("search.max_failures", None, 9, True),
        ("search.hang_seconds", None, 60.0, True),
        ("search.budget", None, {"passes": 9}, True),
        ("search.keep_weights", None, "all", True),
        ("search.keep_weights", None, "best", True),
        ("search.keep_weights", None, 3, True),
        ("search.keep_weights", None, "last", False),
        ("search.keep_weights", "best", "all", True),
        ("search.keep_weights", "all", "best", False),  # no kept weights go
        ("training.checkpoint_seconds", None, 5.0, True),
        ("resources.memory", None, 8.0, True),
        ("resources.cpu", None, 2.0, False),
        ("resources.gpu", None, 1.0, False),
        ("resources.gpu", 1.0, 0.5, True),
    ],
)
def test_what_makes_no_trial_another_may_change(key, was, now, may_change):
    section, name = key.split(".")
    recorded, asked = (
        sweep(**({} if value is None else {section: {**SWEEP.get(section, {}), name: value}}))
        for value in (was, now)
    )
    found = changes(asked, recorded)
    (line,) = found.other if may_change else found.refused
    assert line.startswith(key)
    assert found.more == ()
    assert not (found.refused if may_change else found.other)


def test_a_sweep_over_one_dataset_may_grow_to_several():
    several = sweep(
        dataset=None,
        datasets={
            "RotatedDigits": {},
            "RotatedMNIST": {"root": "/data/digits", "training": {"steps": 300}},
        },
    )
    assert changes(several, sweep()).refused == ()
    assert changes(several, sweep()).more == ("datasets + [RotatedDigits]",)
    assert differences(sweep(), several)[0].startswith("datasets: [RotatedMNIST] here")
    longer = sweep(training={**SWEEP["training"], "steps": 600})
    key = "datasets.RotatedMNIST.training.steps"
    assert differences(several, longer) == [f"{key}: 300 here, 600 in the run"]


@pytest.mark.parametrize("key", [{"seed_reduction": 2}, {"objective_over": "seeds"}])
def test_where_later_seeds_wait_the_first_seed_stays_the_first(key):
    reduced = {**SWEEP["search"], **key}
    assert changes(sweep(seeds=[0, 3, 1], search=reduced), sweep(search=reduced)).refused == ()
    (refused,) = differences(sweep(seeds=[1, 0, 3], search=reduced), sweep(search=reduced))
    assert "keep these first" in refused
    assert not differences(sweep(seeds=[1, 3, 0]), sweep())


def test_the_same_sweep_in_other_words_and_with_images_elsewhere_is_no_change():
    listed = sweep(
        dataset={"name": "RotatedMNIST", "root": "/elsewhere"},
        held_out=[0, 15, 30, 45, 60, 75],
        resources={"cpu": 1},
    )
    assert changes(listed, sweep()) == Changes((), (), ())


def test_a_sweep_survives_pickling_and_cannot_be_changed():
    assert pickle.loads(pickle.dumps(sweep())) == sweep()
    with pytest.raises(ValueError, match="frozen"):
        sweep().name = "other"


def test_the_schema_names_every_key_and_its_choices():
    schema = json_schema()
    assert json.loads(steppe("schema").stdout) == schema
    sections = schema["$defs"]
    # What pydantic calls `gt` no editor knows.
    memory, _ = sections["Resources"]["properties"]["memory"]["anyOf"]
    assert memory == {"type": "number", "exclusiveMinimum": 0}
    assert sections["Training"]["properties"]["lr_drop_at"]["items"]["exclusiveMaximum"] == 1
    assert set(schema["properties"]) == {*resolved(sweep()), "datasets"}
    samplers = ["random", "tpe", "gp", "cmaes", "nsgaii", "qmc", "grid"]
    assert sections["Search"]["properties"]["sampler"]["enum"] == samplers
    assert "log_uniform" in str(sections["Search"]["properties"]["space"])
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(("key", "kept"), [("allow", True), ("size", False)])
def test_a_run_goes_on_with_more_findings_allowed_but_not_with_other_pixels(tmp_path, key, kept):
    for domain in ("day", "dusk", "night"):
        for label in ("cat", "dog"):
            (tmp_path / domain / label).mkdir(parents=True)
    root = {"root": str(tmp_path)}
    more = root | {key: {"allow": ["layout"], "size": 32}[key]}
    one, other = (sweep(dataset={"name": "ImageFolders"} | given) for given in (root, more))
    assert (differences(one, other) == []) is kept
    several = {name: value for name, value in SWEEP.items() if name not in ("dataset", "held_out")}
    one, other = (
        checked(several | {"datasets": {"ImageFolders": given, "RotatedDigits": {}}}, "sweep.yaml")
        for given in (root, more)
    )
    assert (differences(one, other) == []) is kept


def test_every_kind_of_finding_can_be_allowed_and_another_word_is_told():
    dataset = {"name": "RotatedMNIST", "root": "/data", "allow": [*KINDS]}
    assert set(sweep(dataset=dataset).dataset.allow) == {*KINDS}
    for given in (
        {"dataset": {"name": "RotatedDigits", "allow": ["layout", "duplicate"]}},
        {"dataset": None, "datasets": {"RotatedDigits": {"allow": ["duplicate"]}}},
    ):
        with pytest.raises(SteppeError, match="is 'duplicate'; did you mean duplicates"):
            sweep(**given)


@pytest.mark.parametrize("several", [False, True])
def test_a_run_of_before_originals_goes_on_with_the_crops_that_it_began_with(tmp_path, several):
    given = {"root": "~/data"}
    asked = {"datasets": {"PACS": given}} if several else {"dataset": {"name": "PACS", **given}}
    file = {**{key: value for key, value in SWEEP.items() if key != "dataset"}, **asked}
    now = checked(file, "sweep.yaml")
    folder = RunFolder.create(tmp_path)
    folder.write_bytes(SWEEP_FILE, as_yaml(now).encode())
    assert kept(sweep_of(folder)) == 512
    assert differences(with_originals_of(now, sweep_of(folder)), sweep_of(folder)) == []

    earlier = as_yaml(now).replace("originals: 512, ", "").replace("originals: 512", "")
    assert yaml.safe_load(earlier)
    folder.write_bytes(SWEEP_FILE, "\n".join(filter(str.strip, earlier.splitlines())).encode())
    recorded = sweep_of(folder)
    assert kept(recorded) == kept(read_sweep(folder)) == 0
    assert kept(now) == 512
    assert differences(with_originals_of(now, recorded), recorded) == []
    key = f"dataset{'s.PACS' if several else ''}.originals"
    changed = load(write_yaml(tmp_path / "file.yaml", file), [f"{key}=512"])
    (text,) = differences(with_originals_of(changed, recorded), recorded)
    assert text == f"{key}: 512 here, 0 in the run"


def kept(sweep: Sweep) -> int | None:
    return by_dataset(sweep)["PACS"].dataset.originals
