"""A sweep that is right, and what is said of it when something is changed."""

import pytest

from search.checks.load_sweep import checked
from search.errors import SteppeError

SWEEP = {
    "name": "small",
    "dataset": {"name": "RotatedDigits"},
    "model": {"name": "cnn"},
    "algorithms": ["ERM", "SAM", "SAGM", "DISAM"],
}


def problems(**changes: object) -> list[str]:
    with pytest.raises(SteppeError) as error:
        checked({**SWEEP, **changes}, "sweep.yaml")
    lines = str(error.value).splitlines()
    assert all(line.startswith("sweep.yaml: ") for line in lines)
    return [line.removeprefix("sweep.yaml: ") for line in lines]


def the_problem(**changes: object) -> str:
    (line,) = problems(**changes)
    return line


def space(**entries: object) -> dict[str, object]:
    return {"space": entries}
