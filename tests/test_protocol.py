"""The sweeps of docs/protocol.md are sweeps, and say what the page says."""

import re
from pathlib import Path

import pytest

from search.checks.load_sweep import load
from search.checks.notes import unpublished
from search.results.selection import METHODS

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "protocol.md").read_text()


@pytest.fixture
def sweeps(tmp_path):
    found = []
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)):
        (tmp_path / f"{number}.yaml").write_text(block)
        found.append(load(tmp_path / f"{number}.yaml", []))
    return found


def test_they_load(sweeps):
    domainbed, digits, swad = sweeps
    assert (domainbed.search.sampler, domainbed.search.scheduler) == ("random", "none")
    assert (domainbed.model.name, domainbed.training.bn) == ("resnet50", "frozen")
    assert unpublished(digits) == []  # DomainBed's network and ranges, on its dataset
    assert (swad.search.sampler, swad.training.bn) == ("grid", "frozen")


def test_every_method_that_the_page_names_is_one():
    section = PAGE.split("## Choosing")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    assert named == {method for method in METHODS if not method.endswith("-per-dataset")}
