from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from search.errors import SteppeError
from search.run import table_files, tables
from search.run.columns import evaluations_schema, selection_schema, to_pandas, trials_schema
from search.run.tables import (
    read_evaluations,
    read_trial,
    read_trials,
    write_evaluations,
    write_selection,
    write_trial,
)
from tests.search.tiny_study import study_row

HP_TYPES = {"lr": float, "batch_size": int, "sampler": str}
STUDY = study_row("D", "SAM", "a", 0)
TRIAL = "D.m.SAM.a.0.0"


def trial_row(number=0, **more):
    trial = f"{STUDY['study']}.{number}"
    return {**STUDY, "trial": trial, "number": number, "state": "completed", **more}


def write_scores(folder, trial, *accuracies, domain="b"):
    """Those of a trial on the out split of a domain, at steps 0, 10, ..."""
    where = {"domain": domain, "role": "source", "split": "out"}
    scores = {"loss": 1.0, "count": 100, "seconds": 0.1}
    rows = [
        {"step": 10 * place, **where, "accuracy": accuracy, **scores}
        for place, accuracy in enumerate(accuracies)
    ]
    write_evaluations(folder, "golden", STUDY["study"], trial, rows)


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
    write_scores(folder, TRIAL, 0.5)
    write_selection(folder, to_pandas(selection_schema(HP_TYPES).empty_table()))
    for name in (f"trials/{TRIAL}.parquet", f"evaluations/{TRIAL}.parquet", "selection.parquet"):
        assert pq.read_schema(folder.path(name)).metadata[b"schema_version"] == b"1"


def test_a_trial_is_read_as_it_was_written(folder):
    started = datetime(2026, 11, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    row = trial_row(3, steps=100, objective=0.5, started=started, hp_lr=0.1, hp_batch_size=32)
    write_trial(folder, row, HP_TYPES)
    expected = {**row, "started": pd.Timestamp("2026-11-01 10:00", tz=UTC)}
    (found,) = read_trials(folder).dropna(axis=1).to_dict("records")
    assert found == expected
    alone = read_trial(folder, row["trial"])
    assert {name: value for name, value in alone.items() if value is not None} == expected
    assert read_trial(folder, TRIAL) is None


def test_plain_pandas_reads_the_folders(folder):
    for number in range(3):
        row = trial_row(number, hp_lr=0.1) if number else trial_row(0, state="failed")
        write_trial(folder, row, HP_TYPES)
        write_scores(folder, row["trial"], 0.5, float("nan"))
    Path(folder.path("trials/.0123456789abcdef.partial")).write_bytes(b"PAR1 half")
    trials = pd.read_parquet(folder.path("trials"))
    assert sorted(trials["hp_lr"].fillna(-1)) == [-1, 0.1, 0.1]
    assert len(pd.read_parquet(folder.path("evaluations"))) == 6
    # Ours reads the same: half-written files are none, and what diverged is no missing row.
    assert len(read_trials(folder)) == 3
    assert read_evaluations(folder)["accuracy"].isna().sum() == 3


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
        write_scores(folder, rows[number]["trial"], *[0.5] * number)
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
    write_trial(folder, trial_row(state="failed"), HP_TYPES)
    write_trial(folder, trial_row(), HP_TYPES)
    write_scores(folder, TRIAL, 0.5, 0.5)
    write_scores(folder, TRIAL, 0.9)
    assert list(read_trials(folder)["state"]) == ["completed"]
    assert list(read_evaluations(folder)["accuracy"]) == [0.9]


def test_trials_come_by_study_and_number(folder):
    for number in (10, 9, 1):
        write_trial(folder, trial_row(number), HP_TYPES)
    assert list(read_trials(folder)["number"]) == [1, 9, 10]


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
    name = folder.path(f"trials/{TRIAL}.parquet")
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
        write_scores(folder, f"{STUDY['study']}.{number}", 0.5, domain=f"c{number % 3}")
    trials, evaluations = read_trials(folder), read_evaluations(folder)
    np.testing.assert_array_equal(trials["hp_rho"], [np.nan, 0.3, np.nan, 0.5, np.nan])
    monkeypatch.setattr(table_files, "_AT_ONCE", 2)
    pd.testing.assert_frame_equal(read_trials(folder), trials)
    pd.testing.assert_frame_equal(read_evaluations(folder), evaluations)


def test_of_many_files_some_are_checked(folder, monkeypatch):
    for number in range(5):
        write_trial(folder, trial_row(number), {})
    monkeypatch.setattr(tables, "MOST_CHECKED", 3)
    tables.check(folder)
    Path(folder.path("trials/D.m.SAM.a.0.4.parquet")).write_bytes(b"damaged")
    with pytest.raises(SteppeError, match="cannot be read"):
        tables.check(folder)


def _column(name, kind, value):
    def changed(table):
        values = pa.array([value] * len(table), kind)
        return table.set_column(table.column_names.index(name), name, values)

    return changed


# What was done to a file, and what its message names.
WRONG = {
    "another kind": (lambda table: pa.table({"a": [1]}), "it has no column sweep"),
    "a column less": (lambda table: table.drop_columns(["number"]), "it has no column number"),
    "text": (_column("steps", pa.string(), "many"), "its column steps holds string: "),
    "parts of steps": (_column("steps", pa.float64(), 0.5), "its column steps holds double: "),
    "nulls": (_column("study", pa.string(), None), "its column study has 1 nulls"),
    "other text": (_column("hp_lr", pa.string(), "a"), "do not fit together: .*hp_lr"),
    "no version": (lambda t: t.replace_schema_metadata({"schema_version": "x"}), "'x'"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_that_is_no_part_of_its_table_is_named_with_what_is_wrong(folder, wrong):
    for number in range(2):
        write_trial(folder, trial_row(number, hp_lr=0.1), HP_TYPES)
    change, named = WRONG[wrong]
    file = folder.path(f"trials/{TRIAL}.parquet")
    pq.write_table(change(pq.read_table(file)), file)
    said = f"{named}.*; put a copy of that file back, or move it away"
    with pytest.raises(SteppeError, match=said) as error:
        read_trials(folder)
    if wrong != "other text":  # of which no file alone is wrong
        assert file in str(error.value)
        with pytest.raises(SteppeError, match=said):
            read_trial(folder, TRIAL)


def test_a_file_without_rows_is_no_trial(folder):
    write_trial(folder, trial_row(), HP_TYPES)
    file = folder.path(f"trials/{TRIAL}.parquet")
    pq.write_table(pq.read_table(file).slice(0, 0), file)
    with pytest.raises(SteppeError, match="it has no rows; put a copy"):
        read_trial(folder, TRIAL)


def test_whole_numbers_that_another_program_wrote_as_doubles_are_read(folder):
    write_trial(folder, trial_row(steps=30), HP_TYPES)
    file = folder.path(f"trials/{TRIAL}.parquet")
    pq.write_table(_column("steps", pa.float64(), 30.0)(pq.read_table(file)), file)
    assert read_trials(folder)["steps"].tolist() == [30]
    assert str(read_trials(folder)["steps"].dtype) == "Int64"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_column("state", pa.string(), "odd"), "a value in state that is none of completed"),
        (lambda table: pa.concat_tables([table, table]), "is there twice"),
        (_column("number", pa.int64(), 7), "is not its study and number"),
    ],
)
def test_rows_that_no_run_writes_are_named(folder, change, named):
    write_trial(folder, trial_row(), HP_TYPES)
    file = folder.path(f"trials/{TRIAL}.parquet")
    pq.write_table(change(pq.read_table(file)), file)
    with pytest.raises(SteppeError, match=rf"trials, {TRIAL} .*{named}.*; put a copy"):
        read_trials(folder)


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("count", 0, "a count below 1"),
        ("step", -10, "a step below 0"),
        ("accuracy", 7.0, "an accuracy that is no fraction"),
        ("weights", "odd", "a value in weights that is none of iterate, average"),
        ("role", "odd", "a value in role that is none of source"),
        ("split", "odd", "a value in split that is none of in, out"),
        ("fold", "nowhere", "a fold that is not its domain"),
    ],
)
def test_evaluations_that_no_run_writes_are_named(folder, name, value, named):
    write_scores(folder, TRIAL, 0.5, float("nan"))
    file = folder.path(f"evaluations/{TRIAL}.parquet")
    table = pq.read_table(file)
    pq.write_table(_column(name, table.schema.field(name).type, value)(table), file)
    with pytest.raises(SteppeError, match=rf"evaluations, {TRIAL} has {named}.*; put a copy"):
        tables.read_evaluations(folder)
