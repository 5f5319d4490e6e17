"""`combine` makes soups and ensembles of the networks that a run kept, and goes on when killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from models.exported import load_exported
from search import results
from search.combination import combine
from search.combination.groups import groups
from search.reproduce.recorded_trial import ended_run
from search.run import lease, tables
from search.run.checkpoints import read_weights, write_weights
from search.run.combinations import COMBINATIONS, read_combinations, write_combination
from search.run.run_folder import RunFolder
from search.run.table_files import to_parquet
from tests.search.command import printed, refused, steppe
from tests.search.reproduce.recorded import DIGITS, STUDY, network, sam_sweep, train
from training.evaluation import evaluate, parts_of

SETTINGS = ({}, {"lr": 0.02}, {"lr": 0.01})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of one study with three networks, which were combined in all ways."""
    folder = RunFolder(tmp_path_factory.mktemp("combine") / "run")
    train(sam_sweep(search={"keep_weights": "all"}), folder, *SETTINGS)
    printed("combine", folder.uri)
    return folder


def accuracy(model, role: str, split: str) -> list[tuple[float, int]]:
    """Accuracy and images of each domain of that role."""
    wanted = [p for p in parts_of(DIGITS, "0", 0) if (p.role, p.split) == (role, split)]
    return [(s.accuracy, s.count) for s in evaluate(model, wanted, torch.device("cpu"))]


def pooled(found: list[tuple[float, int]]) -> float:
    return sum(a * n for a, n in found) / sum(n for _, n in found)


def mean(folder: RunFolder, trials) -> dict[str, torch.Tensor]:
    states = [read_weights(folder, trial) for trial in trials]
    return {name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]}


def test_members_order_and_numbers_are_those_of_the_definition(folder):
    found = read_combinations(folder).set_index("method")
    trials = tables.read_trials(folder).sort_values(
        ["objective", "number"], ascending=[False, False]
    )
    ranked = tuple(trials["trial"])
    kept, best = [], -1.0
    for trial in ranked:
        reached = pooled(accuracy(network(mean(folder, [*kept, trial])), "source", "out"))
        if reached >= best:
            kept, best = [*kept, trial], reached
    assert set(found["candidates"]) == {ranked}
    assert found["members"].to_dict() == {
        "uniform": ranked, "greedy": tuple(kept), "ensemble": ranked,
    }  # fmt: skip
    for method in ("uniform", "greedy"):
        row, soup = found.loc[method], network(mean(folder, found.loc[method, "members"]))
        source = accuracy(soup, "source", "out")
        assert row["validation"] == pytest.approx(np.mean([a for a, _ in source]))
        assert row["pooled"] == pytest.approx(pooled(source))
        assert row["accuracy"] == pytest.approx(accuracy(soup, "held_out", "in")[0][0])
        both = accuracy(soup, "held_out", "in") + accuracy(soup, "held_out", "out")
        assert row["accuracy_all"] == pytest.approx(pooled(both))
    midpoints = [pooled(accuracy(network(mean(folder, [ranked[0], t])), "source", "out"))
                 for t in ranked[1:]]  # fmt: skip
    ends = [pooled(accuracy(network(read_weights(folder, t)), "source", "out")) for t in ranked]
    barriers = [(ends[0] + end) / 2 - m for end, m in zip(ends[1:], midpoints, strict=True)]
    assert found.loc["uniform", "barrier"] == pytest.approx(max(barriers))
    assert found["networks"].to_dict() == {"uniform": 1, "greedy": 1, "ensemble": 3}
    assert found["passes"].tolist() == pytest.approx([trials["passes"].sum()] * 3)


def test_killed_it_goes_on_and_ends_with_the_same_bits(folder, monkeypatch):
    written = {f: folder.read_bytes(f"{COMBINATIONS}/{f}") for f in folder.list(COMBINATIONS)}
    assert "done before" in steppe("combine", folder.uri).stdout
    folder.delete(COMBINATIONS)
    count = 0

    def once(*arguments):
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        write_combination(*arguments)

    monkeypatch.setattr(combine, "write_combination", once)
    assert steppe("combine", folder.uri).exit_code == 130
    assert len(folder.list(COMBINATIONS)) == 1
    assert steppe("combine", folder.uri).stdout.count("done before") == 1
    assert written == {f: folder.read_bytes(f"{COMBINATIONS}/{f}") for f in written}


def test_no_driver_can_begin_while_networks_are_combined(folder, tmp_path, monkeypatch):
    copy = RunFolder(shutil.copytree(folder.root, tmp_path / "run"))
    copy.delete(COMBINATIONS)
    holders = []
    monkeypatch.setattr(
        "search.combination.combine.write_combination",
        lambda run, rows: holders.append(lease.read(run)),
    )
    combine.combine(copy.uri, ["uniform"])
    assert [holder.alive for holder in holders] == [True]
    assert lease.read(copy) is None


def test_a_soup_is_exported_with_the_accuracy_of_its_row(folder):
    out = Path(folder.root) / "../out"
    printed("export", folder.uri, f"{STUDY}.greedy", "--output", out, "--predictions")
    row = read_combinations(folder).set_index("method").loc["greedy"]
    assert accuracy(load_exported(out), "held_out", "in")[0][0] == row["accuracy"]
    assert "3 networks" in refused("export", folder.uri, "SAM.0.0.ensemble")
    assert STUDY in refused("export", folder.uri, "75.0.greedy")


def test_combinations_have_tables_of_their_own_beside_the_single_networks(folder):
    found = results.load(folder.uri)
    labels = set(found.combinations["label"])
    assert {"SAM, uniform soup of 3", "SAM, ensemble of 3"} < labels
    assert list(results.summary(found).tables[0].rows) == ["SAM"]
    shown = json.loads(printed("results", folder.uri, "--format", "json"))
    assert {row["algorithm"] for row in shown["results"]} == {"SAM", *labels}
    printed("report", folder.uri)
    page = folder.read_bytes("report.html").decode()
    assert all(label in page for label in labels)


def test_options_that_change_nothing_are_refused(folder):
    assert "than 3" in refused("combine", folder.uri, "--top", 10**30)
    assert "one seed" in refused("combine", folder.uri, "--across", "seeds")


def test_of_equal_networks_the_selected_one_is_first(folder):
    equal = ended_run(folder.uri)
    equal.trials["objective"] = 0.5
    (group,) = groups(equal, None, None)
    assert [candidate.spec.number for candidate in group.candidates] == [2, 1, 0]


def test_combinations_of_fewer_networks_than_are_kept_are_outdated(folder, tmp_path):
    copy = RunFolder(shutil.copytree(folder.root, tmp_path / "run"))
    assert "outdated" not in printed("results", copy.uri, "--format", "latex")
    write_weights(copy, f"{STUDY}.3", {"other": torch.zeros(2)})
    assert "outdated" in printed("results", copy.uri, "--format", "latex")


def test_files_of_something_else_are_named(folder, tmp_path):
    copy = RunFolder(shutil.copytree(folder.root, tmp_path / "run"))
    copy.delete(COMBINATIONS)
    state = read_weights(copy, f"{STUDY}.1")
    infinite = {name: torch.full_like(tensor, torch.inf) for name, tensor in state.items()}
    for wrong, word in (({"other": torch.zeros(2)}, "model"), (infinite, "finite")):
        write_weights(copy, f"{STUDY}.1", wrong)
        message = refused("combine", copy.uri)
        assert f"{STUDY}.1" in message
        assert word in message
        assert lease.read(copy) is None
    copy.write_bytes(f"{COMBINATIONS}/x.parquet", to_parquet(pa.table({"a": [1]})))
    assert "x.parquet" in refused("results", copy.uri)


@pytest.mark.parametrize(
    ("search", "arguments", "words"),
    [
        ({"keep_weights": "best"}, [], ["search.keep_weights", "all"]),
        ({"keep_weights": "all"}, ["--across", "seeds", "--method", "greedy"], ["splits"]),
        ({"objective": "leave-one-domain-out"}, [], ["leave-one-domain-out", "training-domain"]),
        ({"objective": "oracle", "allow_oracle": True}, [], ["oracle", "training-domain"]),
    ],
)
def test_what_cannot_be_combined_is_refused(tmp_path, search, arguments, words):
    folder = RunFolder(tmp_path / "run")
    train(sam_sweep(search=search, training={"steps": 10}), folder, {})
    message = refused("combine", folder.uri, *arguments)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("search", "word"),
    [
        ({"combine": "greedy", "keep_weights": "best"}, "search.keep_weights"),
        ({"combine": "oracle"}, "uniform"),
        ({"combine": "greedy", "objective": "leave-one-domain-out"}, "search.combine"),
        ({"combine": "greedy", "trials": 1}, "search.trials"),
        ({"keep_weights": 0}, "from 1"),
        ({"keep_weights": "some"}, "all"),
    ],
)
def test_keys_that_leave_nothing_to_combine_are_refused(search, word):
    with pytest.raises(Exception, match=word):
        sam_sweep(search=search)


def test_what_is_to_be_combined_is_kept():
    assert sam_sweep(search={"combine": "greedy"}).search.keep_weights == "all"
