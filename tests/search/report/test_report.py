"""What stands on the page: the numbers of the tables, for every state that a run can be in."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from search import results
from search.report.page import page
from search.report.reported_run import ReportedRun, read
from search.results.scored_trials import alike, scored
from search.run.run_folder import RunFolder
from tests.search import written_run
from tests.search.command import printed, refused
from tests.search.report.document import Page
from tests.search.report.played_run import begin, play, several


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ReportedRun:
    folder = RunFolder(tmp_path_factory.mktemp("played") / "run")
    play(several(), folder)
    return read(folder.uri)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> ReportedRun:
    """One trial has ended."""
    folder = RunFolder(tmp_path_factory.mktemp("small") / "run")
    play(several(algorithms=["SAM"], held_out=["0"], seeds=[0]), folder, trials=1)
    return read(folder.uri)


@pytest.fixture(scope="module")
def shown(run: ReportedRun) -> Page:
    return Page(page(run))


def test_the_answer_is_the_highest_average_of_the_table(run, shown):
    table = results.summary(results.load(run.location)).tables[0]
    means = {name: cells[-1].mean for name, cells in table.rows.items()}
    best = max(means, key=means.get)
    before = shown.text.split("Are the differences more than chance?")[0]
    lines = [line.strip() for line in before.splitlines() if line.strip()]
    assert lines[lines.index("RotatedDigits") + 1] == best
    assert f"{100 * means[best]:.1f} ± " in before
    second = sorted(means.values())[-2]
    assert f"{100 * (means[best] - second):.1f} points above" in before
    assert "On these held-out domains" in before
    assert "On domains like these nothing says whether it is chance (too few domains: 2" in before
    assert "Selected in its 4 studies" in before


def test_the_result_table_has_the_numbers_of_the_results_command(run, shown):
    table = results.summary(results.load(run.location)).tables[0]
    header, *rows = shown.tables[table.title]
    assert header == ["", "0", "75", "Average"]
    assert rows == [
        [name, *(cell.text(" ± ") for cell in cells)] for name, cells in table.rows.items()
    ]
    assert sum(kind == "strong" for kind, text in shown.marked if " ± " in text) >= 3
    title, behind = next(item for item in shown.tables.items() if "stands behind" in item[0])
    assert run.method in title
    assert [row[0] for row in behind[1:]] == list(table.rows)


def test_each_selection_method_with_a_winner_has_its_table(run, shown):
    for method in ("oracle", "last-step", "worst-source-domain"):
        table = results.summary(results.load(run.location), methods=[method]).tables[0]
        assert table.title in shown.tables
    assert "looks at the held-out domain: an upper bound" in shown.text


def test_a_curve_has_the_validation_of_the_selected_trial_and_a_star_at_its_step(run, shown):
    winner = run.winners.iloc[0]
    rows = run.evaluations[run.evaluations["trial"] == winner["trial"]]
    out = rows[(rows["role"] == "source") & (rows["split"] == "out")]
    expected = out.groupby("step")["accuracy"].mean().round(5)
    (drawing,) = shown.figures["curves"]
    told = f"{winner['algorithm']}, seed {winner['seed']}, trial {winner['number']}"
    lines, stars = [], []
    for trace in drawing["data"]:
        for x, y, text in zip(trace["x"], trace["y"], trace["text"], strict=True):
            if trace["xaxis"] == "x" and x is not None:
                lines += [(x, y)] if text == told else []
                stars += [(x, y)] if text == f"{told}, selected" else []
    assert lines == list(expected.items())
    assert stars == [(winner["step"], expected[winner["step"]])]


def test_the_landscape_has_rho_and_alpha_where_an_algorithm_has_them(run, shown):
    layout = shown.figures["landscape"][0]["layout"]
    titles = {layout[f"xaxis{i or ''}"]["title"]["text"] for i in ("", 2, 3, 4)}
    assert titles == {"lr", "rho"}
    sagm = run.trials[(run.trials["algorithm"] == "SAGM") & (run.trials["state"] == "completed")]
    drawn = {
        (x, y)
        for trace in shown.figures["landscape"][0]["data"]
        for x, y in zip(trace["x"], trace["y"], strict=True)
    }
    expected = zip(sagm["hp_rho"], sagm["hp_alpha"], strict=True)
    assert {(float(f"{x:.4g}"), float(f"{y:.4g}")) for x, y in expected} <= drawn


def test_every_completed_trial_is_in_the_figure_of_trust_and_in_that_of_flatness(run, shown):
    completed = int((run.trials["state"] == "completed").sum())
    for name in ("validation", "flatness"):
        (drawing,) = shown.figures[name]
        marks = [trace for trace in drawing["data"] if trace["mode"] == "markers"]
        assert sum(len(trace["x"]) for trace in marks) == completed


def test_the_line_of_a_held_out_domain_is_drawn_and_in_the_table(run, shown):
    (drawing,) = shown.figures["validation"]
    fitted = [trace for trace in drawing["data"] if trace["mode"] == "lines"]
    assert len(fitted) == run.lines["r"].notna().sum() > 0
    for trace, row in zip(fitted, run.lines.to_dict("records"), strict=True):
        rise = (trace["y"][1] - trace["y"][0]) / (trace["x"][1] - trace["x"][0])
        assert rise == pytest.approx(row["slope"], abs=0.01)
    _, *rows = next(table for title, table in shown.tables.items() if "on the line" in title)
    assert [row[2] for row in rows] == [f"{r:.2f}" for r in run.lines["r"]]


def test_the_price_of_choosing_by_validation_is_told(run, shown):
    done = run.trials[run.trials["state"] == "completed"]
    held_out = run.evaluations[run.evaluations["role"] == "held_out"]
    held_out = held_out[held_out["split"] == "in"].set_index("trial")["accuracy"]
    done = done.assign(accuracy=done["trial"].astype(object).map(held_out))
    best = done.groupby("study")["accuracy"].max()
    chosen = run.winners.set_index("study")
    lost = best - chosen["accuracy"].reindex(best.index)
    domains = chosen["held_out"].reindex(best.index)
    _, *rows = shown.tables["Source validation as a guide to the held-out domain"]
    for row in rows:
        assert row[5] == f"{100 * lost[domains == row[1]].mean():.1f}"


def test_failures_are_counted_with_their_reasons_and_no_markup_of_theirs_acts(run, shown):
    _, *rows = shown.tables["Trials that failed or diverged"]
    counts = run.trials["state"].value_counts()
    assert sum(int(row[3]) for row in rows) == counts["failed"] + counts["diverged"]
    assert "OSError: <script>alert('reason')</script> & more" in {row[4] for row in rows}


def test_hours_add_up(run, shown):
    *_, total = shown.tables["Trials and hours by algorithm"]
    _, *studies = shown.tables["Trials and hours by study"]
    assert len(studies) == 16
    assert float(total[5]) == pytest.approx(run.trials["seconds"].sum() / 3600, rel=1e-2)
    assert sum(int(row[1]) for row in studies) == int(total[1])


def test_configuration_versions_and_fingerprints_are_there(run, shown):
    assert run.configuration in shown.text
    (session,) = json.loads((Path(run.location) / "manifest.json").read_text())["sessions"]
    (_, row) = shown.tables["Sessions: each start of the driver"]
    assert f"torch {session['packages']['torch']}" in row[-1]
    assert run.manifest["datasets"]["RotatedDigits"] in shown.text


def test_nothing_is_loaded_from_elsewhere(shown):
    loads = {"src", "href", "action", "data", "poster", "srcset"}
    loaded = [value for _, name, value in shown.attributes if name in loads]
    assert all(value.startswith(("#", "data:")) for value in loaded), loaded
    policy = [value for _, name, value in shown.attributes if name == "content"]
    assert any("default-src 'none'" in value for value in policy)


def test_names_with_markup_are_text(small):
    evil = "</script><script>alert(1)</script><b>"
    selection, trials = (
        table.assign(held_out=table["held_out"].astype(str) + evil)
        for table in (small.selection, small.trials)
    )
    loaded = dataclasses.replace(small.loaded, name=evil)
    named = dataclasses.replace(small, runs={evil: loaded}, trials=trials)
    vars(named)["selection"] = selection
    html = page(named)
    assert "<script>alert(1)" not in html
    shown = Page(html)
    assert evil in shown.text
    title = shown.figures["validation"][0]["layout"]["annotations"][0]["text"]
    assert "<" not in title
    assert "&lt;b&gt;" in title


def test_a_run_without_an_ended_trial_says_so_and_its_page_goes_where_the_user_says(tmp_path):
    folder = RunFolder(tmp_path / "run")
    begin(several(), folder)
    printed("report", folder.uri)
    shown = Page((tmp_path / "run" / "report.html").read_text())
    assert "No trial has finished yet" in shown.text
    assert "No algorithm has a result" in shown.text
    assert not shown.figures
    printed("report", folder.uri, "--output", tmp_path / "here.html")
    assert (tmp_path / "here.html").read_text().startswith("<!DOCTYPE html>")
    message = refused("report", folder.uri, "--output", tmp_path / "no" / "here.html")
    assert "cannot write the report to" in message
    assert "--output" in message


def test_a_run_that_goes_on_is_not_called_final_and_has_a_page_after_one_trial(small):
    shown = Page(page(small))
    assert "Not final: 1 of 4 trials have ended." in " ".join(shown.text.split())
    assert {"curves", "history", "validation"} <= shown.figures.keys()
    assert "accuracy on the held-out domain 0" in shown.text


def test_several_datasets_have_an_answer_each_and_one_together(tmp_path):
    few = {"algorithms": ["SAM"], "held_out": ["SUN09"], "seeds": [0]}
    data = written_run.sweep(datasets={"PACS": {"held_out": ["photo"]}, "VLCS": {}}, **few)
    del data["dataset"]
    shown = Page(page(read(written_run.write(tmp_path / "run", data).uri)))
    answer = shown.text.split("Settings chosen by")[0]
    assert answer.index("All datasets") < answer.index("PACS") < answer.index("VLCS")
    assert len(shown.figures["curves"]) == 2
    assert len(shown.figures["landscape"]) == 4


def test_the_report_of_a_run_in_an_object_store_lies_beside_it_there():
    store = pytest.importorskip("tests.search.store")
    with store.serving() as (host, port), store.bucket_on(host, port) as bucket:
        folder = RunFolder(f"{bucket}/runs/x")
        begin(several(), folder)
        assert f"{bucket}/runs/x/report.html" in printed("report", folder.uri)
        shown = Page(folder.read_bytes("report.html").decode())
    assert "No trial has finished yet" in shown.text
    assert store.SECRET not in shown.text


def test_tables_from_before_averages_and_flatness_are_read(small):
    old = small.evaluations.drop(columns=["weights", "sharpness", "curvature"])
    shown = Page(page(dataclasses.replace(small, evaluations=old)))
    assert {"curves", "history", "validation"} <= shown.figures.keys()
    assert "Flatness was not measured" in shown.text


def test_an_average_speaks_for_its_trial_in_place_of_the_iterate_of_that_step(run):
    winner = run.winners.iloc[0]["trial"]
    rows = run.evaluations[run.evaluations["trial"] == winner]
    last = rows[(rows["step"] == 90) & (rows["role"] == "held_out")]
    average = last.assign(weights="average", accuracy=0.123)
    both = pd.concat([average, run.evaluations.astype({"weights": object})], ignore_index=True)
    found = scored(run.trials, both).set_index("trial")
    assert found.loc[winner, "accuracy"] == 0.123


def test_validation_is_judged_over_all_trials_where_pruned_ones_were_scored_too(tmp_path):
    def order(algorithm, held_out, seed, number, step):
        # By the held-out domain the better half is in reverse, all together are in order.
        return 0.5 + 0.05 * number + step / 1000, 0.4 + 0.05 * (number, 5 - number)[number > 1]

    def state(algorithm, held_out, seed, number):
        return "completed" if number > 1 else "pruned"

    data = written_run.sweep(algorithms=["SAM"], held_out=["photo"], seeds=[0])
    found = results.load(written_run.write(tmp_path / "run", data, order, 4, state).uri)
    early = found.trials["state"] == "pruned"
    late = found.evaluations["trial"].isin(found.trials.loc[early, "trial"])
    evaluations = found.evaluations[~late | (found.evaluations["step"] <= 100)]
    done = scored(found.trials, evaluations)
    compared = alike(found.trials, evaluations, done)
    assert (len(compared), set(compared["at"]), set(compared["of"])) == (4, {100}, {4})
    assert compared["validation"].is_monotonic_increasing
    # Without their held-out scores only the survivors are left, at the steps they selected.
    fewer = evaluations[~late[evaluations.index] | (evaluations["role"] != "held_out")]
    left = alike(found.trials, fewer, scored(found.trials, fewer))
    assert (list(left["number"]), set(left["of"])) == ([2, 3], {4})
    assert left["at"].isna().all()
