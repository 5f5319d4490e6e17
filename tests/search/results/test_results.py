"""Results as a user of pandas gets them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from search import results
from search.errors import SteppeError
from search.results.selection import METHODS
from search.run import tables
from tests.search.command import steppe, write_yaml
from tests.search.store import bucket_on, serving
from tests.search.written_run import noisy, sweep, without_winners, write

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    data = sweep(held_out=["art_painting", "photo"])
    return results.load(write(tmp_path_factory.mktemp("runs") / "written", data).uri)


def test_the_frames_have_categories_in_the_order_of_the_sweep(found):
    assert list(found.trials["algorithm"].cat.categories) == ["ERM", "SAM", "SAGM"]
    assert list(found.trials["held_out"].cat.categories)[:2] == ["art_painting", "photo"]
    assert list(found.selection["method"].cat.categories) == list(METHODS)
    assert list(found.evaluations["split"].cat.categories) == ["in", "out"]
    types = found.trials.dtypes.astype(str)
    assert (types["seed"], types["steps"], types["hp_lr"]) == ("int64", "Int64", "float64")
    assert types["started"] == "datetime64[us, UTC]"
    assert len(found.trials) == 3 * 2 * 3 * 4
    assert len(found.selection) == 3 * 2 * 3 * len(METHODS)


def test_commands_that_read_need_neither_ray_nor_torch(tmp_path):
    """One process runs them all; what any of them imports shows in the end."""
    run = write(tmp_path / "run", sweep(held_out=["photo", "sketch"], seeds=[0, 1]), trials=2).uri
    other = shutil.copytree(ROOT / "tests/search/earlier_run/finished", tmp_path / "other")
    dataset, wrong = {"name": "RotatedDigits"}, ["SAGN"]
    file = {"name": "x", "dataset": dataset, "model": {"name": "mlp"}, "algorithms": wrong}
    commands = [
        *(["--help"], ["plan", "--help"], ["schema"], ["models"], ["datasets"]),
        *(["algorithms"], ["algorithms", "DISAM+SAGM+SWAD"]),
        ["results", run, "--published"],
        ["results", run, "--by", "method", "--format", "json"],
        ["compare", run, "--against", "ERM"],
        ["launch", str(write_yaml(tmp_path / "wrong.yaml", file))],
        ["status", str(other)],
    ]
    code = f"""
import sys
from search.cli.main import app
ends = []
for command in {commands!r}:
    if command[0] == "launch":
        ends += sorted({{"optuna"}} & set(sys.modules))
    try:
        app(command)
    except SystemExit as end:
        ends.append(end.code)
print(ends, {{"ray", "torch", "numba"}} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"{[0] * (len(commands) - 2) + [2, 0]} set()"


def test_several_runs_are_read_as_one(tmp_path):
    few = {"held_out": ["photo", "sketch"], "seeds": [0]}
    write(tmp_path / "a", sweep(name="a", algorithms=["ERM"], **few), trials=2)
    write(tmp_path / "b", sweep(name="b", algorithms=["SAM"], **few), trials=2)
    both = results.load(tmp_path / "a", tmp_path / "b")
    assert set(both.trials["sweep"]) == {"a", "b"}
    assert both.evaluations["trial"].dtype == "category"
    assert len(both.evaluations) == 2 * len(results.load(tmp_path / "a").evaluations)
    [table] = results.summary(both).tables
    assert list(table.rows) == ["ERM", "SAM"]
    assert without_winners(table.notes) == ()
    short = {"steps": 50, "evaluate_every": 100}
    write(tmp_path / "c", sweep(name="c", algorithms=["SAM"], training=short, **few), trials=2)
    [table] = results.summary(results.load(tmp_path / "a", tmp_path / "c")).tables
    (note,) = without_winners(table.notes)
    assert "training.steps: 200 in a, 50 in c" in note


def test_a_run_that_is_going_on_is_not_final_and_compare_says_so_too(tmp_path):
    data = sweep(held_out=["photo", "sketch"], seeds=[0])
    folder = write(tmp_path / "run", data, trials=2, unfinished=["SAGM"])
    [table] = results.summary(results.load(folder.uri)).tables
    assert without_winners(table.notes) == ("not final: 2 of 6 studies have not ended",)
    text = steppe("compare", folder.uri, "--method", "oracle").stdout
    assert "not final: 2 of 6 studies have not ended" in text
    assert "an upper bound, no result" in text


def test_a_run_is_read_from_a_store():
    data = sweep(held_out=["photo"], seeds=[0])
    with serving() as address, bucket_on(*address) as bucket:
        write(f"{bucket}/runs/written", data, trials=2)
        found = results.load(f"{bucket}/runs/written")
        assert len(found.trials) == 6
        assert found.selection["accuracy"].notna().all()
        assert not found.unfinished


def test_a_run_without_trials_has_all_columns_and_says_what_is_missing(tmp_path):
    write(tmp_path / "run", sweep(algorithms=["ERM"], held_out=["photo"], seeds=[0]), trials=0)
    empty = results.load(tmp_path / "run")
    assert len(empty.trials) == len(empty.evaluations) == 0
    assert {"study", "state", "objective"} <= set(empty.trials)
    assert set(empty.selection["reason"]) == {"no trial has finished"}


def test_a_trial_without_a_row_does_not_count(tmp_path):
    data = sweep(algorithms=["ERM"], held_out=["photo"], seeds=[0])
    folder = write(tmp_path / "run", data, trials=2)
    where = {"step": 0, "domain": "a", "role": "source", "split": "out"}
    row = {**where, "accuracy": 1.0, "loss": 0.0, "count": 1}
    study = "PACS.resnet50.ERM.photo.0"
    before = results.select(results.load(folder.uri))
    tables.write_evaluations(folder, "written", study, "another.trial", [row])
    pd.testing.assert_frame_equal(results.select(results.load(folder.uri)), before)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: x\n", "is not a sweep as `launch` writes it"),
        (b"", "is empty"),
        (b"name: [", "sweep.yaml"),
        (b"{name: x, dataset: [1], model: 3, search: {objective: 5}}", "put a copy back"),
        (b"{name: x, search: [1]}", "put a copy back"),
    ],
)
def test_a_damaged_sweep_file_is_named(tmp_path, content, message):
    (tmp_path / "sweep.yaml").write_bytes(content)
    with pytest.raises(SteppeError, match=message):
        results.load(tmp_path)


def test_what_is_unknown_is_refused_with_the_nearest(found):
    with pytest.raises(SteppeError, match="did you mean worst-source-domain"):
        results.select(found, "worst-source")
    with pytest.raises(SteppeError, match="did you mean held-out"):
        results.summary(found, by="held_out")
    with pytest.raises(SteppeError, match="did you mean SAGM"):
        results.compare(found, "SAGN", "ERM")
    with pytest.raises(SteppeError, match="name at least one run"):
        results.load()


def test_a_held_out_domain_of_a_dataset_among_several_is_asked_for(tmp_path):
    data = sweep(
        datasets={"PACS": {"held_out": ["photo"]}, "VLCS": {}}, held_out=["SUN09"], seeds=[0]
    )
    del data["dataset"]
    folder = write(tmp_path / "run", data, noisy, trials=1)
    *own, overview = results.summary(results.load(folder.uri)).tables
    assert [column.dataset for column in overview.columns] == ["PACS", "VLCS", "Average"]
    assert [table.columns[0].name for table in own] == ["photo", "SUN09"]
