"""Every file in configs/ is an example that a user can launch."""

from pathlib import Path

import pytest

from search.load_config import load
from search.resolved_config import as_yaml
from search.studies import studies
from search.study_space import first_settings
from training.algorithms import PARTS, parse

FOLDER = Path(__file__).parents[2] / "configs"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_loads_and_its_resolved_form_loads_too(path, tmp_path):
    sweep = load(path)
    assert sweep.name == path.stem
    assert studies(sweep)
    assert all(first_settings(sweep, algorithm) for algorithm in sweep.algorithms)
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(as_yaml(sweep))
    assert studies(load(resolved)) == studies(sweep)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_says_how_to_launch_it(path):
    assert f"python -m search launch configs/{path.name}" in path.read_text()


def test_the_family_has_every_part():
    algorithms = load(FOLDER / "digits-family.yaml").algorithms
    assert {part for name in algorithms for part in parse(name)} == set(PARTS)
