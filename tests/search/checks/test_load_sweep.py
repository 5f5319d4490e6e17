from pathlib import Path

import pytest

from search.checks.load_sweep import load
from search.errors import SteppeError
from search.space.ranges import Fixed, Interval

SMALLEST = """\
name: small
dataset: {name: RotatedDigits}
model: {name: cnn}
algorithms: [ERM, SAM]
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "sweep.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(SteppeError) as error:
        load(path, overrides)
    return str(error.value)


def test_four_keys_make_a_sweep(tmp_path):
    sweep = load(write(tmp_path, SMALLEST))
    assert sweep.algorithms == ("ERM", "SAM")
    assert sweep.held_out == "all"
    assert sweep.search.sampler == "random"


def test_domains_that_look_like_numbers_are_names(tmp_path):
    path = write(tmp_path, SMALLEST + "held_out: [0, 75]")
    assert load(path).held_out == ("0", "75")
    # Of a set in any order there is one name, and tables' names can be written too.
    sets = load(path, ["held_out=[[75, 0], 30, 45/15]"]).held_out
    assert sets == ("0/75", "30", "15/45")


def test_a_relative_root_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = write(tmp_path, SMALLEST.replace("RotatedDigits", "RotatedMNIST"))
    assert load(path, ["dataset.root=data"]).dataset.root == tmp_path / "data"
    assert load(path, ["dataset.root=~/data"]).dataset.root == tmp_path / "home" / "data"


def test_overrides_take_the_place_of_values_and_make_missing_sections(tmp_path):
    path = write(tmp_path, SMALLEST + "training: {steps: 900}\nresources:\n")
    rho, lr = "search.space.rho={log_uniform: [1e-3, 1e-1]}", "search.space.SAM.lr=1e-4"
    sweep = load(path, ["training.steps=300", "search.trials=8", rho, lr, "resources.cpu=2"])
    assert (sweep.training.steps, sweep.search.trials, sweep.resources.cpu) == (300, 8, 2)
    assert sweep.search.space["rho"] == Interval(1e-3, 1e-1, log=True)
    assert sweep.search.space["SAM"] == {"lr": Fixed(1e-4)}


def test_a_mistake_in_an_override_is_told_of_the_override(tmp_path):
    message = refusal(write(tmp_path, SMALLEST), "search.trails=8")
    assert message.startswith("--set search.trails: search.trails is not a key; ")
    assert "did you mean trials?" in message


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("search.trials", "write KEY=VALUE"),
        ("search..trials=8", "write KEY=VALUE"),
        ("search.trials=[1", "line 1, column"),
        ("algorithms.0=SAM", "algorithms is [ERM, SAM] and has no keys; set algorithms as a whole"),
    ],
)
def test_an_override_that_cannot_be_read_is_refused(tmp_path, override, sentence):
    message = refusal(write(tmp_path, SMALLEST), override)
    assert message.startswith(f"--set {override}: ")
    assert sentence in message


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (SMALLEST + "name: again\n", "line 5, column 1: the key 'name' comes twice; keep one"),
        (SMALLEST + "search: {trials: 1, trials: 2}", "line 5, column 21: the key 'trials' comes"),
        (SMALLEST + "yes: 1", "yes is not a key; there are: name"),
        (SMALLEST + "? [yes]\n: 1", "line 5, column 3: a key is not text"),
        (SMALLEST + "seeds: [0\n", "line 6, column 1: "),
        (SMALLEST + "seeds: !!python/object:x.y {}", "line 5, column 8: "),
        ("a: 1\n---\nb: 2", "line 2, column 1: "),
        ("", "is empty; start from a file in configs/"),
        ("# nothing but a comment", "is empty"),
        ("- a\n- b", "holds no keys"),
        (b"name: \xff", "byte 6 is not UTF-8 text"),
        ("name: \x00", "special characters are not allowed"),
        (SMALLEST.replace("small", '"a\\0b"'), "name is 'a\\x00b'; it names the run's folder"),
    ],
)
def test_a_file_that_is_no_sweep_is_refused_with_its_name_and_the_place(tmp_path, text, sentence):
    path = write(tmp_path, text)
    message = refusal(path)
    assert message.startswith(str(path))
    assert sentence in message
    assert "\n" not in message


def test_merged_keys_may_be_overridden(tmp_path):
    space = "{ERM: &own {lr: 1e-3, dropout: 0.1}, SAM: {<<: *own, dropout: 0.2}}"
    found = load(write(tmp_path, f"{SMALLEST}search: {{space: {space}}}")).search.space
    assert found["SAM"] == {"lr": Fixed(1e-3), "dropout": Fixed(0.2)}


def test_a_missing_file_names_its_neighbour_and_a_folder_is_no_sweep_file(tmp_path):
    neighbour = write(tmp_path, SMALLEST)
    message = refusal(tmp_path / "swep.yaml")
    assert message.endswith(f"does not exist; did you mean {neighbour}?")
    assert "is a folder" in refusal(tmp_path)


def test_a_byte_order_mark_is_passed_over(tmp_path):
    assert load(write(tmp_path, b"\xef\xbb\xbf" + SMALLEST.encode())).name == "small"


def test_a_number_that_no_table_holds_is_refused(tmp_path):
    message = refusal(write(tmp_path, SMALLEST), f"seeds=[{2**63}]")
    assert "seeds[0]" in message
    assert str(2**63 - 1) in message
