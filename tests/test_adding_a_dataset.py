"""The loader of docs/adding-a-dataset.md, as it stands, is a dataset that trains."""

import re
from pathlib import Path

import pytest

import datasets
from datasets.entry import Entry
from training.run import Run
from training.train import train

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "adding-a-dataset.md").read_text()


@pytest.fixture
def stripes(monkeypatch):
    """The page's module, with its line in the registry."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    module: dict[str, object] = {}
    exec(compile(block, "docs/adding-a-dataset.md", "exec"), module)
    line = re.search(
        r'^    "Stripes": Entry\(stripes\.(\w+), lambda .*stripes\.(\w+)\(\)\)', PAGE, re.M
    )
    assert line
    description, load = (module[name] for name in line.groups())
    entry = Entry(description, lambda root, reading: load())
    monkeypatch.setitem(datasets.DATASETS, "Stripes", entry)


def test_it_is_described_and_trains(stripes):
    dataset = datasets.load("Stripes")
    assert tuple(domain.name for domain in dataset.domains) == datasets.describe("Stripes").domains
    values = {"lr": 1e-2, "weight_decay": 0, "dropout": 0, "batch_size": 16, "rho": 0.05}
    run = Run("Stripes", None, "mlp", "SAM", "light", 0, 60, 20, values)
    result = train(run, dataset, lambda evaluation: None)
    assert result.validation == 1
