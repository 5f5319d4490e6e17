"""The documented files are the ones a run has."""

from pathlib import Path

import pytest

import datasets
from search.tables import evaluations_schema, selection_schema, trials_schema
from search.training_keys import Training
from training import averaging
from training.update import Update

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.mark.parametrize(
    ("heading", "schema"),
    [
        ("## trials", trials_schema({})),
        ("## evaluations", evaluations_schema()),
        ("## selection", selection_schema({})),
    ],
)
def test_every_column_of_a_table_is_documented(heading, schema):
    text = (DOCS / "files.md").read_text()
    shared = text.split("## Study columns")[1].split("\n## ")[0]
    section = text.split(heading)[1].split("\n## ")[0]
    missing = [name for name in schema.names if f"`{name}`" not in section + shared]
    assert not missing


def test_every_slot_of_an_update_is_documented():
    text = (DOCS / "adding-an-algorithm.md").read_text()
    assert not [name for name in Update.__dataclass_fields__ if f"| `{name}`" not in text]


def test_every_key_of_the_training_and_every_averagings_number_is_documented():
    text = (DOCS / "training.md").read_text()
    names = [*Training.model_fields, *averaging.AVERAGINGS]
    names += [number for name in averaging.AVERAGINGS for number in averaging.hyperparameters(name)]
    assert not [name for name in names if f"`{name}`" not in text]


def test_every_dataset_and_every_kind_of_finding_is_documented():
    text = (DOCS / "datasets.md").read_text()
    assert not [kind for kind in datasets.KINDS if f"| `{kind}` |" not in text]
    assert not [name for name in datasets.DATASETS if name not in text]
