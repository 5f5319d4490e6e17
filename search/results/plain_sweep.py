"""What the sweep.yaml of a run says, as it stands there.

`launch` checked it and left nothing implicit, so reading results needs neither the datasets nor
torch, which checking it again would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from search import yaml_file
from search.errors import SteppeError
from search.results.selection_rules import RULES
from search.run.manifest import in_earlier_run
from search.run.run_folder import SWEEP, RunFolder
from search.study.study import Study

Sweep = Mapping[str, Any]

EARLIER = "in_earlier_run"  # no key of the file: see Study


def read(folder: RunFolder) -> Sweep:
    """The sweep of a run folder. Raises SteppeError for a file that `launch` did not write."""
    source = folder.path(SWEEP)
    data = yaml_file.parse(folder.read_bytes(SWEEP), source)
    data[EARLIER] = in_earlier_run(folder)
    try:
        asked_studies(data)
        named = (data.get("search") or {}).get("objective", [])
        for objective in [named] if isinstance(named, str) else named:
            RULES[objective]  # they have the names of selection rules
    except (KeyError, TypeError, AttributeError) as error:
        raise SteppeError(
            f"{source} is not a sweep as `launch` writes it ({type(error).__name__}: {error}); "
            "put a copy back"
        ) from None
    return data


def asked_studies(sweep: Sweep) -> list[dict[str, Any]]:
    """The study columns of all tables, a mapping for each study of a sweep.

    None for a dataset whose held-out domains are not written out.
    """
    earlier = bool(sweep.get(EARLIER))
    studies = [
        Study(dataset, sweep["model"]["name"], algorithm, str(domain), seed, earlier)
        for dataset, held_out in _held_out(sweep)
        for algorithm in sweep["algorithms"]
        for domain in (held_out if held_out != "all" else ())
        for seed in sweep["seeds"]
    ]
    return [{"sweep": sweep["name"], "study": study.id, **study.columns} for study in studies]


def differences(sweeps: Mapping[str, Sweep], dataset: str) -> list[str]:
    """How runs over one dataset were trained differently: `training.steps: 300 in a, 5000 in b`."""
    leaves = {
        run: keys_of_dataset(sweep, dataset)
        for run, sweep in sweeps.items()
        if any(name == dataset for name, _ in _held_out(sweep))
    }
    found = []
    for key in dict.fromkeys(key for values in leaves.values() for key in values):
        # A key that a run lacks is younger than the run.
        values = {run: own[key] for run, own in leaves.items() if key in own}
        if len({repr(value) for value in values.values()}) > 1:
            found.append(f"{key}: {', '.join(f'{v} in {run}' for run, v in values.items())}")
    return found


def keys_of_dataset(sweep: Sweep, dataset: str) -> dict[str, Any]:
    """What a sweep says of the model and the training on a dataset, by `training.steps` etc."""
    training = {**(sweep.get("training") or {}), **_own(sweep, dataset)}
    return {**_keys("model", sweep["model"]), **_keys("training", training)}


def _held_out(sweep: Sweep) -> Iterator[tuple[str, Any]]:
    """Each dataset and its held-out domains."""
    if not sweep.get("datasets"):
        yield sweep["dataset"]["name"], sweep["held_out"]
        return
    for name, given in sweep["datasets"].items():
        yield name, (given or {}).get("held_out") or sweep["held_out"]


def _own(sweep: Sweep, dataset: str) -> Mapping[str, Any]:
    """The keys of `training` that a dataset has for itself."""
    given = (sweep.get("datasets") or {}).get(dataset) or {}
    return given.get("training") or {}


def _keys(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{section}.{name}": value for name, value in values.items()}
