"""What stands behind the numbers of a table, against values computed by hand."""

import json

import numpy as np
import pytest

from search import results
from search.results import behind_numbers
from search.sweep.schema import Sweep
from tests.search import written_run
from tests.search.command import printed
from tests.search.results.test_one_setting import studies_of

COLUMNS = ["sweep", "study", "dataset", "model", "algorithm", "held_out", "seed"]
# Of draws of 2 of 2 trials with replacement, a quarter lacks the better one.
QUARTER = np.sqrt(1 / 4 * 3 / 4)


def behind(trials, evaluations, method="training-domain", **search):
    studies = trials[COLUMNS].drop_duplicates().to_dict("records")
    sweep = Sweep.model_validate(written_run.sweep(search=search))
    trials = trials.assign(seconds=1.0)
    sweeps = {studies[0]["sweep"]: sweep}
    return behind_numbers.behind(trials, evaluations, studies, sweeps, method).iloc[0]


def scored(frames, *by_study):
    """The tables, with these accuracies on the held-out domain's in split, by study and trial."""
    trials, evaluations = frames
    accuracies = dict(zip(trials["trial"], np.ravel(by_study).astype(float), strict=True))
    inside = (evaluations["role"] == "held_out") & (evaluations["split"] == "in")
    evaluations.loc[inside, "accuracy"] = evaluations.loc[inside, "trial"].map(accuracies)
    return trials, evaluations


def test_the_selection_error_is_that_of_drawing_the_same_numbers_in_all_studies():
    alike = scored(studies_of([0.9, 0.1], [0.8, 0.2]), [0.5, 0.7], [0.5, 0.7])
    for method in ("training-domain", "training-domain-per-dataset"):
        # With draws of their own the studies' errors would shrink by the root of 2.
        assert behind(*alike, method)["selection_error"] == pytest.approx(0.2 * QUARTER, rel=0.1)
    # One study is 0.2 better where trial 0 is not drawn, the other where trial 1 is not.
    crossed = scored(studies_of([0.9, 0.1], [0.2, 0.8]), [0.5, 0.7], [0.7, 0.5])
    expected = np.std([0.5, 0.5, 0.6, 0.6])
    assert behind(*crossed)["selection_error"] == pytest.approx(expected, rel=0.1)


def test_no_selection_error_where_trials_were_no_draws_of_their_own():
    two = studies_of([0.9, 0.1], [0.8, 0.2])
    assert "search.share" in behind(*two, share="seeds")["selection_why"]
    assert "seed_reduction" in behind(*two, seed_reduction=2)["selection_why"]
    states = [["completed", "pruned"], ["completed", "completed"]]
    found = behind(*studies_of([0.9, 0.1], [0.8, 0.2], states=states))
    assert "two candidates" in found["selection_why"]
    assert np.isnan(found["selection_error"])
    found = behind(*scored(two, [0.5, None], [0.5, 0.7]))  # chosen in a quarter of the draws
    assert "training.evaluations" in found["selection_why"]


def test_the_oracle_gap_and_calibration_are_averages_over_the_winners():
    frames = studies_of([0.9, 0.1], [0.8, 0.2])
    trials, evaluations = scored(frames, [0.5, 0.8], [0.6, 0.7])
    out = (evaluations["role"] == "held_out") & (evaluations["split"] == "out")
    number = evaluations["trial"].map(dict(zip(trials["trial"], trials["number"], strict=True)))
    evaluations.loc[out, "accuracy"] = 0.1 * number[out]  # by it the oracle chooses trial 1
    evaluations["ece"], evaluations["loss"] = 0.1 + number, 0.5 + number
    found = behind(trials, evaluations)
    assert found["oracle_gap"] == pytest.approx((0.3 + 0.1) / 2)
    assert (found["ece"], found["nll"]) == (pytest.approx(0.1), pytest.approx(0.5))
    assert behind(trials, evaluations, "oracle")["ece"] == pytest.approx(1.1)
    first = evaluations["trial"] == trials["trial"].iloc[0]
    evaluations.loc[first, "ece"] = None  # as of an earlier commit
    assert np.isnan(behind(trials, evaluations)["ece"])


def test_what_all_trials_cost_is_counted_and_shown_below_the_tables(tmp_path):
    data = written_run.sweep(algorithms=["ERM", "SAM"], held_out=["photo", "sketch"], seeds=[0, 1])
    folder = written_run.write(
        tmp_path / "run",
        data,
        states=lambda a, h, s, n: ("pruned", "failed", *2 * ["completed"])[n],
    )
    found = results.behind(results.load(folder.uri))
    assert list(found["algorithm"]) == ["ERM", "SAM"]
    counts = found[["trials", "completed", "pruned", "diverged", "failed"]]
    assert counts.iloc[0].tolist() == [16, 8, 4, 0, 4]
    assert found["hours"].iloc[0] == pytest.approx(16 * 20 / 3600)
    assert found["passes"].isna().all()  # these tables have none
    said = printed("results", folder.uri)
    assert said.index("Average") < said.index("stands behind") < said.index("Winners")
    assert "no passes: " in said
    assert "stands behind" not in printed("results", folder.uri, "--by", "method")
    content = json.loads(printed("results", folder.uri, "--format", "json"))["behind"]
    assert content[1]["algorithm"] == "SAM"
    assert [row["nll"] for row in content] == pytest.approx(found["nll"].tolist())
