from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from search.errors import SteppeError
from search.run import tables
from search.run.columns import evaluations_schema, selection_schema, to_pandas, trials_schema
from search.run.run_folder import RunFolder
from search.run.tables import (
    read_evaluations,
    read_trial,
    read_trials,
    write_evaluations,
    write_selection,
    write_trial,
)

HP_TYPES = {"lr": float, "batch_size": int, "sampler": str}
STUDY = {
    "sweep": "s",
    "study": "D.m.SAM.a.0",
    "dataset": "D",
    "model": "m",
    "algorithm": "SAM",
    "held_out": "a",
    "seed": 0,
}


def trial_row(number=0, **more):
    trial = f"{STUDY['study']}.{number}"
    return {**STUDY, "trial": trial, "number": number, "state": "completed", **more}


def evaluation(step=0, domain="b", accuracy=0.5):
    return {
        "step": step,
        "domain": domain,
        "role": "source",
        "split": "out",
        "accuracy": accuracy,
        "loss": 1.0,
        "count": 100,
        "seconds": 0.1,
    }


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def test_the_columns_of_the_tables():
    study = "sweep study dataset model algorithm held_out seed"
    assert " ".join(trials_schema({"rho": float}).names) == (
        f"{study} trial number state reason steps best_step objective objective_2 seconds passes "
        "started finished node device gpu gpu_memory gpu_beside hp_rho"
    )
    assert " ".join(evaluations_schema().names) == (
        "sweep study trial step weights fold domain role split accuracy loss count "
        "sharpness curvature ece seconds passes"
    )
    assert " ".join(selection_schema({"rho": float}).names) == (
        f"{study} method trial number step validation accuracy accuracy_all accuracies reason "
        "candidates ties failed hp_rho"
    )


def test_every_table_holds_its_schema_version(folder):
    write_trial(folder, trial_row(), HP_TYPES)
    write_evaluations(folder, "s", "D.m.SAM.a.0", "D.m.SAM.a.0.0", [evaluation()])
    write_selection(folder, to_pandas(selection_schema(HP_TYPES).empty_table()))
    names = ["trials/D.m.SAM.a.0.0.parquet", "evaluations/D.m.SAM.a.0.0.parquet"]
    for name in [*names, "selection.parquet"]:
        assert pq.read_schema(folder.path(name)).metadata[b"schema_version"] == b"1"


def test_a_trial_is_read_as_it_was_written(folder):
    started = datetime(2026, 11, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    row = trial_row(3, steps=100, objective=0.5, started=started, hp_lr=0.1, hp_batch_size=32)
    write_trial(folder, row, HP_TYPES)
    frame = read_trials(folder)
    assert len(frame) == 1
    found = frame.iloc[0].dropna().to_dict()
    assert found == {**row, "started": pd.Timestamp("2026-11-01 10:00", tz=UTC)}


def test_plain_pandas_reads_the_folders(folder):
    for number in range(3):
        row = trial_row(number, hp_lr=0.1) if number else trial_row(0, state="failed")
        write_trial(folder, row, HP_TYPES)
        rows = [evaluation(step) for step in range(4)]
        write_evaluations(folder, "s", STUDY["study"], row["trial"], rows)
    trials = pd.read_parquet(folder.path("trials"))
    assert sorted(trials["hp_lr"].fillna(-1)) == [-1, 0.1, 0.1]
    assert len(pd.read_parquet(folder.path("evaluations"))) == 12


def test_a_column_has_one_type_in_every_part(folder):
    write_trial(folder, trial_row(0, hp_lr=1, hp_batch_size=None), HP_TYPES)
    write_trial(folder, trial_row(1, hp_lr=None, hp_batch_size=32, hp_sampler="x"), HP_TYPES)
    first, second = (
        pq.read_schema(folder.path(f"trials/D.m.SAM.a.0.{number}.parquet")) for number in (0, 1)
    )
    assert first.equals(second, check_metadata=True)


@pytest.mark.parametrize("written", [[], [0], [0, 1]])
def test_dtypes_do_not_depend_on_what_was_written(folder, written):
    rows = [trial_row(0), trial_row(1, steps=3, reason="x", started=datetime.now(UTC), node="n")]
    for number in written:
        write_trial(folder, rows[number], {})
        rows_of = [evaluation()] * number
        write_evaluations(folder, "s", STUDY["study"], rows[number]["trial"], rows_of)
    assert dict(read_trials(folder).dtypes.astype(str)) == {
        **dict.fromkeys(["sweep", "study", "dataset", "model", "algorithm", "held_out"], "str"),
        **dict.fromkeys(["trial", "state", "reason", "node", "device"], "str"),
        **dict.fromkeys(["seed", "number"], "int64"),
        **dict.fromkeys(["steps", "best_step"], "Int64"),
        **dict.fromkeys(["objective", "objective_2", "seconds", "passes"], "float64"),
        **dict.fromkeys(["gpu", "gpu_memory", "gpu_beside"], "float64"),
        **dict.fromkeys(["started", "finished"], "datetime64[us, UTC]"),
    }
    assert dict(read_evaluations(folder).dtypes.astype(str)) == {
        **dict.fromkeys(["sweep", "study", "trial", "weights", "fold"], "category"),
        **dict.fromkeys(["domain", "role", "split"], "category"),
        **dict.fromkeys(["step", "count"], "int64"),
        **dict.fromkeys(["accuracy", "loss", "sharpness", "curvature", "ece"], "float64"),
        **dict.fromkeys(["seconds", "passes"], "float64"),
    }


def test_writing_again_replaces(folder):
    trial = trial_row()["trial"]
    write_trial(folder, trial_row(state="failed"), HP_TYPES)
    write_trial(folder, trial_row(), HP_TYPES)
    write_evaluations(folder, "s", STUDY["study"], trial, [evaluation(0), evaluation(10)])
    write_evaluations(folder, "s", STUDY["study"], trial, [evaluation(0, accuracy=0.9)])
    assert list(read_trials(folder)["state"]) == ["completed"]
    assert list(read_evaluations(folder)["accuracy"]) == [0.9]


def test_trials_come_by_study_and_number(folder):
    for number in (10, 9, 1):
        write_trial(folder, trial_row(number), HP_TYPES)
    assert list(read_trials(folder)["number"]) == [1, 9, 10]


def test_half_written_files_are_ignored_by_us_and_by_plain_pandas(folder):
    write_trial(folder, trial_row(), HP_TYPES)
    Path(folder.path("trials/.0123456789abcdef.partial")).write_bytes(b"PAR1 half")
    assert len(read_trials(folder)) == 1
    assert len(pd.read_parquet(folder.path("trials"))) == 1


def test_parts_of_many_writers_do_no_harm(folder):
    def write(number):
        write_trial(folder, trial_row(number % 8, steps=number), HP_TYPES)
        return len(read_trials(folder))

    with ThreadPoolExecutor(8) as pool:
        assert min(pool.map(write, range(24))) >= 1
    assert list(read_trials(folder)["number"]) == list(range(8))


def test_parts_with_fewer_hyperparameters_are_filled_with_nulls(folder):
    write_trial(folder, trial_row(0, hp_lr=0.1), {"lr": float})
    write_trial(folder, trial_row(1, hp_rho=0.2), {"lr": float, "rho": float})
    np.testing.assert_array_equal(read_trials(folder)["hp_rho"], [np.nan, 0.2])


def test_one_trial_can_be_read_alone(folder):
    assert read_trial(folder, "D.m.SAM.a.0.0") is None
    write_trial(folder, trial_row(0, hp_lr=0.1), HP_TYPES)
    found = read_trial(folder, "D.m.SAM.a.0.0")
    assert (found["state"], found["hp_lr"], found["reason"]) == ("completed", 0.1, None)


def test_diverged_accuracies_are_kept_as_nan(folder):
    write_evaluations(folder, "s", "t", "t.0", [evaluation(accuracy=float("nan"))])
    assert read_evaluations(folder)["accuracy"].isna().all()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (trial_row(hp_rh0=1.0), r"no column 'hp_rh0'; did you mean hp_rho\?"),
        (trial_row(state="done"), "state 'done' is none of completed"),
        (trial_row(seed=None), "seed"),
        (trial_row(hp_rho="high"), "high"),
        (trial_row() | {"trial": "_D.m.0"}, "must not start with '_'"),
    ],
)
def test_a_wrong_row_is_refused_and_writes_nothing(folder, row, message):
    with pytest.raises(ValueError, match=message):
        write_trial(folder, row, {"rho": float})
    assert folder.list("trials") == []


def test_the_selection_is_read_as_it_was_written(folder):
    rows = [
        {**STUDY, "method": "oracle", "trial": "t", "number": 1, "hp_batch_size": 32},
        {**STUDY, "method": "oracle", "reason": "all 8 trials failed"},
    ]
    schema = selection_schema(HP_TYPES)
    selection = to_pandas(pa.Table.from_pylist(rows, schema=schema))
    write_selection(folder, selection)
    table = pq.read_table(folder.path("selection.parquet"))
    pd.testing.assert_frame_equal(to_pandas(table), selection)
    assert table.schema.equals(schema)


def test_tables_of_a_newer_version_are_refused(folder):
    write_trial(folder, trial_row(), {})
    name = folder.path("trials/D.m.SAM.a.0.0.parquet")
    table = pq.read_table(name)
    pq.write_table(table.replace_schema_metadata({"schema_version": "2"}), name)
    with pytest.raises(SteppeError, match="written by a newer Steppe"):
        read_trials(folder)


def test_many_files_are_read_in_groups_as_if_in_one_and_their_columns_may_differ(
    folder, monkeypatch
):
    for number, space in enumerate(({"lr": 0.1}, {"lr": 0.2, "rho": 0.3}, {}, {"rho": 0.5}, {})):
        row = {f"hp_{name}": value for name, value in space.items()}
        write_trial(folder, trial_row(number, **row), dict.fromkeys(space, float))
        scores = [evaluation(domain=name) for name in ("b", f"c{number}")]
        write_evaluations(folder, "s", STUDY["study"], f"{STUDY['study']}.{number}", scores)
    together = read_trials(folder), read_evaluations(folder)
    monkeypatch.setattr(tables, "_AT_ONCE", 2)
    for whole, grouped in zip(
        together, (read_trials(folder), read_evaluations(folder)), strict=True
    ):
        pd.testing.assert_frame_equal(grouped, whole)


def test_of_many_files_some_are_checked(folder, monkeypatch):
    for number in range(5):
        write_trial(folder, trial_row(number), {})
    monkeypatch.setattr(tables, "MOST_CHECKED", 3)
    tables.check(folder)
    Path(folder.path("trials/D.m.SAM.a.0.4.parquet")).write_bytes(b"damaged")
    with pytest.raises(SteppeError, match="cannot be read"):
        tables.check(folder)
