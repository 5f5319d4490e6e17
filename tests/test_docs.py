"""The documented files are the ones a run has."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import yaml

import datasets
import models
from models import tuning
from search.reproduce import predictions
from search.results.selection_rules import RULES
from search.run.columns import (
    correct_schema,
    evaluations_schema,
    selection_schema,
    trials_schema,
)
from search.space.ranges import KINDS
from search.sweep.schema import DatasetOverrides, Model, Resources
from search.sweep.search_keys import TRACKERS, Budget, Search, StudyBudget
from search.sweep.training_keys import Training
from training import averaging
from training.update import Update

DOCS = Path(__file__).resolve().parent.parent / "docs"
PROJECT = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


@pytest.mark.parametrize(
    ("heading", "schema"),
    [
        ("## trials", trials_schema({})),
        ("## evaluations", evaluations_schema()),
        ("## correct", correct_schema()),
        ("## selection", selection_schema({})),
        ("## predictions", predictions.SCHEMA),
    ],
)
def test_every_column_of_a_table_is_documented(heading, schema):
    text = (DOCS / "files.md").read_text()
    shared = text.split("## Study columns")[1].split("\n## ")[0]
    section = text.split(heading)[1].split("\n## ")[0]
    missing = [name for name in schema.names if f"`{name}`" not in section + shared]
    assert not missing


def test_every_rule_of_selection_is_documented():
    text = (DOCS / "files.md").read_text().split("## selection")[1]
    assert not [rule for rule in RULES if f"| `{rule}` |" not in text]


AVERAGES = [number for name in averaging.AVERAGINGS for number in averaging.hyperparameters(name)]
NUMBERS_OF_TUNINGS = [number for how in tuning.TUNINGS.values() for number in how]


@pytest.mark.parametrize(
    ("page", "names", "written"),
    [
        ("adding-an-algorithm", Update.__dataclass_fields__, "| `{}`"),
        ("training", [*Training.model_fields, *averaging.AVERAGINGS, *AVERAGES], "`{}`"),
        ("budgets", Budget.model_fields, "`budget.{}`"),
        ("budgets", StudyBudget.model_fields, "`study_budget.{}`"),
        ("search", KINDS, "`{{{}: ["),
        ("datasets", DatasetOverrides.model_fields, "`{}`"),
        ("datasets", datasets.KINDS, "| `{}` |"),
        ("datasets", datasets.DATASETS, "{}"),
        ("models", [*Model.model_fields, *models.MODELS], "`{}`"),
        ("models", models.FAMILIES, "`{}/NAME`"),
        ("models", [*tuning.TUNINGS, *NUMBERS_OF_TUNINGS], "`{}`"),
        ("models", [family.extra for family in models.FAMILIES.values()], "pip install '.[{}]'"),
    ],
)
def test_every_name_is_documented(page, names, written):
    text = (DOCS / f"{page}.md").read_text()
    assert names
    assert not [name for name in names if written.format(name) not in text]


def test_every_key_of_the_search_and_of_resources_is_documented_with_its_default():
    lines = (DOCS / "search.md").read_text().splitlines()
    for section in (Search, Resources):
        for name, field in section.model_fields.items():
            (line,) = (line for line in lines if line.startswith(f"| `{name}` |"))
            default = line.split("|")[2].strip()
            if isinstance(field.default, int | float | str):
                assert default == str(field.default).lower().removesuffix(".0")
            choices = [c for c in get_args(field.annotation) if isinstance(c, str)]
            assert not [choice for choice in choices if choice not in line]


def test_the_examples_of_models_are_models():
    examples = re.findall(r"^    model: ({.*})", (DOCS / "models.md").read_text(), re.MULTILINE)
    assert examples
    for example in map(yaml.safe_load, examples):
        if ".pth" not in example["weights"]:  # a user's own
            models.weights_file(example["name"], example["weights"])
        tuning.check(models.outline(example["name"]), example.get("tuning", "full"))


def test_every_tracker_is_documented_with_its_extra():
    text = (DOCS / "trackers.md").read_text()
    assert not [name for name in TRACKERS if f"| `{name}` | " not in text]
    for name in TRACKERS:
        assert f"pip install '.[{name}]'" in text
        assert name in EXTRAS


def test_every_extra_is_in_that_of_the_tests():
    for family in models.FAMILIES.values():
        assert set(EXTRAS[family.extra]) <= set(EXTRAS["test"])
