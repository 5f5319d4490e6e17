"""Accuracy on the line: the numbers, and what is said of them."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from search import results
from search.results.accuracy_line import grids, lines, probit
from tests.search.command import printed
from tests.search.written_run import sweep, write


def points(x, y, model="m", images=1000):
    """Trials with these probits of validation and held-out accuracy."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    return pd.DataFrame(
        {
            "dataset": "d", "model": model, "algorithm": "a", "held_out": "h", "x": x, "y": y,
            "hp_lr": np.arange(len(x)),
            "validation": norm.cdf(x), "accuracy": norm.cdf(y), "validation_images": images,
        }
    )  # fmt: skip


def one(found, trials=None):
    (row,) = lines(found, found if trials is None else trials).to_dict("records")
    return row


def test_the_line_goes_through_the_probits_with_the_interval_of_fishers_z():
    x = np.linspace(0, 2, 30)
    y = 0.5 * x - 0.3 + np.where(np.arange(30) % 2, 0.1, -0.1)
    row = one(points(x, y))
    r = np.corrcoef(x, y)[0, 1]
    reach = 1.959964 / np.sqrt(30 - 3)
    assert row["r"] == pytest.approx(r)
    assert row["low"] == pytest.approx(np.tanh(np.arctanh(r) - reach), abs=1e-6)
    assert row["high"] == pytest.approx(np.tanh(np.arctanh(r) + reach), abs=1e-6)
    slope, intercept = np.polyfit(x, y, 1)
    assert (row["slope"], row["intercept"]) == pytest.approx((slope, intercept))
    assert (row["trials"], row["reading"]) == (30, "on the line")


@pytest.mark.parametrize(
    ("sign", "noise", "count", "reading"),
    [
        (1, 0.05, 60, "on the line"),
        (-1, 0.3, 60, "inverse"),
        (0, 1.0, 200, "weak"),
        (1, 1.0, 100, "rising"),
        (1, 1.5, 6, "cannot tell"),
    ],
)
def test_a_reading_of_the_interval_has_its_meaning_below_the_table(sign, noise, count, reading):
    rng = np.random.default_rng(3)
    x = np.linspace(0, 2, count)
    found = lines(rows := points(x, sign * x + noise * rng.standard_normal(count)), rows)
    assert found["reading"][0] == reading
    (grid,) = grids(found)
    assert grid.rows[0][-1].text == reading
    assert sum(note.startswith(reading) for note in grid.notes) == 1


def test_trials_that_validate_alike_are_called_narrow():
    rng = np.random.default_rng(0)
    x = 1 + 0.02 * rng.standard_normal(40)
    rows = points(x, rng.standard_normal(40), images=300)
    found = lines(rows, rows)
    assert found["narrow"][0]
    assert "narrow" in grids(found)[0].rows[0][-1].text


def test_without_a_correlation_the_table_says_why():
    few = points([0, 1, 2], [0, 1, 2])
    assert "3 of at least 4" in one(few)["why"]
    assert "held-out" in one(points([0, 1, 2, 3], [1, 1, 1, 1]))["why"]
    assert "validation" in one(points([1, 1, 1, 1], [0, 1, 2, 3]))["why"]
    none = few.iloc[:0]
    row = one(none, few)
    assert (row["trials"], row["asked"], row["reading"]) == (0, 3, "")
    (grid,) = grids(lines(none, few))
    assert [cell.text for cell in grid.rows[0]][1:3] == ["0 of 3", ""]


def test_trials_of_one_setting_count_once():
    """Two algorithms and two seeds of one setting are no four points of a line."""
    few = points([0, 0.01, 1, 1.01], [1, 1.01, 0, 0.01]).assign(hp_lr=1, algorithm=[*"abab"])
    assert "1 of at least 4" in one(few)["why"]
    once = points(np.arange(6), [0, 1, 2, 3, 5, 4])
    several = pd.concat([once, once.assign(algorithm="b"), once.assign(seed=1)])
    for key in ("low", "high", "settings"):
        assert one(several)[key] == pytest.approx(one(once)[key])


def test_accuracies_of_0_and_1_count_half_an_image_and_are_told():
    found = probit(pd.Series([0.0, 1.0, 0.5]), pd.Series([50, 50, 50]))
    assert found == pytest.approx([norm.ppf(0.01), norm.ppf(0.99), 0])
    rows = points([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]).assign(accuracy=[0, 0.1, 0.2, 0.3, 1])
    assert one(rows)["clipped"] == 2
    assert any("half an image" in note for note in grids(lines(rows, rows))[0].notes)


def test_models_have_lines_of_their_own_and_one_together():
    """Within each model validation says nothing, over both it does."""
    x = np.tile([0.0, 0.1], 10)
    y = np.repeat([0.0, 0.1], 10)
    rows = pd.concat([points(x, y, "a"), points(x + 3, y + 3, "b")])
    found = lines(rows, rows).set_index("model")
    assert list(found.index) == ["a", "b", "all"]
    assert found.loc["a", "r"] == pytest.approx(0, abs=1e-9)
    assert found.loc["all", "reading"] == "on the line"
    assert found.loc["all", "trials"] == 40


def rising(algorithm, held_out, seed, number, step):
    validation = 0.5 + 0.05 * number + 0.02 * seed + step / 2000
    return validation, 1.0 if held_out == "sketch" else validation - 0.1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = sweep(algorithms=["ERM", "SAM"], held_out=["photo", "sketch"])
    folder = tmp_path_factory.mktemp("line") / "run"
    return write(folder, data, rising, states=lambda *own: ("completed", "pruned")[own[-1] == 0])


def test_results_and_compare_show_the_line_and_json_has_it(run):
    found = results.on_the_line(results.load(run.uri)).set_index("held_out")
    assert found.loc["photo", ["trials", "asked"]].tolist() == [24, 24]
    assert found.loc["photo", "reading"] == "on the line"
    assert "held-out" in found.loc["sketch", "why"]
    for command in ("results", "compare"):
        assert "Accuracy on the line" in printed(command, run.uri)
    content = json.loads(printed("results", run.uri, "--format", "json"))
    rows = {row["held_out"]: row for row in content["on_the_line"]}
    assert rows["photo"]["r"] == pytest.approx(found.loc["photo", "r"])
    assert rows["sketch"]["r"] is None


def test_pruned_trials_without_held_out_scores_are_left_out_and_counted(run):
    loaded = results.load(run.uri)
    pruned = set(loaded.trials.query("state == 'pruned'")["trial"])
    rows = loaded.evaluations
    unscored = rows[~(rows["trial"].isin(pruned) & (rows["role"] == "held_out"))]
    found = results.on_the_line(dataclasses.replace(loaded, evaluations=unscored))
    assert found[["trials", "asked"]].drop_duplicates().to_numpy().tolist() == [[18, 24]]
    assert any("left out" in note for note in grids(found)[0].notes)


def test_the_accuracy_of_several_held_out_domains_is_their_mean(run):
    loaded = results.load(run.uri)
    rows = loaded.evaluations
    more = rows[(rows["role"] == "held_out") & (rows["split"] == "in")]
    more = more.assign(domain="another", accuracy=more["accuracy"] - 0.2)
    both = pd.concat([rows, more], ignore_index=True)
    before, after = (
        results.trial_scores(dataclasses.replace(loaded, evaluations=frame)).set_index("trial")
        for frame in (rows, both)
    )
    assert np.allclose(after["accuracy"], before["accuracy"] - 0.1)
    assert (after["images"] == 2 * before["images"]).all()
