"""A sweep that is right, and what is said of it when something is changed.

Changes are those of the file's keys, and of keys in sections by their whole name: `search.trials`.
"""

from copy import deepcopy
from typing import Any

import pytest

from search.checks.load_sweep import checked
from search.errors import SteppeError
from search.sweep.schema import Sweep

SWEEP = {
    "name": "small",
    "dataset": {"name": "RotatedDigits"},
    "model": {"name": "cnn"},
    "algorithms": ["ERM", "SAM", "SAGM", "DISAM"],
}


def accepted(**changes: object) -> Sweep:
    data: dict[str, Any] = deepcopy(SWEEP)
    for key, value in changes.items():
        *sections, name = key.split(".")
        place = data
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return checked(data, "sweep.yaml")


def problems(**changes: object) -> list[str]:
    with pytest.raises(SteppeError) as error:
        accepted(**changes)
    lines = str(error.value).splitlines()
    assert all(line.startswith("sweep.yaml: ") for line in lines)
    return [line.removeprefix("sweep.yaml: ") for line in lines]


def the_problem(**changes: object) -> str:
    (line,) = problems(**changes)
    return line


def space(**entries: object) -> dict[str, object]:
    return {"space": entries}
