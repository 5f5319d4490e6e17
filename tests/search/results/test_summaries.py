import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search.results.summaries import AVERAGE, BY, Cell, summarize

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "model_selection.json").read_text())


def row(accuracy, algorithm="ERM", held_out="a", seed=0, **more):
    """A study's row in the table `selection`; `accuracy` may be why it has no winner."""
    study = {"method": "training-domain", "dataset": "D", "model": "m", "algorithm": algorithm}
    study |= {"held_out": held_out, "seed": seed, "failed": 0}
    winner = {"trial": "t", "number": 3, "step": 100, "validation": 0.5, "accuracy": accuracy}
    winner |= {"candidates": 8, "ties": 0, "reason": None}
    if isinstance(accuracy, str):
        winner = dict.fromkeys(winner) | {"reason": accuracy}
    return {**study, **winner, **more}


def frame(*rows):
    whole = dict.fromkeys(["number", "step", "candidates", "ties"], "Int64")
    whole |= dict.fromkeys(["accuracy", "validation"], "float64")
    return pd.DataFrame(rows).astype(whole)


def names(table):
    return tuple(column.name for column in table.columns)


def texts(table, algorithm="ERM"):
    return [cell.text() for cell in table.rows[algorithm]]


def only(*rows):
    [table] = summarize(frame(*rows)).tables
    return table


@pytest.mark.parametrize("method", ["iid", "leave_one_out", "oracle"])
def test_the_table_of_domainbed_is_reproduced_to_the_letter(method):
    entries = [entry for entry in GOLDEN["expected"] if entry["method"] == method]
    [golden] = [table for table in GOLDEN["table"] if table["method"] == method]
    table = only(
        *(row(e["sweep_acc"], held_out=str(e["test_env"]), seed=e["trial_seed"]) for e in entries)
    )
    *cells, average = table.rows["ERM"]
    assert names(table) == ("0", "1", "2", "3", AVERAGE)
    for cell, expected in zip(cells, golden["cells"], strict=True):
        assert cell.text() == expected["text"]
        assert 100 * cell.mean == pytest.approx(expected["mean"], abs=1e-9)
        assert 100 * cell.error == pytest.approx(expected["err"], abs=1e-9)
        assert cell.seeds == expected["n"]
    assert average.text() == golden["averages_table"]["text"]
    assert average.text().startswith(golden["avg_text"])


def test_the_error_of_an_average_is_over_the_averages_of_the_seeds():
    table = only(
        row(0.1, held_out="a", seed=0),
        row(0.3, held_out="b", seed=0),
        row(0.3, held_out="a", seed=1),
        row(0.1, held_out="b", seed=1),
    )
    assert texts(table) == ["20.0 +/- 7.1"] * 2 + ["20.0 +/- 0.0"]


def test_one_seed_has_no_error_and_one_held_out_domain_no_average():
    table = only(row(0.5))
    assert table.rows == {"ERM": (Cell(0.5, None, 1),)}
    assert names(table) == ("a",)


def test_missing_seeds_are_said_beside_the_number_and_in_the_notes():
    table = only(
        row(0.5, seed=0), row("all 8 trials failed", seed=1), row(0.7, seed=2), row(0.9, "SAM")
    )
    assert texts(table) == ["60.0 +/- 7.1 (2 of 3 seeds)"]
    assert not table.rows["ERM"][0].complete
    assert texts(table, "SAM") == ["90.0 (1 of 3 seeds)"]
    assert table.notes == (
        "ERM, a, seed 1: all 8 trials failed",
        "SAM, a, seed 1: no trial has finished",
        "SAM, a, seed 2: no trial has finished",
    )


def test_an_empty_cell_says_why():
    table = only(
        *(row("all 8 trials failed", "SAM", seed=seed) for seed in range(3)),
        row("all 8 trials failed", "ERM", seed=0),
        row("all 7 trials failed", "ERM", seed=1),
    )
    assert table.rows["SAM"][0] == Cell(None, None, 0, "all 8 trials failed")
    assert texts(table) == ["0 of 3 seeds"]


def test_a_winner_without_a_held_out_accuracy_is_missing_too():
    reason = "trial 3 has no held-out accuracy at step 100"
    table = only(row(0.5) | {"accuracy": None, "reason": reason})
    assert texts(table) == [reason]
    assert table.notes[-1] == "with training.evaluations: all every step has a held-out accuracy"


def test_an_average_takes_only_seeds_that_have_every_domain():
    table = only(
        row(0.2, held_out="a", seed=0),
        row(0.4, held_out="b", seed=0),
        row(0.9, held_out="a", seed=1),
        row("all 8 trials failed", held_out="b", seed=1),
        row(0.9, "SAM", held_out="a"),
        row(0.8, "SAM", held_out="a", seed=1),
        row("all 8 trials failed", "SAM", held_out="b"),
        row(0.9, "SAGM", held_out="a", seed=0),
        row(0.9, "SAGM", held_out="b", seed=1),
    )
    assert texts(table)[-1] == "30.0 (1 of 2 seeds)"
    assert texts(table, "SAM")[-1] == "1 of 2 domains"
    assert texts(table, "SAGM")[-1] == "no seed has all domains"


def test_datasets_models_and_methods_have_tables_of_their_own():
    rows = [row(0.1, model="x"), row(0.2, model="y"), row(0.3, model="y", method="oracle")]
    tables = summarize(frame(*rows)).tables
    assert [table.title for table in tables] == [
        "D, x, training-domain selection, per held-out domain and seed",
        "D, y, training-domain selection, per held-out domain and seed",
        "D, y, oracle selection, per held-out domain and seed",
    ]
    assert [table.rows["ERM"][0].mean for table in tables] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("over_seeds", "each"),
    [
        ([], "per held-out domain and seed"),
        (["s", "t"], "per held-out domain"),
        (["t"], "per held-out domain and, in some runs, seed"),
    ],
)
def test_a_title_says_what_each_setting_is_chosen_for(over_seeds, each):
    rows = frame(row(0.1, sweep="s"), row(0.3, sweep="t", dataset="E"))
    first, second, whole = (table.title for table in summarize(rows, "held-out", over_seeds).tables)
    assert whole.endswith(f"selection, {each}")
    for title, sweep in ((first, "s"), (second, "t")):
        assert title.endswith("domain" if sweep in over_seeds else "domain and seed")


def test_several_datasets_are_averaged_in_a_table_of_their_own():
    *_, table = summarize(
        frame(
            row(0.1, seed=0),
            row(0.3, seed=1),
            row(0.6, seed=0, dataset="E"),
            row(0.6, seed=1, dataset="E"),
            row(0.9, "SAM"),
        )
    ).tables
    assert table.title.startswith("By dataset, m, training-domain selection, ")
    assert names(table) == ("D", "E", AVERAGE)
    assert texts(table) == ["20.0 +/- 7.1", "60.0 +/- 0.0", "40.0"]
    missing = ["no trial has finished", "0 of 2 datasets"]
    assert texts(table, "SAM") == ["90.0 (1 of 2 seeds)", *missing]


def test_rows_and_columns_keep_the_order_of_the_sweep():
    table = only(row(0.5, "SAM", "b"), row(0.5, "SAM", "a"), row(0.5, "ERM", "b"))
    assert list(table.rows) == ["SAM", "ERM"]
    assert names(table)[:2] == ("b", "a")


def test_the_winners_are_listed_with_the_hyperparameters_they_have():
    won = row(0.5, "SAM", hp_rho=0.05, hp_batch_size=32, hp_alpha=np.nan)
    lost = row("all 8 trials failed", "SAM", seed=1, hp_rho=np.nan, hp_batch_size=None)
    selection = frame(won, lost).astype({"hp_batch_size": "Int64"})
    (found,) = summarize(selection).winners.to_dict("records")
    shown = ["method", "dataset", "model", "algorithm", "held_out", "seed", "number", "step"]
    shown += ["validation", "accuracy"]
    assert found == {name: won[name] for name in shown} | {"rho": 0.05, "batch_size": 32}


def test_a_reason_that_many_studies_share_is_said_once():
    rows = [row("all 8 trials failed", held_out=name) for name in "abcd"]
    table = only(*rows, row("all 7 trials failed", held_out="e"), row(0.5, "SAM", "e"))
    assert table.notes[:2] == (
        "ERM, 4 of 5 studies: all 8 trials failed",
        "ERM, e, seed 0: all 7 trials failed",
    )


def test_ties_failed_trials_and_the_choice_of_settings_are_said_below_the_table():
    once = {"method": "training-domain-per-dataset", "candidates": 2}
    table = only(
        row(0.5, **once), row(0.5, held_out="b", ties=1, failed=2, **once), row(0.5, "SAM", **once)
    )
    assert table.title == "D, m, training-domain selection, one setting per dataset"
    assert "validation in each" in table.notes[0]
    assert table.notes[1:] == (
        "SAM, b, seed 0: no trial has finished",
        "settings that every study completed, to choose among: ERM 2, SAM 2",
        "winners whose score another trial equals (the largest number counts): ERM 1 of 2",
        "trials that failed, and could not be chosen: ERM 2",
    )


@pytest.mark.parametrize("method", ["oracle", "oracle-best-step", "oracle-per-dataset"])
def test_every_table_by_an_oracle_says_that_it_is_no_result(method):
    for by in BY:
        *_, table = summarize(frame(row(0.5, method=method)), by).tables
        assert "an upper bound, no result" in table.notes[0]
    assert not only(row(0.5)).notes


def test_by_dataset_there_are_averages_only():
    [table] = summarize(
        frame(row(0.1), row(0.3, held_out="b"), row(0.6, dataset="E")), "dataset"
    ).tables
    assert names(table) == ("D", "E", AVERAGE)
    assert texts(table) == ["20.0", "60.0", "40.0"]
    [table] = summarize(frame(row(0.1), row(0.3, held_out="b")), "dataset").tables
    assert names(table) == ("D",)


def test_by_method_the_methods_stand_side_by_side():
    rows = [row(0.1), row(0.3, held_out="b"), row(0.4, "SAM"), row(0.6, "SAM", "b")]
    other = [row(0.5, method="oracle"), row(0.7, held_out="b", method="oracle")]
    [table] = summarize(frame(*rows, *other), "method").tables
    assert table.title == "D, m, by selection method, average over held-out domains"
    assert names(table) == ("training-domain", "oracle")
    assert texts(table) == ["20.0", "60.0"]
    assert texts(table, "SAM") == ["50.0", "no trial has finished"]


def test_a_table_of_averages_says_what_the_tables_behind_it_lack():
    rows = [
        row("all 8 trials failed", failed=8),
        row("all 8 trials failed", method="oracle", failed=8),
        row("all 8 trials pruned", dataset="E"),
        row(0.5, dataset="E", method="oracle", ties=2),
    ]
    first, second = summarize(frame(*rows), "method").tables
    assert first.notes[1:] == (
        "ERM, a, seed 0: all 8 trials failed",
        "trials that failed, and could not be chosen: ERM 8",
    )
    assert second.notes[1:] == (
        "training-domain: ERM, a, seed 0: all 8 trials pruned",
        "oracle: winners whose score another trial equals (the largest number counts): ERM 1 of 1",
    )
    by_dataset = summarize(frame(*rows), "dataset").tables[0]
    assert by_dataset.notes == (
        "D: ERM, a, seed 0: all 8 trials failed",
        "D: trials that failed, and could not be chosen: ERM 8",
        "E: ERM, a, seed 0: all 8 trials pruned",
    )


def test_the_frame_has_every_cell_once():
    rows = [row(0.1), row(0.3, held_out="b")]
    rows += [row(0.6, dataset="E"), row("why", dataset="E", seed=1)]
    found = summarize(frame(*rows)).frame()
    assert list(zip(found["dataset"], found["held_out"], strict=True)) == [
        ("D", "a"), ("D", "b"), ("D", AVERAGE), ("E", "a"), (AVERAGE, AVERAGE),
    ]  # fmt: skip
    assert found["accuracy"].tolist()[:4] == [0.1, 0.3, 0.2, 0.6]
    assert found["note"].tolist()[3:] == ["1 of 2 seeds", "1 of 2 datasets"]
    assert not found["published"].any()
