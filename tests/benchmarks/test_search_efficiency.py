"""The comparison of searches plays real studies and counts what they spend."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

import datasets
from benchmarks.learning_curves import Curves
from benchmarks.played_search import Played, play
from benchmarks.regret_figure import regret_figure
from benchmarks.rung_margins import Recorded, margins, replay
from benchmarks.search_efficiency import (
    DATASET,
    DEFAULT,
    DOMAINS,
    PROTOCOL,
    Setup,
    compare,
    sweep_of,
    write,
)
from benchmarks.search_gains import interval, rows_of, table

SETUP = Setup(steps=40, evaluate_every=10, trials=5)
STUDY = ("SAGM", "0", 0)


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    return Curves(datasets.load(DATASET, None), tmp_path_factory.mktemp("curves") / "curves.jsonl")


def test_its_domains_are_those_of_the_dataset():
    assert datasets.describe(DATASET, None).domains == DOMAINS


def test_the_protocol_spends_all_steps_of_all_trials_and_takes_the_best(curves):
    played = play(sweep_of(SETUP, *STUDY, PROTOCOL), curves)

    assert (played.trials, played.stopped) == (5, 0)
    assert played.spent == 5 * 40 * 2  # SAGM makes two passes a step
    assert played.validation == sorted(played.validation)
    assert played.until(played.validation, played.validation[-1]) <= played.spent
    first = json.loads(curves.file.read_text().splitlines()[0])
    assert json.loads(first[1])["lr"] == 1e-3


def test_a_search_that_stops_trials_spends_less_and_says_what_it_missed(curves):
    setup = replace(SETUP, trials=12)
    whole = play(sweep_of(setup, *STUDY, PROTOCOL), curves)
    known = curves.trained
    stopping = play(sweep_of(setup, *STUDY, "random/asha"), curves)

    assert curves.trained == known  # the same settings, trained once
    assert stopping.trials == 12
    assert stopping.stopped > 0
    assert stopping.spent < whole.spent
    assert stopping.validation[-1] <= whole.validation[-1]
    assert (stopping.missed > stopping.validation[-1]) == (
        stopping.validation[-1] < whole.validation[-1]
    )


def curve(*validation):
    steps = range(30, 301, 30)
    return Recorded(steps, [2.0 * step for step in steps], validation, {"300": validation})


def test_a_winner_that_rises_late_is_stopped_unless_gains_have_shown_that_some_do():
    """Of five trials the third was late too, so that the fifth is let go on and wins."""
    early = curve(*[0.6] * 2, *[0.7] * 8)
    late = curve(*[0.56] * 2, *[0.79] * 8)
    last = curve(*[0.5] * 2, *[0.8] * 8)
    found = {
        name: replay([early, early, late, early, last], 300, *make(300), slots=1)
        for name, make in margins(300, 30).items()
    }
    assert not found["none"].kept
    assert not found["2 standard errors"].kept
    assert found["observed gains"].kept
    assert found["observed gains"].regret == 0
    assert found["none"].regret == pytest.approx(10)
    assert found["none"].spent < found["observed gains"].spent < 1


def test_a_longer_search_ends_where_the_protocol_does(curves):
    compared = compare(SETUP, STUDY, ["random/asha x3"], curves)
    protocol, longer = compared.played[PROTOCOL], compared.played["random/asha x3"]
    assert longer.spent < protocol.spent + 40 * 2
    assert longer.trials <= 15
    assert compared.known >= max(protocol.validation[-1], longer.validation[-1])


def test_what_was_trained_is_read_again_and_a_line_cut_off_is_not(curves, tmp_path):
    play(sweep_of(SETUP, *STUDY, PROTOCOL), curves)
    file = tmp_path / "curves.jsonl"
    lines = curves.file.read_text().splitlines(keepends=True)[:5]
    file.write_text("".join(lines)[:-30])
    again = Curves(datasets.load(DATASET, None), file)
    played = play(sweep_of(SETUP, *STUDY, PROTOCOL), again)

    assert again.trained == 1
    assert file.read_text() == "".join(lines)
    assert played == play(sweep_of(SETUP, *STUDY, PROTOCOL), curves)


def test_the_results_have_a_row_for_each_search_and_a_figure(curves, tmp_path):
    compared = [compare(SETUP, ("SAGM", domain, 0), [DEFAULT], curves) for domain in DOMAINS[:3]]
    rows = rows_of(compared, PROTOCOL)

    assert [row.search for row in rows] == [PROTOCOL, DEFAULT]
    protocol = rows[0]
    assert (protocol.studies, protocol.trials, protocol.stopped) == (3, 5, 0)
    for name, value in {"spent": 1, "reached": 1, "validation": 0, "held_out": 0}.items():
        assert asdict(protocol)[name] == dict.fromkeys(("mean", "low", "high"), value)
    assert table(rows).count("\n") == 2
    write(tmp_path, SETUP, rows, compared)
    assert len(json.loads((tmp_path / "results.json").read_text())["studies"]) == 3
    names = {line.name for line in regret_figure(compared, PROTOCOL, DEFAULT).data if line.name}
    assert names == {PROTOCOL, DEFAULT}


def test_a_held_out_accuracy_counts_from_where_it_stays_as_good():
    played = Played([1.0, 2.0, 3.0, 4.0], [0.5, 0.6, 0.6, 0.9], [0.9, 0.4, 0.6, 0.8])
    assert played.until(played.validation, 0.6) == 2.0
    assert played.until(played.held_out, 0.5) == 3.0
    assert played.until(played.held_out, 0.3) == 1.0
    assert played.until(played.held_out, 0.85) is None


def test_what_a_search_had_come_to_is_its_last_evaluation_until_then():
    played = Played([1.0, 2.0, 4.0], [0.5, 0.6, 0.6], [0.9, 0.4, 0.6])
    assert [played.at(passes) for passes in (0.5, 1.0, 3.9, 4.0, 9.0)] == [0, 0, 1, 2, 2]


def test_an_interval_draws_whole_groups():
    single = interval([[0.0], [1.0]] * 20)
    paired = interval([[0.0, 0.0], [1.0, 1.0]] * 10)
    assert single.mean == paired.mean == 0.5
    assert paired.high - paired.low > 1.2 * (single.high - single.low)
