import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search.summary import AVERAGE, Cell, summarize

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "model_selection.json").read_text())


def row(accuracy, algorithm="ERM", held_out="a", seed=0, **more):
    reason = None if isinstance(accuracy, float) else accuracy
    found = reason is None
    return {
        "method": "training-domain",
        "dataset": "D",
        "model": "m",
        "algorithm": algorithm,
        "held_out": held_out,
        "seed": seed,
        "trial": "t" if found else None,
        "number": 3 if found else None,
        "step": 100 if found else None,
        "validation": 0.5 if found else None,
        "accuracy": accuracy if found else None,
        "reason": reason,
        **more,
    }


def frame(*rows):
    whole = {"number": "Int64", "step": "Int64", "accuracy": "float64", "validation": "float64"}
    return pd.DataFrame(rows).astype(whole)


def only(*rows):
    [table] = summarize(frame(*rows)).tables
    return table


@pytest.mark.parametrize("method", ["iid", "leave_one_out", "oracle"])
def test_the_table_of_domainbed_is_reproduced_to_the_letter(method):
    entries = [entry for entry in GOLDEN["expected"] if entry["method"] == method]
    [golden] = [table for table in GOLDEN["table"] if table["method"] == method]
    table = only(
        *(
            row(
                entry["sweep_acc"],
                dataset=entry["dataset"],
                method=method,
                held_out=str(entry["test_env"]),
                seed=entry["trial_seed"],
            )
            for entry in entries
        )
    )
    *cells, average = table.rows["ERM"]
    assert table.columns == ("0", "1", "2", "3", AVERAGE)
    for cell, expected in zip(cells, golden["cells"], strict=True):
        assert cell.text() == expected["text"]
        assert 100 * cell.mean == pytest.approx(expected["mean"], abs=1e-9)
        assert 100 * cell.error == pytest.approx(expected["err"], abs=1e-9)
        assert cell.seeds == expected["n"]
    assert average.text() == golden["averages_table"]["text"]
    assert average.text().startswith(golden["avg_text"])


def test_the_error_is_population_std_over_the_root_of_the_seeds():
    table = only(row(0.1, seed=0), row(0.2, seed=1), row(0.3, seed=2))
    assert table.rows["ERM"][0].text() == "20.0 +/- 4.7"


def test_the_error_of_an_average_is_over_the_averages_of_the_seeds():
    table = only(
        row(0.1, held_out="a", seed=0),
        row(0.3, held_out="b", seed=0),
        row(0.3, held_out="a", seed=1),
        row(0.1, held_out="b", seed=1),
    )
    assert [cell.text() for cell in table.rows["ERM"]] == ["20.0 +/- 7.1"] * 2 + ["20.0 +/- 0.0"]


def test_one_seed_has_no_error():
    assert only(row(0.5)).rows["ERM"] == (Cell(0.5, None, 1),)


def test_one_held_out_domain_has_no_average():
    assert only(row(0.5)).columns == ("a",)


def test_missing_seeds_are_said_beside_the_number_and_in_the_notes():
    table = only(
        row(0.5, seed=0), row("all 8 trials failed", seed=1), row(0.7, seed=2), row(0.9, "SAM")
    )
    assert table.rows["ERM"][0].text() == "60.0 +/- 7.1 (2 of 3 seeds)"
    assert not table.rows["ERM"][0].complete
    assert table.rows["SAM"][0].text() == "90.0 (1 of 3 seeds)"
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
    assert table.rows["ERM"][0].text() == "0 of 3 seeds"


def test_a_winner_without_a_held_out_accuracy_is_missing_too():
    reason = "trial 3 has no held-out accuracy at step 100"
    table = only(row(0.5) | {"accuracy": None, "reason": reason})
    assert table.rows["ERM"][0].text() == reason


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
    averages = {name: cells[-1].text() for name, cells in table.rows.items()}
    assert averages == {
        "ERM": "30.0 (1 of 2 seeds)",
        "SAM": "1 of 2 domains",
        "SAGM": "no seed has all domains",
    }


def test_datasets_models_and_methods_have_tables_of_their_own():
    tables = summarize(
        frame(
            row(0.1, model="x"),
            row(0.2, model="y"),
            row(0.3, model="y", method="oracle"),
        )
    ).tables
    assert [table.title for table in tables] == [
        "D, x, training-domain selection",
        "D, y, training-domain selection",
        "D, y, oracle selection",
    ]
    assert [table.rows["ERM"][0].mean for table in tables] == [0.1, 0.2, 0.3]


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
    assert table.title == "All datasets, m, training-domain selection"
    assert table.columns == ("D", "E", AVERAGE)
    assert [cell.text() for cell in table.rows["ERM"]] == ["20.0 +/- 7.1", "60.0 +/- 0.0", "40.0"]
    assert [cell.text() for cell in table.rows["SAM"]] == [
        "90.0 (1 of 2 seeds)",
        "no trial has finished",
        "0 of 2 datasets",
    ]


def test_rows_and_columns_keep_the_order_of_the_sweep():
    table = only(row(0.5, "SAM", "b"), row(0.5, "SAM", "a"), row(0.5, "ERM", "b"))
    assert list(table.rows) == ["SAM", "ERM"]
    assert table.columns[:2] == ("b", "a")


def test_the_winners_are_listed_with_the_hyperparameters_they_have():
    found = summarize(
        frame(
            row(0.5, "SAM", hp_rho=0.05, hp_batch_size=32, hp_alpha=np.nan),
            row("all 8 trials failed", "SAM", seed=1, hp_rho=np.nan, hp_batch_size=None),
        ).astype({"hp_batch_size": "Int64"})
    ).winners
    assert found.to_dict("records") == [
        {
            "method": "training-domain",
            "dataset": "D",
            "model": "m",
            "algorithm": "SAM",
            "held_out": "a",
            "seed": 0,
            "number": 3,
            "step": 100,
            "validation": 0.5,
            "accuracy": 0.5,
            "rho": 0.05,
            "batch_size": 32,
        }
    ]
