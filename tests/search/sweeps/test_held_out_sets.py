"""A sweep that holds out a pair of domains and a single one, from its file to its tables."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from search import results
from search.driver import launch
from search.results.comparison import compare, ranks
from search.results.loading import read_sweep
from search.run import tables
from search.run.combinations import read_combinations
from search.study.study import studies
from tests.search.command import printed
from tests.search.play import launched, small_sweep, without_ray

PAIR = "RotatedDigits.mlp.SAGM.0+75.0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    sweep = small_sweep(
        held_out=[["75", 0], "30"],
        training={"steps": 20, "evaluate_every": 10},
        search={"trials": 2, "keep_weights": "all"},
    )
    return launched(sweep, tmp_path_factory.mktemp("sets"))


def test_a_study_of_a_pair_trains_on_the_others_and_is_scored_on_each_of_the_two(folder):
    assert [study.id for study in studies(read_sweep(folder))] == [
        PAIR,
        "RotatedDigits.mlp.SAGM.30.0",
    ]
    with without_ray():  # the run's own file is the same sweep
        assert launch.resume(folder.uri)[1]
    evaluations = tables.read_evaluations(folder)
    own = evaluations[evaluations["study"] == PAIR]
    scored = own.astype({"domain": str}).groupby("role")["domain"].agg(set)
    assert scored.to_dict() == {"source": {"15", "30", "45", "60"}, "held_out": {"0", "75"}}


def test_its_accuracy_is_the_mean_over_its_domains_and_counts_once(folder):
    found = results.load(folder.uri)
    row = results.select(found).set_index("study").loc[PAIR]
    assert row["held_out"] == "0/75"
    table = found.evaluations
    at = table[(table["trial"] == row["trial"]) & (table["step"] == row["step"])]
    at = at[at["role"] == "held_out"].astype({"domain": str, "split": str})
    inside = at[at["split"] == "in"].set_index("domain")["accuracy"]
    assert list(row["accuracies"]) == [inside["0"], inside["75"]]
    assert row["accuracy"] == pytest.approx(np.mean([inside["0"], inside["75"]]))
    hits = at.assign(hits=at["accuracy"] * at["count"]).groupby("domain")[["hits", "count"]].sum()
    assert row["accuracy_all"] == pytest.approx((hits["hits"] / hits["count"]).mean())

    written = json.loads(printed("results", folder.uri, "--format", "json"))
    cells = {r["held_out"]: r for r in written["results"] if r["algorithm"] == "SAGM"}
    mean = np.mean([cells["0/75"]["accuracy"], cells["30"]["accuracy"]])
    assert cells["Average"]["accuracy"] == pytest.approx(mean)
    assert {
        r["domain"]: r["accuracy"] for r in written["domains"] if r["algorithm"] == "SAGM"
    } == inside.to_dict()
    written = pq.read_table(BytesIO(folder.read_bytes("selection.parquet"))).to_pandas()
    of_pair = written[(written["study"] == PAIR) & (written["method"] == "training-domain")]
    assert list(of_pair["accuracies"].iloc[0]) == list(row["accuracies"])


@pytest.mark.parametrize("kind", ["table", "latex", "csv"])
def test_every_format_names_the_pair(folder, kind):
    shown = printed("results", folder.uri, "--format", kind, "--published")
    assert "0/75" in shown
    assert kind == "csv" or "domains of each set" in shown


def test_its_models_are_made_again_and_combined(folder, tmp_path):
    printed("rerun", folder.uri, f"{PAIR}.1")
    printed("combine", folder.uri, "--method", "uniform")
    row = read_combinations(folder).set_index("study").loc[PAIR]
    assert row["accuracy"] == pytest.approx(np.mean(row["accuracies"]))
    for name in (PAIR, row["combination"]):
        said = printed("export", folder.uri, name, "--output", tmp_path / name)
        assert "as in the table" in said
    printed("report", folder.uri)
    page = folder.read_bytes("report.html").decode()
    assert "SAGM, uniform soup of 2" in page
    assert page.count("domains of each set") > 1


def test_sets_that_share_a_domain_are_no_independent_sample():
    def selection(*held_out: str) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "dataset": "D",
                "model": "m",
                "algorithm": algorithm,
                "held_out": name,
                "seed": seed,
                "accuracy": 0.5 + 0.01 * seed * len(name) + 0.1 * (algorithm == "A"),
            }
            for algorithm in "ABC"
            for name in held_out
            for seed in range(2)
        )

    for names, dependent in ((["a/b", "c/d", "e"], False), (["a/b", "b/c", "e"], True)):
        found = compare(selection(*names), ["A"], "B").iloc[0]
        assert ("share" in str(found["like_why"])) == dependent
        assert np.isnan(ranks(selection(*names))[0].p) == dependent
