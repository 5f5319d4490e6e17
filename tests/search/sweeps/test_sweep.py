"""A whole small sweep through the command line; test_interruption.py has one on Ray."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import Result

from search.results.selection import METHODS
from search.run.run_folder import RunFolder
from tests.search.command import printed, refused, steppe, write_yaml
from tests.search.play import stored, without_ray

SWEEP = {
    "name": "small",
    "dataset": {"name": "RotatedDigits"},
    "model": {"name": "mlp"},
    "algorithms": ["ERM", "DISAM+SAGM"],
    "held_out": [0, 75],
    "seeds": [0],
    "training": {"steps": 40, "evaluate_every": 10},
    "search": {
        "trials": 4,
        "space": {"lr": {"log_uniform": [1e-5, 1e-2]}, "weight_decay": 0, "dropout": 0},
    },
}
STUDY = ["sweep", "study", "dataset", "model", "algorithm", "held_out", "seed"]
TRIAL = ["trial", "number", "state", "reason", "steps", "best_step", "objective",
         "objective_2", "seconds", "passes", "started", "finished", "node", "device", "gpu",
         "gpu_memory", "gpu_beside"]  # fmt: skip
EVALUATION = ["sweep", "study", "trial", "step", "weights", "fold", "domain", "role",
              "split", "accuracy", "loss", "count", "sharpness", "curvature", "ece", "seconds",
              "passes"]  # fmt: skip
CHOICE = ["method", "trial", "number", "step", "validation", "accuracy", "accuracy_all",
          "accuracies", "reason", "candidates", "ties", "failed"]  # fmt: skip
HP = ["hp_lr", "hp_weight_decay", "hp_dropout", "hp_batch_size", "hp_lambda", "hp_rho", "hp_alpha"]
FILES = {"sweep.yaml", "manifest.json", "trials", "evaluations", "selection.parquet",
         "optuna.journal", "wall_clock.json"}  # fmt: skip
SOURCES = {"0": {"15", "30", "45", "60", "75"}, "75": {"0", "15", "30", "45", "60"}}


@dataclass
class Launched:
    folder: Path
    done: Result

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / name)


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    place = tmp_path_factory.mktemp("launched")
    file = write_yaml(place / "sweep.yaml", SWEEP)
    with without_ray():
        done = steppe("launch", file, "--output", place / "run")
    return Launched(place / "run", done)


def test_it_ends_well_and_says_nothing_but_what_a_user_wants_to_know(launched):
    assert (launched.done.exit_code, launched.done.stderr) == (0, "")
    shown, ranges, first, bill, *lines = launched.done.stdout.splitlines()
    assert shown.startswith("RotatedDigits: 1 x 8 x 8, shown as stored")
    assert ranges.startswith("Ranges: lr ")
    assert first.startswith("First trials on RotatedDigits: a default setting")
    assert bill.startswith("small: 4 studies ")
    assert lines[0].startswith("small: 0 of 16 trials ended, 0 running, ")
    last = next(i for i, line in enumerate(lines) if line.startswith("16 of 16 trials ended, 0 r"))
    # Before the end a line now and then, and nothing of Ray's or Optuna's.
    assert all(" of 16 trials ended, " in line for line in lines[: last + 1])
    assert "ray" not in launched.done.stdout.lower()
    assert "optuna" not in launched.done.stdout.lower()


def test_the_result_table_and_the_places_of_the_files_are_printed(launched):
    text = launched.done.stdout
    assert "RotatedDigits, mlp, training-domain selection" in text
    (erm,) = (line for line in text.splitlines() if line.startswith("│ ERM ") and "." in line
              and line.count("│") == 5)  # fmt: skip
    numbers = [float(cell) for cell in erm.split("│")[2:5]]
    erms = "algorithm == 'ERM' and method == 'training-domain'"
    own = launched.table("selection.parquet").query(erms).set_index("held_out")["accuracy"]
    assert numbers == [round(100 * value, 1) for value in (own["0"], own["75"], own.mean())]
    for name in ("rho", "alpha", "lambda"):
        assert name in text
    folder = launched.folder
    tables = f"Tables: {folder}/trials, {folder}/evaluations, {folder}/selection.parquet"
    assert tables in text


def test_the_folder_holds_what_is_documented_and_nothing_else(launched):
    assert {path.name for path in launched.folder.iterdir()} == FILES
    parts = {path.name for path in (launched.folder / "trials").iterdir()}
    assert parts == {path.name for path in (launched.folder / "evaluations").iterdir()}
    assert len(parts) == 4
    assert "RotatedDigits.mlp.DISAM+SAGM.75.0.parquet" in parts


def test_trials_are_a_row_each_with_all_columns(launched):
    trials = launched.table("trials")
    assert list(trials.columns) == STUDY + TRIAL + HP
    assert len(trials) == 16
    assert trials["trial"].is_unique
    assert set(zip(trials["algorithm"], trials["held_out"], trials["number"], strict=True)) == {
        (a, d, n) for a in SWEEP["algorithms"] for d in ("0", "75") for n in range(4)
    }
    assert (trials["study"] + "." + trials["number"].astype(str) == trials["trial"]).all()
    assert set(trials["state"]) <= {"completed", "pruned"}
    completed, pruned = (trials[trials["state"] == state] for state in ("completed", "pruned"))
    assert (completed["steps"] == 40).all()
    assert completed["reason"].isna().all()
    assert pruned["reason"].str.fullmatch(r"asha: behind other trials at step [123]0").all()
    assert (pruned["steps"] < 40).all()
    assert ((trials["objective"] > 0) & (trials["objective"] <= 1)).all()
    assert (trials["seconds"] > 0).all()
    assert (trials["started"] < trials["finished"]).all()
    assert str(trials["started"].dtype).endswith("UTC]")
    assert set(trials["device"]) == {"cpu"}


def test_an_algorithm_has_its_own_hyperparameters_and_the_others_are_null(launched):
    trials = launched.table("trials")
    erm, sagm = (trials[trials["algorithm"] == name] for name in SWEEP["algorithms"])
    assert erm[["hp_rho", "hp_alpha", "hp_lambda"]].isna().all(axis=None)
    assert sagm[HP].notna().all(axis=None)
    first = sagm[sagm["number"] == 0]
    assert (
        first[["hp_rho", "hp_alpha", "hp_lambda"]].to_numpy().tolist() == [[0.05, 0.001, 0.1]] * 2
    )
    assert (trials["hp_batch_size"] == 32).all()
    # Drawn anew for each other trial, alike in the studies of both held-out domains.
    assert sagm.groupby("number")["hp_rho"].nunique().tolist() == [1, 1, 1, 1]
    assert sagm["hp_rho"].nunique() == 4


def test_evaluations_have_the_source_domains_and_the_held_out_one_only_where_it_counts(launched):
    evaluations, trials = launched.table("evaluations"), launched.table("trials")
    assert list(evaluations.columns) == EVALUATION
    assert set(evaluations["trial"]) == set(trials["trial"])
    for trial in trials.to_dict("records"):
        own = evaluations[evaluations["trial"] == trial["trial"]]
        source, held_out = own[own["role"] == "source"], own[own["role"] == "held_out"]
        assert list(source["step"].unique()) == list(range(10, trial["steps"] + 1, 10))
        for _, step in source.groupby("step"):
            assert set(step["domain"]) == SOURCES[trial["held_out"]]
            assert set(step["split"]) == {"out"}
            assert len(step) == 5
        completed = trial["state"] == "completed"
        assert set(held_out["step"]) == ({trial["best_step"], 40} if completed else set())
        assert set(held_out["domain"]) <= {trial["held_out"]}
        for _, step in held_out.groupby("step"):
            assert set(step["split"]) == {"in", "out"}
            assert set(step["count"]) == {240, 60} if trial["held_out"] == "0" else True
        validation = source.groupby("step", sort=True)["accuracy"].mean()
        assert math.isclose(validation.max(), trial["objective"], rel_tol=1e-12)
        assert validation.idxmax() == trial["best_step"]
    assert evaluations["accuracy"].between(0, 1).all()


def test_the_selection_has_a_winner_of_every_study_by_every_method(launched):
    selection, trials = launched.table("selection.parquet"), launched.table("trials")
    assert list(selection.columns) == STUDY + CHOICE + HP
    assert selection["method"].value_counts().to_dict() == dict.fromkeys(METHODS, 4)
    honest = selection[selection["method"] == "training-domain"].set_index("study")
    completed = trials[trials["state"] == "completed"]
    best = completed.groupby("study")["objective"].max()
    pd.testing.assert_series_equal(
        honest["validation"].sort_index(), best.sort_index(), check_names=False, check_dtype=False
    )
    # Where these two look, the held-out domain is scored.
    scored = selection[selection["method"].isin(["training-domain", "oracle"])]
    assert scored["accuracy"].between(0, 1).all()
    assert (selection["accuracy"].isna() == selection["reason"].notna()).all()
    chosen = selection.merge(trials, on="trial", suffixes=("", "_of_trial"))
    assert len(chosen) >= len(scored)
    for name in HP:
        own, its_trials = chosen[name], chosen[f"{name}_of_trial"]
        # Read by pandas alone, whole numbers are floats where a study has no winner.
        pd.testing.assert_series_equal(own, its_trials, check_names=False, check_dtype=False)


def test_every_part_says_which_version_of_the_tables_it_has(launched):
    for table in ("trials", "evaluations"):
        for part in (launched.folder / table).iterdir():
            assert pq.read_schema(part).metadata[b"schema_version"] == b"1"


def test_optuna_has_the_same_trials_each_ended(launched):
    trials = launched.table("trials").set_index("trial")
    for study, found in stored(RunFolder(launched.folder)).items():
        assert len(found) == 4
        for trial in found:
            row = trials.loc[f"{study}.{trial.number}"]
            state = {"completed": "COMPLETE", "pruned": "PRUNED"}[row["state"]]
            assert trial.state.name == state
            assert trial.value == row["objective"]
            assert trial.params["lr"] == row["hp_lr"]
            steps = set(range(10, int(row["steps"]) + 1, 10))
            assert set(trial.intermediate_values) == steps
            assert trial.user_attrs["state"] == row["state"]


def test_status_says_it_is_complete(launched):
    status = printed("status", launched.folder)
    assert f"16 of 16 trials ended, in {launched.folder}\n" in status
    assert status.endswith("kB on disk\ncomplete\n")
    assert status.count("4/4") == 4


def test_results_prints_the_table_of_the_launch_again(launched):
    assert printed("results", launched.folder) in launched.done.stdout


def test_a_launch_of_what_is_complete_says_so_and_changes_no_result(launched):
    def files():
        return {path: path.read_bytes() for path in launched.folder.rglob("*") if path.is_file()}

    before = files()
    again = steppe("launch", launched.folder.parent / "sweep.yaml", "--output", launched.folder)
    assert (again.exit_code, again.stderr) == (0, "")
    assert "16 of 16 trials ended" in again.stdout
    assert "RotatedDigits, mlp, training-domain selection" in again.stdout
    after = files()
    changed = [path.name for path in before | after if before.get(path) != after.get(path)]
    assert changed == ["manifest.json"]  # which counts the sessions
    printed("resume", launched.folder)
    sessions = json.loads((launched.folder / "manifest.json").read_text())["sessions"]
    assert len(sessions) == 3


def test_the_folders_own_sweep_file_is_the_sweep_with_nothing_left_implicit(launched):
    own = ("launch", launched.folder / "sweep.yaml", "--output", launched.folder)
    other = refused(*own, "--set", "training.steps=60")
    assert "training.steps: 60 here, 40 in the run" in other
    assert other.count(" in the run") == 1  # nothing else differs
