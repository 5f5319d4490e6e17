"""What a user gets wrong: one clear message, exit status 2, nothing lost or overwritten."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import datasets
from search.run.run_folder import RunFolder
from tests.search.command import printed, refused, write_yaml
from tests.search.play import play, small_sweep
from tests.search.report.played_run import begin
from training.algorithms import PARTS

SMALL = small_sweep().model_dump(mode="json")


@pytest.fixture
def file(tmp_path):
    return write_yaml(tmp_path / "sweep.yaml", SMALL)


@pytest.fixture(scope="module")
def played_once(tmp_path_factory):
    """A run folder as a sweep leaves it that was stopped after two of its four trials."""
    folder = RunFolder(tmp_path_factory.mktemp("played") / "run")
    begin(small_sweep(), folder)
    play(small_sweep(), folder, 2)
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


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_begun(tmp_path):
    file = write_yaml(tmp_path / "s.yaml", {**SMALL, "seedz": [1], "algorithms": ["SAGN"]})
    changes = ["--set", "held_out=[80]", "--set", "training.checkpoint_seconds=-1"]
    message = refused("launch", file, "--output", tmp_path / "run", *changes)
    assert len(message.splitlines()) == 4
    for key in ("seedz", "algorithms[0]", "held_out[0]", "training.checkpoint_seconds"):
        assert f": {key} " in message
    assert message.startswith(f"{file}: ")
    assert not (tmp_path / "run").exists()


# The output.


def test_a_file_in_the_way_of_the_output_is_kept(file, tmp_path):
    (tmp_path / "run").write_text("precious")
    for output in (tmp_path / "run", tmp_path / "run" / "deeper", "/proc/steppe/run"):
        message = refused("launch", file, "--output", output)
        assert f"cannot write to the output {output}: " in message
        assert "--output" in message
    assert (tmp_path / "run").read_text() == "precious"


def test_an_existing_run_of_another_configuration_is_kept(file, played):
    before = content(played)
    message = refused("launch", file, "--output", played, "--set", "search.trials=3")
    assert message.startswith(f"{played} holds a run of another configuration: ")
    assert "search.trials: 3 here, 4 in the run" in message
    assert "algorithms, held_out, seeds, datasets" in message
    assert "change `name`, or give another place with --output" in message
    assert content(played) == before


def test_other_images_under_the_same_name_are_refused(played):
    now = datasets.load("RotatedDigits").fingerprint
    manifest = played / "manifest.json"
    manifest.write_text(manifest.read_text().replace(now, "0" * 64))
    before = content(played)
    message = refused("resume", played)
    assert "was made with other images of RotatedDigits" in message
    assert f"(fingerprint 000000000000, now {now[:12]})" in message
    assert content(played) == before


# Runs that are not there, or only in part.


@pytest.mark.parametrize(
    "verb", ["resume", "status", "results", "compare", "importance", "report", "dashboard"]
)
def test_a_missing_run_is_named_with_the_nearest_one(verb, played):
    missing = played.parent / "rum"
    assert refused(verb, missing) == f"there is no run at {missing}; did you mean run?"
    assert f"{played}/trials is not a run" in refused(verb, played / "trials")
    assert not missing.exists()


LEASE = b'{"token": "t", "host": "h", "pid": 1, "born": 0, "beat": 0}'
NAME = "RotatedDigits.mlp.SAGM.0.0.1.parquet"
# The file, what is in it, and the command that also reads it.
DAMAGES = {
    "no sweep.yaml": ("sweep.yaml", None, "status"),
    "an empty sweep.yaml": ("sweep.yaml", b"", "status"),
    "a truncated sweep.yaml": ("sweep.yaml", b"name: played\ndataset:\n  name: Rotat", "status"),
    "a garbage journal": ("optuna.journal", b"garbage\n", "status"),
    "no journal": ("optuna.journal", None, "status"),
    "a garbage manifest": ("manifest.json", b"{", "status"),
    "a lease of words": ("lease.json", LEASE.replace(b"1", b'"one"'), "status"),
    "a garbage trial": (f"trials/{NAME}", b"PAR1garbage", "results"),
    "an empty trial": ("trials/x.parquet", b"", "results"),
    "garbage evaluations": (f"evaluations/{NAME}", b"garbage", "results"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_refused_and_is_left_as_it_is(damage, played, file):
    name, damaged, reader = DAMAGES[damage]
    (played / name).unlink(missing_ok=True)
    if damaged is not None:
        (played / name).parent.mkdir(exist_ok=True)
        (played / name).write_bytes(damaged)
    before = content(played)
    commands = [("resume", played), ("launch", file, "--output", played)]
    for arguments in [*commands, (reader, played)]:
        message = refused(*arguments)
        assert Path(name).name in message
        assert str(played) in message
        after = content(played)
        if "manifest" not in damage:  # where the refused session is counted
            before |= {"manifest.json": after["manifest.json"]}
        assert after == before


# The cluster.


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "nonsense"])
def test_a_cluster_that_does_not_answer_is_named_with_the_way_out(
    address, file, tmp_path, monkeypatch
):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    message = refused("launch", file, "--output", tmp_path / "run", "--address", address)
    assert message.startswith(f"no Ray cluster answers at --address {address}: ")
    assert "leave --address out to run on this machine" in message
    assert content(tmp_path / "run") == {}


def test_rays_client_is_refused_with_the_way_out(file, tmp_path, monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    address = "ray://127.0.0.1:10001"
    message = refused("launch", file, "--output", tmp_path / "run", "--address", address)
    assert message.startswith(
        f"--address {address} is for Ray's client, which cannot drive a sweep"
    )
    assert "run this on a node of the cluster with --address auto" in message


# The lists.


def test_algorithms_lists_every_part_and_one_in_full():
    listed = printed("algorithms")
    assert all(name in listed for name in ("ERM", *PARTS))
    one = printed("algorithms", "DISAM+SAGM")
    assert all(name in one for name in ("rho", "alpha", "lambda", "lr", "0.001"))
    assert "did you mean" in refused("algorithms", "SAGN")


def test_models_and_datasets_are_listed():
    models = printed("models")
    assert "mlp" in models
    assert "timm/NAME" in models
    assert "r160_in1k" in printed("models", "timm/test_vit")
    assert "timm/test_vit" in printed("models", "timm").split()
    assert "did you mean 'timm/test_vit" in refused("models", "timm/test_vitt")
    listed = printed("datasets")
    assert "RotatedDigits" in listed
    assert "0, 15, 30, 45, 60, 75" in " ".join(listed.split())
