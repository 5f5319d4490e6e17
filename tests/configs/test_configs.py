"""Every file in configs/ is an example that a user can launch."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

import models
from datasets.benchmarks import BENCHMARKS
from datasets.further_benchmarks import FURTHER
from search.checks.load_sweep import load
from search.driver import planning, preparing
from search.report.bill_document import lines
from search.run.run_folder import RunFolder
from search.space.algorithm_names import parts
from search.study.plan import plans
from search.study.resolved_sweep import as_yaml, differences
from search.study.study import studies
from search.sweep.per_dataset import by_dataset
from tests.models import tiny_clip
from tests.models.checkpoint_layouts import BARE, LAYOUTS
from tests.models.tiny_models import SHAPE, same, saved
from tests.search.play import first_settings, without_timing
from tests.training.photographs import photographs
from training.algorithms import OF_TEXTS, PARTS
from training.train import train

FOLDER = Path(__file__).parents[2] / "configs"
FILES = sorted(FOLDER.glob("*.yaml"))
OF_BENCHMARKS = {name.lower(): name for name in BENCHMARKS}
MAIN = ("ERM", "SAM", "GSAM", "SAGM", "DISAM", "DISAM+SAGM", "GGA", "SWAD")

# What papers and released codes used, where it differs from benchmark to benchmark.
LR = {"PACS": 3e-5, "VLCS": 1e-5, "OfficeHome": 1e-5, "TerraIncognita": 1e-5, "DomainNet": 3e-5}
ALPHA = {**dict.fromkeys(BENCHMARKS, 1e-3), "OfficeHome": 5e-4, "DomainNet": 5e-4}
NEIGHBORHOOD = {**dict.fromkeys(BENCHMARKS, 1e-5), "VLCS": 1e-6}
WEIGHT_DECAY = {**dict.fromkeys(BENCHMARKS, 1e-4), "DomainNet": 1e-6}
RATIO = {**dict.fromkeys(BENCHMARKS, 0.3), "VLCS": 0.2}

# The least network of the same kind: its name, and images of few patches.
LEAST = {
    "dinov2": ("timm/vit_small_patch14_dinov2", 28),
    "dinov3": ("timm/vit_tiny_patch16_dinov3_qkvb", 32),
    "clip": (tiny_clip.NAME, 32),
    "swag": ("timm/regnety_002", 32),
    "resnet50-pretrainings": ("timm/resnet18", 32),
}
IMAGENET = (0.485, 0.456, 0.406)
PRETRAININGS = FOLDER / "resnet50-pretrainings.yaml"


@cache
def loaded(name):
    return load(FOLDER / f"{name}.yaml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_says_how_to_launch_it_and_loads_as_its_resolved_form_does(path, tmp_path):
    sweep, text = loaded(path.stem), path.read_text()
    assert f"python -m search launch configs/{path.name}" in text
    assert sweep.name == path.stem
    assert studies(sweep)
    said = re.search(r"(\d+) studies", text)
    assert said is None or int(said[1]) == len(studies(sweep))
    alike = {(plan.study.dataset, plan.study.algorithm): plan for plan in plans(sweep).values()}
    for (_, algorithm), plan in alike.items():
        tries = algorithm in sweep.trained and sweep.search.sampler != "grid"
        assert bool(plan.first_settings()) == tries
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(as_yaml(sweep))
    again = load(resolved)
    assert studies(again) == studies(sweep)
    assert differences(again, sweep) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_has_a_bill_without_its_images(path, tmp_path):
    with without_timing(), patch.object(preparing, "try_model", lambda model, found: None):
        sweep = load(path, ["search.trials=2"])
        found = planning.plan_sweep(sweep, RunFolder(tmp_path / "run"), "sweep.yaml")
    assert found.ended == 0
    for (_, algorithm), cost in found.left_by_method().items():
        assert cost.trials >= 1
        assert cost.seconds > 0
        # Steps of a linear probe have no backward pass.
        assert cost.passes > cost.steps / 3 if "ERM++" in algorithm else cost.passes >= cost.steps
    assert list(lines(found))
    assert not (tmp_path / "run").exists()


def test_the_family_has_every_part():
    algorithms = loaded("digits-family").algorithms
    # Digits begin from random weights, and these need texts or weights to stay close to.
    there = set(PARTS) - {*OF_TEXTS, "MIRO"}
    assert {part for name in algorithms for part in parts(name)} == there


@pytest.mark.parametrize("name", OF_BENCHMARKS)
def test_each_benchmark_has_the_fields_protocol(name):
    sweep = loaded(name)
    domains = len(BENCHMARKS[OF_BENCHMARKS[name]].domains)
    assert sweep.algorithms == MAIN
    assert len(studies(sweep)) == len(MAIN) * domains * 3
    assert (sweep.model.name, sweep.model.weights) == ("resnet50", "imagenet")
    training = sweep.training
    assert training.steps == (15000 if name == "domainnet" else 5000)
    assert (training.batch_size, training.optimizer, training.bn) == (32, "adam", "frozen")


def test_the_further_benchmarks_have_configs():
    spawrious, others = map(loaded, ("spawrious", "further-benchmarks"))
    assert {*spawrious.datasets, *others.datasets} == {*FURTHER}
    assert {study.held_out for study in studies(spawrious)} == {"Test"}


def test_the_main_table_is_all_five_of_them():
    sweep = loaded("main-table")
    of_all = by_dataset(sweep)
    assert set(of_all) == set(BENCHMARKS)
    assert next(iter(of_all)) == "DomainNet"  # the longest runs are not left to the end
    assert sum(plan.trials for plan in plans(sweep).values()) == 10_560
    for name, one in of_all.items():
        alone = loaded(name.lower())
        assert one.training == alone.training
        assert one.algorithms == alone.algorithms
        assert (one.search, one.model) == (alone.search, alone.model)


def test_the_reviewers_table_has_its_rows_on_all_five_benchmarks():
    rows = {
        "reviewer-table": {"ERM", "ERM++", "MIRO", "SWAD", "GGA", "DISAM+SAGM", "MIRO+SAGM+SWAD"},
        "reviewer-table-clip": {"zero-shot", "ERM", "MMS+BMA"},
    }
    for name, algorithms in rows.items():
        sweep = loaded(name)
        assert algorithms <= set(sweep.algorithms)
        assert set(by_dataset(sweep)) == set(BENCHMARKS)
        assert {"uniform", "greedy"} <= set(sweep.search.combine)


@pytest.mark.parametrize("dataset", BENCHMARKS)
def test_first_trials_are_the_published_settings_of_each_benchmark(dataset):
    one = by_dataset(loaded("main-table"))[dataset]
    first = {algorithm: first_settings(one, algorithm)[0] for algorithm in MAIN}
    for algorithm in ("SAGM", "DISAM", "DISAM+SAGM", "GGA"):
        setting = first[algorithm]
        assert (setting["lr"], setting["dropout"]) == (LR[dataset], 0.5), algorithm
        assert setting["weight_decay"] == WEIGHT_DECAY[dataset], algorithm
    for algorithm in ("ERM", "SAM", "GSAM", "SWAD"):
        # A weight decay of 0 has no place in a logarithmic range: its low end stands for it.
        assert (first[algorithm]["lr"], first[algorithm]["dropout"]) == (5e-5, 0)
        assert first[algorithm]["weight_decay"] == 1e-6
    assert first["SAGM"]["alpha"] == first["DISAM+SAGM"]["alpha"] == ALPHA[dataset]
    assert first["SAGM"]["rho"] == first["SAM"]["rho"] == first["GSAM"]["rho"] == 0.05
    terra = dataset == "TerraIncognita"
    assert (first["DISAM"]["rho"], first["DISAM"]["lambda"]) == (
        (0.01, 0.2) if terra else (0.05, 0.1)
    )
    assert first["GGA"]["neighborhood"] == NEIGHBORHOOD[dataset]
    assert (first["GGA"]["start"], first["GGA"]["length"]) == (100, 100)
    assert first["GGA"]["search_steps"] == 250
    assert first["SWAD"]["swad_ratio"] == RATIO[dataset]
    assert (first["SWAD"]["swad_converge"], first["SWAD"]["swad_tolerance"]) == (3, 6)


@pytest.mark.parametrize("name", LEAST)
def test_each_is_normalised_as_its_weights_want(name):
    model = loaded(name).model
    mean = (0.48145466, 0.4578275, 0.40821073) if name == "clip" else IMAGENET
    assert models.colours(model.name, model.weights).mean == mean


@pytest.mark.parametrize("name", LEAST)
def test_a_run_of_each_with_the_least_network_of_its_kind(name, tmp_path, monkeypatch):
    monkeypatch.setenv("STEPPE_CACHE", str(tmp_path / "cache"))
    sweep = loaded(name)
    least, side = LEAST[name]
    found = photographs()
    domains = [
        replace(domain, images=np.ascontiguousarray(domain.images[:, :side, :side]))
        for domain in found.domains
    ]
    last = next(
        plan for plan in plans(sweep).values() if plan.study.algorithm == sweep.algorithms[-1]
    )
    values = {**first_settings(sweep, sweep.algorithms[-1])[0], "batch_size": 2}
    run = replace(
        last.trial(0, values).run,
        dataset=found.name,
        held_out="art",
        model=least,
        weights=str(tiny_clip.write(tmp_path)) if name == "clip" else None,
        steps=1,
        evaluate_every=1,
        device="cpu",
    )

    result = train(run, replace(found, domains=tuple(domains)), lambda _: None)

    assert (result.state, result.steps) == ("completed", 1)


def test_released_files_of_augmix_and_moco_are_taken_whole(tmp_path):
    """A ResNet-18 stands in for the ResNet-50: the names of its tensors begin alike."""
    files = re.findall(r"--set model\.weights=~/weights/(\S+)", PRETRAININGS.read_text())
    layouts = ("PyTorch's ImageNet example", "MoCo v2", "MoCo v3")  # the first is AugMix's too
    for file, layout in zip(files, layouts, strict=True):
        weights = saved(LAYOUTS[layout][0], tmp_path / file)
        sweep = load(PRETRAININGS, ["model.name=resnet18", f"model.weights={weights}"])
        built = models.build(sweep.model.name, 7, SHAPE, weights=sweep.model.weights)
        assert same(built.featurizer[0].state_dict(), BARE)
