"""Loads a sweep file, or the sweep of a run, and checks it."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

import models
from datasets import DATASETS
from search import yaml_file
from search.checks.check_sweep import check
from search.checks.schema_messages import problems_of
from search.errors import SteppeError
from search.run.manifest import in_earlier_run, searches_as_before
from search.run.run_folder import SWEEP, RunFolder
from search.sweep import config_errors
from search.sweep.fields import RECORDED
from search.sweep.per_dataset import with_originals_of_its_time
from search.sweep.schema import Sweep

# What has to be there besides the file: images, the file of weights and the library of the model;
# the library alone; or nothing, for what only reads.
Needed = Literal["images", "model", "nothing"]


def load(path: Path | str, overrides: Sequence[str] = (), output: str | None = None) -> Sweep:
    """The sweep of a file, with values replaced by `overrides` such as `search.trials=8`.

    output: its run's folder, `runs/NAME` if None. A run of an earlier commit may be asked for more
    with the keys that it recorded, though a new sweep would be refused. Raises SteppeError with a
    line for each problem.
    """
    data = yaml_file.read(Path(path), yaml_file.UnquotedLoader)
    keys = [_override(data, override) for override in overrides]
    try:
        return checked(data, str(path), keys)
    except SteppeError as refused:
        try:
            folder = RunFolder(output or Path("runs") / str(data.get("name")))
            there = folder.without_retries().exists(SWEEP)
        except (SteppeError, OSError):  # a name that no folder can have, a store that is away
            there = False
        if not there:
            raise refused from None
        sweep = checked(data, str(path), keys, recorded=True)
        known = check(sweep_of(folder, needed="model"))
        if new := [problem for problem in check(sweep) if problem not in known]:
            raise config_errors.config_error(str(path), new, keys) from None
        return sweep


def checked(
    data: Mapping[str, Any],
    source: str,
    overridden: Collection[config_errors.KeyPath] = (),
    needed: Needed = "images",
    recorded: bool = False,
) -> Sweep:
    """The sweep of a parsed file called `source`; `overridden` keys came from the command line.

    needed: what has to be there. recorded: whether it is that of a run, in which keys without
    effect and wider bounds were accepted. Raises SteppeError with a line for each problem.
    """
    data = {key: _nothing(value, key) for key, value in data.items()}
    found = _one_or_several(data)
    context = RECORDED if recorded else None
    try:
        sweep = Sweep.model_validate(data, context=context)
    except ValidationError as error:
        found += problems_of(error)
    if found:
        found += _check_the_rest(data, [problem.path for problem in found], context)
    else:
        found = check(sweep, idle_keys=not recorded, model=needed != "nothing")
        elsewhere = () if needed == "images" else ("root", "weights")
        found = [problem for problem in found if problem.path[-1] not in elsewhere]
    if found:
        order = [*Sweep.model_fields]
        found.sort(key=lambda p: order.index(str(p.path[0])) if p.path[0] in order else -1)
        raise config_errors.config_error(source, found, overridden)
    return sweep


def sweep_of(
    folder: RunFolder, roots: Mapping[str, Path | None] | None = None, needed: Needed = "images"
) -> Sweep:
    """The sweep that a run was launched with.

    roots: where the images of some of its datasets lie now, instead of where they lay. needed: what
    has to be there. Raises SteppeError if it cannot be read.
    """
    source = folder.path(SWEEP)
    data = with_originals_of_its_time(_data(folder))
    for name, given in _datasets(data).items():
        if roots and name in roots:
            given["root"] = roots[name]
    if needed == "images":
        _check_weights_there(folder, data)
    return as_in(folder, checked(data, source, needed=needed, recorded=True))


def _check_weights_there(folder: RunFolder, data: Mapping[str, Any]) -> None:
    model = data.get("model")
    name, weights = (model.get("name"), model.get("weights")) if isinstance(model, dict) else (0, 0)
    if isinstance(name, str) and isinstance(weights, str):
        try:
            models.weights_file(name, weights)
        except FileNotFoundError as error:
            raise SteppeError(
                f"{folder.path(SWEEP)}: model.weights is {weights}: {error}; put it back, or "
                "launch the sweep file with model.weights where it lies now and --output "
                f"{folder.uri}"
            ) from None
        except (ValueError, ModuleNotFoundError):
            pass  # `checked` reports it


def recorded_roots(folder: RunFolder) -> dict[str, str | None]:
    """Where the images of each dataset of a run lay, as its sweep.yaml says."""
    return {
        name: _nothing(given.get("root"), "root")
        for name, given in _datasets(_data(folder)).items()
    }


def roots_of(folder: RunFolder, root: Path | None) -> dict[str, Path | None]:
    """For `sweep_of`: where the images of a run lie, which have moved to `root` if one is given.

    Raises SteppeError if they are not there, or if no dataset of the run has a root.
    """
    in_folders = {name for name, entry in DATASETS.items() if entry.needs_root}
    found = {name: lay for name, lay in recorded_roots(folder).items() if name in in_folders}
    if root is not None and not found:
        raise SteppeError(
            f"--root {root} has no effect, as no dataset of {folder.uri} lies in a folder; leave "
            "it out"
        )
    for name, lay in found.items():
        if root is None and lay is not None and not Path(lay).exists():
            raise SteppeError(
                f"{folder.path(SWEEP)}: {name} lay in {lay}, which is not there; put it back, or "
                "give the folder where it lies now with --root"
            )
    return {} if root is None else dict.fromkeys(found, root.expanduser().absolute())


def _data(folder: RunFolder) -> dict[str, Any]:
    return yaml_file.parse(folder.read_bytes(SWEEP), folder.path(SWEEP), yaml_file.UnquotedLoader)


def _datasets(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections of the datasets in a parsed sweep, by name, as far as they are mappings."""
    one, several = data.get("dataset"), data.get("datasets")
    found = {str(one.get("name")): one} if isinstance(one, dict) else {}
    if isinstance(several, dict):
        found |= {name: given for name, given in several.items() if isinstance(given, dict)}
    return found


def as_in(folder: RunFolder, sweep: Sweep) -> Sweep:
    """The sweep, its studies named and searched as those of the run in this folder."""
    return sweep.of_earlier_run(in_earlier_run(folder), searches_as_before(folder))


def _nothing(value: Any, key: str) -> Any:
    """The value of a key; `null` is None, but for the key `name`, where it is a name."""
    null = isinstance(value, yaml_file.Unquoted) and value.null and key != "name"
    return None if null else value


def _one_or_several(data: Mapping[str, Any]) -> list[config_errors.Problem]:
    """A sweep needs either `dataset` or `datasets`; an empty mapping of several counts as none."""
    one, several = data.get("dataset"), data.get("datasets")
    if one is not None and several:
        sentence = "stands beside `dataset`; a sweep has one of them: keep one"
        return [config_errors.Problem(("datasets",), sentence)]
    if one is None and not several:
        sentence = "is missing; add it, such as dataset: {name: RotatedDigits}"
        return [config_errors.Problem(("dataset",), sentence)]
    return []


def _check_the_rest(
    data: Mapping[str, Any], broken: list[config_errors.KeyPath], context: dict[str, bool] | None
) -> list[config_errors.Problem]:
    """What else is wrong with a file that has broken keys, so that all is reported at once.

    Broken keys are replaced by their defaults, or by the examples of their fields.
    """
    rest = copy.deepcopy(dict(data))
    for path in broken:
        keys = path[: next((i for i, key in enumerate(path) if isinstance(key, int)), len(path))]
        if keys[:2] == ("search", "warm_start"):
            keys = keys[:2]  # written in short it has no keys, and without its runs it is none
        section: Any = rest
        for key in keys[:-1]:
            section = section.get(key, {})
        section.pop(keys[-1], None)
    several = bool(rest.get("datasets"))
    rest["dataset"] = rest.get("dataset") or (None if several else {})
    for name, field in Sweep.model_fields.items():
        needed = field.is_required() or (name == "dataset" and not several)
        for example in field.examples or [] if needed else []:
            given = rest.get(name, example)
            rest[name] = {**example, **given} if isinstance(example, dict) else given
    return check(Sweep.model_validate(rest, context=context), broken)


def _override(data: dict[str, Any], override: str) -> config_errors.KeyPath:
    """Sets the value of an override such as `search.trials=8` in the data; returns its key."""
    key, equals, written = override.partition("=")
    path = tuple(key.split("."))
    if not equals or not all(path):
        raise SteppeError(f"--set {override}: write KEY=VALUE, such as search.trials=8")
    try:
        value = yaml.load(written, yaml_file.UnquotedLoader)
    except yaml.YAMLError as error:
        raise SteppeError(f"--set {override}: {yaml_file.describe(error)}") from None
    section: Any = data
    for depth, part in enumerate(path[:-1], 1):
        if _nothing(section.get(part), part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            inside = ".".join(path[:depth])
            raise SteppeError(
                f"--set {override}: {inside} is {config_errors.show(section)} and has no keys; "
                f"set {inside} as a whole"
            )
    section[path[-1]] = value
    return path
