"""Domains with any name a folder can have: from the sweep file to the tables, and back."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import datasets
from datasets.entry import Description, Entry
from search import results, yaml_file
from search.checks.load_sweep import load, sweep_of
from search.cli.status import print_status
from search.results.formats import FORMATS, Document, Grid, texts
from search.results.loading import read_sweep
from search.results.selection import select
from search.run import manifest
from search.run.combinations import write_combination
from search.run.run_folder import MANIFEST, RunFolder
from search.screen import StudyProgress, console, printable, progress_table
from search.study.resolved_sweep import as_yaml, differences
from search.study.study import studies
from search.sweep.schema import Sweep
from tests.datasets.photos import tree
from tests.search import written_run
from tests.search.command import printed, refused, write_yaml
from tests.search.play import SWEEP as PLAYED
from tests.search.play import play, record, small_sweep, without_ray

# Without quotes YAML takes these for numbers, switches, dates, nothing and more.
LOOK_LIKE_OTHERS = [
    *("012", "10", "0o14", "0x10", "0b1", "1_000", "1e3", "1e-3", "1.50", "+1", "-0", ".5"),
    *("1:30", "190:20:30", ".inf", "-.INF", ".nan", "yes", "No", "on", "OFF", "y", "true"),
    *("FALSE", "null", "Null", "~", "2024-01-01", "2001-12-14t21:59:43.10-05:00", "=", "<<"),
    *("all", "nan"),
]
HOSTILE = [
    *("照片", "素描", "фото", "صور", "🎨", "é", "e\u0301", "Photo", "photo", "a b", "a_b", "a.b"),
    *("[red]x", "[]", "[bold]", ":car:", "[photo]", "*", "a|b", "a\\|b", "_x_"),
    *("<b>x<br>", "&amp;", "a & b", "50%", "$x^2$", "~a#{}\\", "--", "''", '"', "a,b", "=1+1"),
    *("# no", "a: b", "- a", "? a", "@a", "`a`", "!a", "&a", "*a", "{a", "a]", "%a", "|", ">"),
    *("a\nb", "\ta", " a ", "a\rb", "\x1b[31mred", "\u202egpj", "a\u2028b", "\ufeffa", "\x85"),
    *("x" * 254, "", "1 ± 2"),
]


@pytest.fixture
def hostile(monkeypatch):
    """Makes a sweep over a dataset whose domains have these names."""

    def sweep(names, **changes) -> Sweep:
        description = Description(("other", "one more", *names), 2, "", "")
        entry = Entry(description, lambda root, reading: None)
        monkeypatch.setitem(datasets.DATASETS, "Hostile", entry)
        changed = {"dataset": {"name": "Hostile"}, "held_out": list(names), **changes}
        return small_sweep(**changed)

    return sweep


def test_what_stands_in_a_file_without_quotes_is_the_name_that_it_is(tmp_path, hostile):
    sweep = hostile(LOOK_LIKE_OTHERS)
    data = {**PLAYED, "dataset": {"name": "Hostile"}}
    del data["held_out"]
    for written in (", ".join(LOOK_LIKE_OTHERS), ", ".join(map(json.dumps, LOOK_LIKE_OTHERS))):
        path = write_yaml(tmp_path / "sweep.yaml", data)
        path.write_text(path.read_text() + f"held_out: [{written}]\n")
        assert load(path).held_out == tuple(LOOK_LIKE_OTHERS) == sweep.held_out
        assert load(path, [f"held_out=[{written}]"]).held_out == tuple(LOOK_LIKE_OTHERS)


@pytest.mark.parametrize("name", ["012", "1e3", "2024-01-01", "yes", "null", "1_000"])
def test_each_key_that_names_a_thing_takes_it_as_it_is_written(tmp_path, name):
    path = tmp_path / "sweep.yaml"
    given = {key: value for key, value in PLAYED.items() if key != "name"}
    write_yaml(path, given | {"search": {}, "training": {"steps": 90, "evaluate_every": 10}})
    path.write_text(path.read_text() + f"name: {name}\n")
    folder = load(path, [f"search.warm_start=[{name}, {name}/{name}]"])
    assert folder.name == name
    runs = folder.search.warm_start.runs
    assert runs == (str(Path(name).absolute()), str(Path(name, name).absolute()))
    if name != "null":  # there may be none
        there = load(path, ["dataset.name=RotatedMNIST", f"dataset.root={name}"]).dataset.root
        assert there == Path(name).absolute()
        assert load(path, [f"search.warm_start={name}"]).search.warm_start.runs == runs[:1]
    for key, shown in (
        ("model.name", f"model.name is '{name}'"),
        ("dataset.name", f"dataset.name is '{name}'"),
        ("algorithms", f"unknown algorithm '{name}'"),
        ("track", f"track is [{name}]"),
        ("search.space." + name, f"search.space.{name} is no hyperparameter"),
        ("datasets." + name, f"datasets.{name}"),
    ):
        value = f"[{name}]" if key in ("algorithms", "track") else name
        value = "{size: 8}" if key.startswith("datasets.") else value
        one = ["--set", "dataset=null"] if key.startswith("datasets.") else []
        assert shown in refused("launch", path, "--set", f"{key}={value}", *one)


@pytest.mark.parametrize(
    ("written", "steps"),
    [("1e3", 1000), ("1_000", 1000), ("0x100", 256), ("0300", 300), ("+300", 300), ("3.0e2", 300)],
)
def test_numbers_are_numbers_where_numbers_are_asked_for(tmp_path, written, steps):
    path = write_yaml(tmp_path / "sweep.yaml", PLAYED)
    sweep = load(path, [f"training.steps={written}", "search.space.lr=1e-3", "seeds=[07, 8]"])
    assert (sweep.training.steps, sweep.seeds) == (steps, (7, 8))
    assert sweep.search.space["lr"].value == 0.001
    assert load(path, ["training.deterministic=yes"]).training.deterministic is True
    assert load(path, ["search.grace_steps=null"]).search.grace_steps is None


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("training.steps=1:30", "is 1:30; it must be a whole number"),
        ("training.steps=yes", "is yes; it must be a whole number"),
        ("search.hang_seconds=inf", "it must be a finite number"),
        ("search.hang_seconds=.nan", "it must be a finite number"),
        ("search.space.lr=2024-01-01", "lr is a number, not '2024-01-01'"),
        ("training.deterministic=1:30", "is 1:30; it must be true or false"),
        ("training.augmentation=off", "augmentation is off; there are: auto"),
        ("held_out=012", "held_out is 012; it must be all or a list of domains, such as [012]"),
    ],
)
def test_what_is_no_number_or_switch_is_refused_as_it_was_written(tmp_path, override, sentence):
    path = write_yaml(tmp_path / "sweep.yaml", PLAYED)
    assert sentence in refused("launch", path, "--set", override)


NAMES = st.sampled_from(LOOK_LIKE_OTHERS + HOSTILE) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40
)


def _reads_back(sweep: Sweep, path: Path) -> None:
    path.write_text(as_yaml(sweep), encoding="utf-8")
    again = load(path)
    assert again.held_out == sweep.held_out
    assert differences(sweep, again) == []
    assert as_yaml(again) == as_yaml(sweep)
    # As results read it, and as anybody else does.
    plain = yaml_file.read(path)
    assert studies(read_sweep(RunFolder(path.parent))) == studies(again)
    assert plain["held_out"] == yaml.safe_load(path.read_text())["held_out"] == [*sweep.held_out]


def test_a_resolved_sweep_reads_back_as_the_same_sweep(tmp_path, hostile):
    _reads_back(hostile(LOOK_LIKE_OTHERS + HOSTILE), tmp_path / "sweep.yaml")

    @settings(derandomize=True, deadline=None, max_examples=20, database=None)
    @given(st.lists(NAMES, min_size=1, max_size=8, unique=True))
    def any_names(names: list[str]) -> None:
        _reads_back(hostile(names), tmp_path / "sweep.yaml")

    any_names()


def test_status_and_the_live_table_print_names_as_they_are(tmp_path, hostile, capsys):
    names = [name for name in HOSTILE if len(name) < 20]
    folder = RunFolder(tmp_path / "[run]")
    for some in (names[:20], names[20:40], names[40:]):
        sweep = hostile(some, name="x")
        record(sweep, folder)
        print_status(folder.uri)
        text = capsys.readouterr().out
        rows = [StudyProgress("D", "A", name, "0", 1, 0, Counter(), None) for name in some]
        screen = console()
        with screen.capture() as drawn:
            screen.print(progress_table("[title]", rows))
        for whole in (text, drawn.get()):
            cells = [line.split("│ ")[2].strip() for line in whole.splitlines() if "│" in line]
            told = [printable(name).split("|")[0].strip() for name in some]
            assert [cell.split("|")[0].strip() for cell in cells] == told
        assert "[title]" in drawn.get()
        assert f"in {folder.uri}" in text.replace("\n", " ")
        assert "\x1b" not in text


def of_hostile(format_: str) -> str:
    rows = tuple(texts((name, "1.0 ± 0.2")) for name in HOSTILE)
    frame = pd.DataFrame({"held_out": HOSTILE})
    stream = io.StringIO()
    grid = Grid("[t]", ("", HOSTILE[0]), rows, notes=tuple(HOSTILE))
    FORMATS[format_](Document((grid,), {"results": frame}), stream)
    return stream.getvalue()


def test_csv_and_json_give_back_the_very_names():
    rows = csv.DictReader(io.StringIO(of_hostile("csv"), newline=""))
    assert [row["held_out"] for row in rows] == HOSTILE
    assert [row["held_out"] for row in json.loads(of_hostile("json"))["results"]] == HOSTILE


def test_markdown_has_one_cell_for_a_name_and_no_markup_in_it():
    text = of_hostile("markdown")
    assert text.count(" | 1.0 ± 0.2 |\n") == len(HOSTILE)
    cells = [r"a\|b", r"a\\\|b", r"\<b\>x\<br\>", r"\_x\_", "a_b", r"\$x^2\$", r"\&amp;"]
    for cell in (*cells, r"a\\nb", r"\`a\`"):
        assert f"\n| {cell} | 1.0 ± 0.2 |\n" in text


def test_latex_escapes_every_character_that_means_something():
    text = of_hostile("latex")
    assert r"\textasciitilde{}a\#\{\}\textbackslash{} & " in text
    for line in (r"a \& b", r"50\%", r"\$x\textasciicircum{}2\$", r"\_x\_", "-{}-", "'{}'"):
        assert f"{line} & 1.0" in text
    assert r"\textless{}b\textgreater{}x\textless{}br\textgreater{} & " in text
    # After the `\\` of the row before these would be an argument, or a star.
    assert "\n{[}photo] & " in text
    assert "\n{*} & " in text


def test_a_report_and_the_tables_of_a_run_show_names_as_they_are(tmp_path):
    names = ["[red]x[/red]", "<script>alert(1)</script>", "Average", "012", "照片", "var(--ink)"]
    names += ["<b>_%&", "Photo", "photo"]
    data = written_run.sweep(
        dataset={"name": "ImageFolders"}, algorithms=["ERM", "SAM"], held_out=names, seeds=[0]
    )
    data["resources"] = {"cpu": 1, "gpu": 0}
    written_run.write(tmp_path / "run", data, trials=2)
    rows = csv.DictReader(io.StringIO(printed("results", tmp_path / "run", "--format", "csv")))
    told = [name if name != "Average" else "Average (domain)" for name in names]
    assert [row["held_out"] for row in rows][:10] == [*told, "Average"]
    table = printed("results", tmp_path / "run")
    assert all(name in table for name in told)
    printed("report", tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert '"var(--ink) held out' not in page


def test_a_run_of_an_earlier_commit_goes_on_under_its_names(tmp_path, capsys):
    tree(tmp_path / "data", ["Real World", "Art", "c"], ["k", "l"])
    given = {"name": "ImageFolders", "root": str(tmp_path / "data")}
    new = small_sweep(dataset=given, held_out=["Real World", "Art"])
    folder = RunFolder(tmp_path / "run")
    record(new, folder)
    folder.write_bytes(MANIFEST, json.dumps({"datasets": {}, "sessions": []}).encode())
    sweep = sweep_of(folder)
    assert differences(new, sweep) == []
    play(sweep, folder, 4)
    found = results.load(folder.uri)
    names = ["ImageFolders.mlp.SAGM.Real_World.0", "ImageFolders.mlp.SAGM.Art.0"]
    assert found.trials["study"].drop_duplicates().tolist() == sorted(names)
    assert found.unfinished == set(names)
    assert select(found.trials, found.evaluations)["study"].tolist() == sorted(names)
    print_status(folder.uri)
    assert "4 of 8 trials ended" in capsys.readouterr().out
    manifest.record(folder, [])
    assert sweep_of(folder).in_earlier_run
    manifest.record(RunFolder(tmp_path / "new"), [])
    manifest.record(RunFolder(tmp_path / "new"), [])
    assert not manifest.in_earlier_run(RunFolder(tmp_path / "new"))


def test_a_folder_whose_name_is_no_text_is_named(tmp_path):
    tree(tmp_path / "data", ["a", "b", "caf\udce9"], ["k", "l"])
    data = {**PLAYED, "dataset": {"name": "ImageFolders", "root": str(tmp_path / "data")}}
    told = refused("launch", write_yaml(tmp_path / "sweep.yaml", data | {"held_out": ["a"]}))
    assert all(words in told for words in ("dataset.root is", r"'caf\xe9'", "not UTF-8"))


def test_a_run_over_such_domains_is_launched_goes_on_and_is_read(tmp_path):
    names = ["照片", "素描", "[red]x", "012", "<b>_%&", "Photo", "photo"]
    tree(tmp_path / "data", names, ["k", "l"], count=5)
    data = {
        "name": "012",
        "dataset": {"name": "ImageFolders", "root": str(tmp_path / "data"), "size": 8},
        "model": {"name": "mlp"},
        "algorithms": ["ERM"],
        "seeds": [0],
        "training": {"steps": 2, "evaluate_every": 1, "batch_size": 2},
        "search": {"trials": 1, "scheduler": "none"},
    }
    file, run = write_yaml(tmp_path / "sweep.yaml", data), tmp_path / "run"
    with without_ray():  # which sees names in pickles only
        printed("launch", file, "--output", run, "--set", "search.budget.trials=2")
        done = printed("launch", file, "--output", run)
    trials = results.load(run).trials
    assert sorted(trials["held_out"]) == sorted(names)
    assert trials["state"].unique().tolist() == ["completed"]
    assert len(list((run / "trials").iterdir())) == len({s.lower() for s in trials["study"]}) == 7
    for shown in (done, printed("status", run), printed("results", run)):
        assert all(name in shown for name in names)
    for name in ("ERM.照片.0.0", trials["trial"][0]):
        printed("rerun", run, name)
    printed("export", run, "ERM.Photo.0", "--output", tmp_path / "exported")
    row = {name: trials[name][0] for name in ("sweep", "model", "algorithm", "dataset", "seed")}
    row |= {"held_out": "照片", "study": "none-0", "combination": "none-0.greedy"}
    row |= {"method": "greedy", "candidates": ["none-0.0"], "members": [], "reason": "a test"}
    write_combination(RunFolder(run), [row])
    assert "no model of none-0.greedy: a test" in refused("export", run, "ERM.照片.0.greedy")
