"""The report of a search with two objectives."""

from __future__ import annotations

import pytest

from search.report.front import front
from search.report.page import page
from search.report.reported_run import read
from search.results.fronts import on_front
from search.run.run_folder import RunFolder
from tests.search.report.document import Page
from tests.search.report.played_run import begin, play, several

SEARCH = {"objective": ["oracle", "worst-source-domain"], "allow_oracle": True, "trials": 4}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("played") / "run")
    play(several(algorithms=["SAM", "SAGM"], seeds=[0], search=SEARCH), folder)
    return read(folder.uri)


def test_the_scatter_has_every_completed_trial_and_the_front_of_each_study(run):
    done = run.trials[run.trials["state"] == "completed"]
    ((_, drawing),) = front(run).drawings.items()
    assert sum(len(trace.x) for trace in drawing.data) == len(done)
    lines = [trace for trace in drawing.data if trace.mode == "lines+markers"]
    assert len(lines) == done["study"].nunique() == 4
    assert sum(len(trace.x) for trace in lines) == on_front(done).sum() < len(done)
    for trace in lines:
        assert list(trace.x) == sorted(trace.x)
        assert list(trace.y) == sorted(trace.y)[::-1]
    assert {trace.name for trace in lines if trace.showlegend} == set(run.algorithms)
    assert drawing.layout.xaxis.title.text == "oracle"
    assert drawing.layout.yaxis.title.text == "worst-source-domain"


def test_the_page_shows_it_and_says_at_its_head_that_the_search_saw_the_held_out_domain(run):
    text = Page(page(run)).text
    assert "The two objectives" in text
    assert "The best value of the objective (oracle)" in text
    head = text[: text.index("Settings chosen by")]
    assert "Not the honest protocol:" in head
    assert "search.objective: oracle" in head


def test_a_search_with_one_objective_has_no_scatter(folder):
    begin(several(), folder)
    assert front(read(folder.uri)) is None
