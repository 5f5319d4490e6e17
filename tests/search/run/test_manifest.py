import json

import pytest

import datasets
from search.errors import SteppeError
from search.run import manifest
from search.run.run_folder import MANIFEST, RunFolder
from tests.search import play

DIGITS = datasets.load("RotatedDigits")


def read(folder: RunFolder) -> dict:
    return json.loads(folder.read_bytes(MANIFEST))


def test_each_session_is_added_to_those_before(folder):
    manifest.record(folder, [DIGITS])
    first = read(folder)
    assert first["datasets"] == {"RotatedDigits": DIGITS.fingerprint}
    manifest.record(folder, [DIGITS])
    second = read(folder)
    assert second["datasets"] == first["datasets"]
    assert second["sessions"][:1] == first["sessions"]
    assert len(second["sessions"]) == 2


def test_a_session_names_the_versions_the_code_and_the_machine():
    session = manifest.session()
    assert set(session["packages"]) == set(manifest.PACKAGES)
    assert all(session["packages"].values())
    assert set(session) >= {"started", "host", "cpus", "gpus", "platform", "python", "commit"}


def test_without_git_the_commit_is_unknown_and_nothing_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(manifest, "CHECKOUT", tmp_path)
    assert manifest.session()["commit"] is None
    monkeypatch.setenv("PATH", "")
    assert manifest.session()["commit"] is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"{}", b'{"datasets": {}}', b"\xff"])
def test_a_damaged_manifest_is_named_and_kept(folder, content):
    folder.write_bytes(MANIFEST, content)
    with pytest.raises(SteppeError, match=r"manifest\.json is damaged: .*; put a copy back"):
        manifest.record(folder, [DIGITS])
    assert folder.read_bytes(MANIFEST) == content


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("datasets", "RotatedDigits"), 5),
        (("sessions", 0), 5),
        (("sessions", 0, "started"), "yesterday"),
        (("sessions", 0, "packages"), ["torch"]),
        (("sessions", 0, "notes", "RotatedDigits"), 5),
        (("weights",), "model.pt"),
        (("weights",), {"sha256": "0", "saw_held_out": 5}),
    ],
)
def test_a_manifest_with_a_wrong_value_is_refused_by_whoever_reads_it(folder, keys, value):
    manifest.record(folder, [DIGITS])
    written = place = read(folder)
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    folder.write_bytes(MANIFEST, json.dumps(written).encode())
    key = r"\.".join(map(str, keys))
    with pytest.raises(
        SteppeError, match=rf"manifest\.json is damaged: {key}\b.*; put a copy back"
    ):
        manifest.held_out_labels(folder, play.small_sweep().search)


def test_a_run_that_a_newer_version_began_is_refused(folder):
    manifest.record(folder, [DIGITS])
    newer = read(folder) | {manifest.STUDY_NAMES: manifest.RULES + 1}
    folder.write_bytes(MANIFEST, json.dumps(newer).encode())
    with pytest.raises(SteppeError, match=r"manifest\.json is of a newer Steppe .*study_names 3"):
        manifest.read(folder)
