"""The commands that print results: what they print, and what they refuse."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from search import results
from search.results import summary_document
from search.results.selection_rules import RULES
from search.run import tables
from search.run.run_folder import EVALUATIONS
from tests.search.command import printed, refused, steppe
from tests.search.written_run import sweep, write


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = write(
        tmp_path_factory.mktemp("runs") / "written",
        sweep(held_out=["photo", "sketch"]),
        states=lambda a, h, s, n: "failed" if (a, h, s) == ("SAM", "sketch", 1) else "completed",
    )
    return folder.uri


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_marks_and_says_what_is_missing(run):
    text = printed("results", run, "--format", "latex")
    erm, sam, sagm = (
        next(line for line in text.splitlines() if line.startswith(name))
        for name in ("ERM &", "SAM &", "SAGM &")
    )
    assert sagm.count(r"\textbf{") == 3
    # SAM is not complete on sketch, so ERM is the second there and on average.
    assert (sam.count(r"\underline{"), erm.count(r"\underline{")) == (1, 2)
    assert "(2 of 3 seeds)" in text
    assert "SAM, sketch, seed 1: all 4 trials failed" in text
    assert r"trials that failed, and could not be chosen: SAM 4" in text


def test_the_table_of_another_method_says_how_it_chose(run):
    shown = printed("results", run, "--method", "oracle-per-dataset")
    assert "oracle selection, one setting per dataset" in shown.splitlines()[0]
    assert "Winners" in shown


def test_by_method_the_honest_rules_and_the_oracles_stand_side_by_side(run):
    text = printed("results", run, "--by", "method", "--format", "csv")
    assert [row["method"] for row in rows(text) if row["algorithm"] == "ERM"] == list(RULES)
    shown = printed("results", run, "--by", "method")
    assert "oracle and oracle-best-step look at the held-out domain" in shown
    assert "Winners" not in shown


def test_by_method_a_run_without_folds_has_no_column_for_what_needs_them(tmp_path):
    folder = write(tmp_path, sweep(held_out=["photo"], seeds=[0]), trials=2)
    evaluations = tables.read_evaluations(folder)
    for study, rows_ in evaluations[evaluations["role"] != "left_out"].groupby("study"):
        pq.write_table(pa.Table.from_pandas(rows_), folder.path(f"{EVALUATIONS}/{study}.parquet"))
    text = printed("results", folder.uri, "--by", "method", "--format", "csv")
    methods = {row["method"] for row in rows(text)}
    assert methods == {*RULES} - {"leave-one-domain-out"}


def test_published_numbers_stand_apart(run):
    text = printed("results", run, "--by", "dataset", "--published", "--format", "markdown")
    assert "| *SAGM (published, Wang 2023)* | *86.6* |" in text
    assert "**86.6" not in text
    assert "the average on PACS is over 2 held-out domains here, and over 4 in the papers" in text
    loaded = results.load(run)
    found, own = (results.summary(loaded, published=papers).frame() for papers in (True, False))
    assert found[~found["published"]].reset_index(drop=True).equals(own)
    assert set(found.loc[found["published"], "held_out"]) == {"Average"}


def test_json_holds_the_winners_whatever_is_printed(run):
    content = json.loads(printed("results", run, "--by", "dataset", "--format", "json"))
    assert len(content["winners"]) == 3 * 2 * 3 - 1
    assert content["winners"][0]["rho"] is None


def test_winners_too_many_to_be_read_are_said_to_be_elsewhere(run, monkeypatch):
    monkeypatch.setattr(summary_document, "MOST_WINNERS", 16)
    text = printed("results", run)
    assert "Winners" not in text
    assert "the 17 chosen settings are in selection.parquet" in text


def test_the_comparison_has_differences_and_ranks(run):
    text = printed("compare", run)
    assert "PACS, resnet50, training-domain selection: difference to ERM" in text
    assert "5 of 6" in text
    assert "on these held-out domains" in text
    assert "too few domains: 2 of at least 3" in text
    content = json.loads(printed("compare", run, "--format", "json"))
    assert set(content) == {"pairs", "best", "ranks", "on_the_line"}
    assert {row["a"] for row in content["pairs"]} == {"SAM", "SAGM"}
    assert all(row["here_low"] < row["difference"] for row in content["pairs"])
    assert {row["like_why"] for row in content["best"]} == {"too few domains: 2 of at least 3"}


def test_importance_is_printed_for_every_algorithm(run):
    text = printed("importance", run)
    for algorithm in ("ERM", "SAM", "SAGM"):
        assert f"written, PACS, resnet50, {algorithm}" in text
    assert "from 24 completed trials of 6 studies" in text


def test_what_a_user_gets_wrong_is_said_in_one_sentence(run):
    assert "did you mean SAGM?" in refused("compare", run, "--against", "SAGN")
    assert "did you mean oracle?" in refused("compare", run, "--method", "orcale")
    assert steppe("results", run, "--by", "seed").exit_code == 2
