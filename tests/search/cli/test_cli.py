"""What a user gets wrong: one clear message, exit status 2, nothing lost or overwritten."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

import datasets
from search.results.selection import METHODS
from search.run import manifest
from search.run.run_folder import RunFolder
from tests.search.command import steppe, write_yaml
from tests.search.play import play, small_sweep
from training.algorithms import PARTS

SMALL = small_sweep().model_dump(mode="json")


@pytest.fixture
def file(tmp_path):
    return write_yaml(tmp_path / "sweep.yaml", SMALL)


@pytest.fixture(scope="module")
def played_once(tmp_path_factory):
    """A run folder as a sweep leaves it that was stopped after two of its four trials."""
    place = tmp_path_factory.mktemp("played")
    folder = RunFolder(place / "run")
    sweep = small_sweep()
    play(sweep, folder, 2)
    folder.write_bytes("sweep.yaml", yaml.safe_dump(SMALL, sort_keys=False).encode())
    manifest.record(folder, [datasets.load("RotatedDigits")])
    return Path(folder.root)


@pytest.fixture
def played(played_once, tmp_path):
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(played_once, tmp_path / "run"))


def content(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def refuse(*arguments: object) -> str:
    """The message of a command that is refused as it should be."""
    done = steppe(*arguments)
    assert done.exit_code == 2, (done.exit_code, done.stdout, done.stderr, done.exception)
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    return done.stderr.removeprefix("error: ").rstrip("\n")


# The sweep file.

WRONG = [
    ("serach.trials=8", "serach", "did you mean search?"),
    ("search.trails=8", "search.trails", "did you mean trials?"),
    ("search.trials=many", "search.trials", "whole number"),
    ("search.trials=0", "search.trials", "at least 1"),
    ("training.steps=1.5", "training.steps", "whole number"),
    ("search.space.lr={log_uniform: [0.1, 0.01]}", "search.space.lr", "0.1"),
    ("search.space.lr={log_uniform: [0, 0.01]}", "search.space.lr", "above 0"),
    ("search.space.lr={choice: []}", "search.space.lr", "at least one value"),
    ("search.space.lrr=0.1", "search.space.lrr", "lr"),
    ("search.space.lambda={uniform: [0, 1]}", "search.space.lambda", "SAGM"),
    ("held_out=[80]", "held_out", "75"),
    ("algorithms=[SAGN]", "algorithms", "SAGM"),
    ("algorithms=[SAGM+GSAM]", "algorithms", "GSAM"),
    ("search.sampler=tpee", "search.sampler", "tpe"),
    ("search.scheduler=ahsa", "search.scheduler", "asha"),
    ("dataset.name=RotatedDigit", "dataset.name", "RotatedDigits"),
    ("model.name=mlpp", "model.name", "mlp"),
    ("resources.cpu=0", "resources.cpu", "0"),
    ("training.checkpoint_seconds=-1", "training.checkpoint_seconds", "0"),
]


@pytest.mark.parametrize(("change", "key", "help_"), WRONG, ids=[change for change, *_ in WRONG])
def test_a_wrong_key_or_value_is_named_with_the_way_out(file, tmp_path, change, key, help_):
    message = refuse("launch", file, "--output", tmp_path / "run", "--set", change)
    assert f": {key}" in message
    assert help_ in message
    assert not (tmp_path / "run").exists()


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    data = {**SMALL, "seedz": [1], "algorithms": ["SAGN"], "held_out": ["80"]}
    message = refuse("launch", write_yaml(tmp_path / "s.yaml", data), "--output", tmp_path / "run")
    assert len(message.splitlines()) == 3
    assert all(line.startswith(f"{tmp_path}/s.yaml: ") for line in message.splitlines())


def test_a_missing_or_broken_sweep_file_is_named(tmp_path, file):
    assert f"{tmp_path}/sweeep.yaml does not exist; did you mean" in refuse(
        "launch", tmp_path / "sweeep.yaml"
    )
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: x\nsearch: {trials: 3\n")
    assert refuse("launch", broken).startswith(f"{broken}: line ")
    assert "is a folder" in refuse("launch", tmp_path)


# The output.


def test_a_file_in_the_way_of_the_output_is_kept(file, tmp_path):
    (tmp_path / "run").write_text("precious")
    for output in (tmp_path / "run", tmp_path / "run" / "deeper", "/proc/steppe/run"):
        message = refuse("launch", file, "--output", output)
        assert f"cannot write to the output {output}: " in message
        assert "--output" in message
    assert (tmp_path / "run").read_text() == "precious"


def test_an_existing_run_of_another_configuration_is_kept(file, played):
    before = content(played)
    message = refuse("launch", file, "--output", played, "--set", "search.trials=3")
    assert message.startswith(f"{played} holds a run of another configuration: ")
    assert "search.trials: 3 here, 4 in the run" in message
    assert "algorithms, held_out, seeds, datasets" in message
    assert "change `name`, or give another place with --output" in message
    assert content(played) == before


def test_other_images_under_the_same_name_are_refused(played):
    now = datasets.load("RotatedDigits").fingerprint
    text = (played / "manifest.json").read_text()
    (played / "manifest.json").write_text(text.replace(now, "0" * 64))
    message = refuse("resume", played)
    assert "was made with other images of RotatedDigits" in message
    assert f"(fingerprint 000000000000, now {now[:12]})" in message


def test_a_location_that_names_no_folder_is_refused(file):
    message = refuse("launch", file, "--output", "file:///")
    assert "cannot use 'file:///' as a run folder: it names no folder" in message


# Runs that are not there, or only in part.


@pytest.mark.parametrize(
    "verb", ["resume", "status", "results", "compare", "importance", "report", "dashboard"]
)
def test_a_missing_run_is_named_with_the_nearest_one(verb, played):
    assert refuse(verb, played.parent / "rum") == (
        f"there is no run at {played.parent}/rum; did you mean run?"
    )
    assert (
        refuse(verb, played / "trials") == f"{played}/trials is not a run: it holds no sweep.yaml"
    )
    assert not (played.parent / "rum").exists()


DAMAGES = {
    "no sweep.yaml": ("sweep.yaml", None),
    "an empty sweep.yaml": ("sweep.yaml", b""),
    "a truncated sweep.yaml": ("sweep.yaml", yaml.safe_dump(SMALL, sort_keys=False).encode()[:90]),
    "a garbage journal": ("optuna.journal", b"garbage\n"),
    "no journal": ("optuna.journal", None),
    "a garbage manifest": ("manifest.json", b"{"),
    "a manifest of something else": ("manifest.json", b"[1]"),
    "a garbage lease": ("lease.json", b"{"),
    "a garbage trial": ("trials/RotatedDigits.mlp.SAGM.0.0.1.parquet", b"PAR1garbage"),
    "an empty trial": ("trials/x.parquet", b""),
    "garbage evaluations": ("evaluations/RotatedDigits.mlp.SAGM.0.0.1.parquet", b"garbage"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_not_gone_on_with_and_is_left_as_it_is(damage, played, file):
    name, damaged = DAMAGES[damage]
    (played / name).unlink(missing_ok=True)
    if damaged is not None:
        (played / name).parent.mkdir(exist_ok=True)
        (played / name).write_bytes(damaged)
    before = content(played)
    for arguments in (("resume", played), ("launch", file, "--output", played)):
        message = refuse(*arguments)
        assert Path(name).name in message
        assert str(played) in message
        after = content(played)
        if "manifest" not in damage:  # where the refused session is counted
            before |= {"manifest.json": after["manifest.json"]}
        assert after == before


@pytest.mark.parametrize(
    "damage", ["a truncated sweep.yaml", "a garbage journal", "a garbage lease"]
)
def test_the_status_of_a_damaged_run_says_what_is_damaged(damage, played):
    name, damaged = DAMAGES[damage]
    (played / name).write_bytes(damaged)
    before = content(played)
    assert name in refuse("status", played)
    assert content(played) == before


@pytest.mark.parametrize("damage", ["a garbage trial", "an empty trial", "garbage evaluations"])
def test_the_results_of_a_damaged_run_say_what_is_damaged(damage, played):
    name, damaged = DAMAGES[damage]
    (played / name).parent.mkdir(exist_ok=True)
    (played / name).write_bytes(damaged)
    assert name in refuse("results", played)


def test_a_run_without_trials_has_no_results_and_says_so(tmp_path):
    write_yaml(tmp_path / "sweep.yaml", SMALL)
    done = steppe("results", tmp_path)
    assert done.exit_code == 0
    assert "no trial has finished" in done.stdout


def test_an_unknown_selection_method_or_format_is_named(played):
    message = refuse("results", played, "--method", "orcale")
    assert "unknown selection method 'orcale'" in message
    assert "did you mean oracle?" in message
    assert set(METHODS) <= {word.strip(",()") for word in message.split()}
    done = steppe("results", played, "--format", "pdf")
    assert done.exit_code == 2
    assert "pdf" in done.stderr


# The cluster.


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "nonsense"])
def test_a_cluster_that_does_not_answer_is_named_with_the_way_out(
    address, file, tmp_path, monkeypatch
):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    message = refuse("launch", file, "--output", tmp_path / "run", "--address", address)
    assert message.startswith(f"no Ray cluster answers at --address {address}: ")
    assert "leave --address out to run on this machine" in message
    assert content(tmp_path / "run") == {}


def test_rays_client_is_refused_with_the_way_out(file, tmp_path, monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    address = "ray://127.0.0.1:10001"
    message = refuse("launch", file, "--output", tmp_path / "run", "--address", address)
    assert message.startswith(
        f"--address {address} is for Ray's client, which cannot drive a sweep"
    )
    assert "run this on a node of the cluster with --address auto" in message


# The lists.


def test_algorithms_lists_every_part_and_one_in_full():
    listed = steppe("algorithms")
    assert listed.exit_code == 0
    assert all(name in listed.stdout for name in ("ERM", *PARTS))
    one = steppe("algorithms", "DISAM+SAGM")
    assert one.exit_code == 0
    assert all(name in one.stdout for name in ("rho", "alpha", "lambda", "lr", "0.001"))
    assert "did you mean" in refuse("algorithms", "SAGN")


def test_models_and_datasets_are_listed():
    assert "mlp" in steppe("models").stdout
    assert "timm/NAME" in steppe("models").stdout
    assert "r160_in1k" in steppe("models", "timm/test_vit").stdout
    assert "timm/test_vit" in steppe("models", "timm").stdout.split()
    assert "did you mean 'timm/test_vit" in refuse("models", "timm/test_vitt")
    listed = steppe("datasets").stdout
    assert "RotatedDigits" in listed
    assert "0, 15, 30, 45, 60, 75" in " ".join(listed.split())


def test_without_a_verb_the_help_is_shown():
    shown = steppe("--help").stdout
    verbs = ("launch", "resume", "status", "results", "algorithms", "models", "datasets")
    assert all(verb in shown for verb in verbs)
