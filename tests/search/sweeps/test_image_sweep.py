"""Sweeps on folders of real JPEG files, laid out as the five benchmarks are."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import datasets
from datasets.benchmarks import BENCHMARKS
from search import yaml_file
from search.checks.load_sweep import load
from search.study.study import studies
from search.sweep.per_dataset import by_dataset
from tests.datasets.photos import jpeg, numbered, tree
from tests.search.command import CHECKOUT, printed, refused, write_yaml
from tests.search.play import without_ray

SIZE = 16
# A file for each class is enough where there are many.
COUNTS = {"PACS": 4, "VLCS": 5, "OfficeHome": 1, "TerraIncognita": 3, "DomainNet": 1}
HELD_OUT = {
    "PACS": "sketch",
    "VLCS": "SUN09",
    "OfficeHome": "Real World",
    "TerraIncognita": "location_100",
    "DomainNet": "quickdraw",
}
CONFIGS = CHECKOUT / "configs"
MAIN = yaml_file.read(CONFIGS / "main-table.yaml")


def build(root: Path) -> None:
    """The five benchmarks in little, below one root."""
    for name, benchmark in BENCHMARKS.items():
        classes = numbered(benchmark.classes)
        tree(root / benchmark.folder, benchmark.domains, classes, COUNTS[name])


def in_little(root: Path) -> dict[str, Any]:
    """The main table's sweep, with one held-out domain, one seed, one trial and a few steps."""
    data = copy.deepcopy(MAIN)
    for name, given in data["datasets"].items():
        little = {"size": SIZE, "allow": ["counts"], "held_out": [HELD_OUT[name]]}
        data["datasets"][name] = given | little | {"root": str(root)}
    data["datasets"]["VLCS"]["training"] = {"batch_size": 2}
    data["datasets"]["DomainNet"]["training"] = {"steps": 6, "evaluate_every": 2}
    return data | {
        "name": "benchmarks",
        "model": {"name": "cnn"},
        "seeds": [0],
        "training": {"steps": 3, "evaluate_every": 1, "batch_size": 1},
        "search": {
            "trials": 1,
            "scheduler": "none",
            "space": {"swad_converge": 3, "GGA": {"start": 0, "length": 1, "search_steps": 2}},
        },
        "resources": {"cpu": 1},
    }


@dataclass
class Ran:
    root: Path
    folder: Path
    prepared: str
    refused: str
    printed: str

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / name)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """PACS is prepared; VLCS has an image cut short, which is refused and then allowed, as are
    OfficeHome's few images.
    """
    place = tmp_path_factory.mktemp("images")
    root = place / "data"
    build(root)
    broken = root / "VLCS" / "SUN09" / "class_001" / "pic_000.jpg"
    broken.write_bytes(jpeg(1, 60, 40)[:-300])
    prepared = printed("prepare", "PACS", root, "--size", SIZE, "--allow", "counts")
    data = in_little(root)
    data["datasets"]["OfficeHome"]["allow"] = []
    file = write_yaml(place / "sweep.yaml", data)
    told = refused("launch", file, "--output", place / "run")
    data["datasets"]["OfficeHome"]["allow"] = ["counts"]
    data["datasets"]["VLCS"]["allow"] = ["counts", "truncated"]
    write_yaml(file, data)
    with without_ray():
        done = printed("launch", file, "--output", place / "run")
    return Ran(root, place / "run", prepared, told, done)


def test_a_benchmark_is_prepared_in_its_own_layout(ran: Ran) -> None:
    assert "112 images, 7 classes, 3 x 16 x 16" in ran.prepared


def test_what_is_wrong_with_each_dataset_is_named_before_anything_starts(ran: Ran) -> None:
    (line,) = (line for line in ran.refused.splitlines() if "pic_000" in line)
    assert "truncated (1): SUN09/class_001/pic_000.jpg" in line
    assert "allow: [counts, truncated]" in ran.refused
    assert "OfficeHome in" in ran.refused
    assert "Art has 65 images, 2,427 are published" in ran.refused


def test_what_is_allowed_is_launched_and_every_study_has_its_trial(ran: Ran) -> None:
    trials = ran.table("trials")
    assert trials["state"].unique().tolist() == ["completed"]
    found = set(zip(trials["dataset"], trials["algorithm"], trials["held_out"], strict=True))
    assert found == {(d, a, HELD_OUT[d]) for d in BENCHMARKS for a in MAIN["algorithms"]}
    assert set(trials["study"]) == {s.id for s in studies(load(ran.folder / "sweep.yaml"))}


def test_a_dataset_trains_as_long_as_its_own_keys_say(ran: Ran) -> None:
    steps = ran.table("trials").query("algorithm != 'SWAD'").groupby("dataset")["steps"]
    assert steps.agg(["min", "max"]).T.to_dict("list") == {
        **{name: [3, 3] for name in BENCHMARKS},
        "DomainNet": [6, 6],
    }


def test_every_trial_starts_from_what_is_published_for_its_dataset(ran: Ran) -> None:
    trials = ran.table("trials").set_index(["dataset", "algorithm"])
    for dataset, alpha in (("PACS", 1e-3), ("OfficeHome", 5e-4), ("DomainNet", 5e-4)):
        assert trials.loc[(dataset, "DISAM+SAGM"), "hp_alpha"] == alpha
    assert trials.loc[("TerraIncognita", "DISAM+SAGM"), "hp_lambda"] == 0.2
    assert trials.loc[("VLCS", "SWAD"), "hp_swad_ratio"] == 0.2
    assert trials.loc[("PACS", "SWAD"), "hp_swad_ratio"] == 0.3


def test_only_the_rows_named_swad_are_averages(ran: Ran) -> None:
    evaluations = ran.table("evaluations")
    averaged = set(evaluations[evaluations["weights"] == "average"]["study"])
    assert averaged == {f"{d}.cnn.SWAD.{HELD_OUT[d].replace(' ', '_')}.0" for d in BENCHMARKS}
    trials = ran.table("trials")
    assert trials["hp_swad_ratio"].notna().tolist() == (trials["algorithm"] == "SWAD").tolist()


def test_the_table_has_a_part_for_each_benchmark_and_one_of_all(ran: Ran) -> None:
    for name in BENCHMARKS:
        assert f"{name}, cnn, training-domain selection" in ran.printed
    overview = ran.printed.split("By dataset, cnn, training-domain selection")[1]
    heads = [cell.strip() for cell in overview.splitlines()[2].split("┃")]
    assert heads[2:-1] == [*MAIN["datasets"], "Average"]
    rows = [line.split("│")[1].strip() for line in overview.splitlines()[4:12]]
    assert rows == MAIN["algorithms"]
    status = printed("status", ran.folder)
    assert all(words in status for words in ("40 of 40 trials ended", "dataset", "TerraIncognita"))


def test_the_manifest_has_the_images_and_what_was_allowed(ran: Ran) -> None:
    manifest = json.loads((ran.folder / "manifest.json").read_text())
    assert list(manifest["datasets"]) == list(MAIN["datasets"])
    notes = manifest["sessions"][0]["notes"]
    assert any("truncated (1)" in note for note in notes["VLCS"])
    assert not any("truncated" in note for note in notes["PACS"])


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_benchmarks_own_config_finds_its_images(ran: Ran, name: str) -> None:
    allowed = "allow=[counts,truncated]"
    changes = [f"dataset.{given}" for given in (f"root={ran.root}", f"size={SIZE}", allowed)]
    changes += ["model.name=cnn", "model.weights=null", "training.bn=auto"]  # takes so small images
    sweep = load(CONFIGS / f"{name.lower()}.yaml", changes)
    given = by_dataset(sweep)[name].dataset
    assert given.originals == 512
    dataset = datasets.load(name, given.root, given.size, given.allow, originals=given.originals)
    assert {study.held_out for study in studies(sweep)} == {d.name for d in dataset.domains}
    fingerprint = json.loads((ran.folder / "manifest.json").read_text())["datasets"][name]
    assert dataset.fingerprint == fingerprint


def test_another_sweep_than_its_own_file_has_is_refused_for_all_that_is_another(ran: Ran) -> None:
    own = ("launch", ran.folder / "sweep.yaml", "--output", ran.folder)
    other = refused(*own, "--set", "datasets.DomainNet.training.steps=9")
    assert "datasets.DomainNet.training.steps: 9 here, 6 in the run" in other
    assert other.count(" in the run") == 1
