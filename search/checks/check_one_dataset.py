"""What spans several keys of a sweep: names that exist, ranges that fit, keys that act."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import datasets
from search.checks.check_early_settings import check_early_settings
from search.checks.check_folds import check_folds
from search.checks.check_model import check_model
from search.checks.check_objectives import check_objectives
from search.checks.check_space import check_space
from search.checks.keys_without_effect import SWITCHES, idle_keys
from search.errors import way_out
from search.space import algorithm_names
from search.study.study import held_out_domains
from search.study.study_space import averaging_of
from search.sweep.config_errors import KeyPath, Problem, show
from search.sweep.per_dataset import DatasetSweep
from training.algorithms import compares_domains


def check_one(
    sweep: DatasetSweep, broken: Sequence[KeyPath] = ()
) -> tuple[list[Problem], list[Problem]]:
    """Everything wrong with a sweep whose keys are each right by themselves, and keys in vain.

    broken: keys that were not, and stand at their defaults here; what depends on them is left out.
    """

    def whole(*keys: KeyPath) -> bool:
        return not any(path[: len(key)] == key for path in broken for key in keys)

    problems = [*_names(sweep), *_repeated(sweep), *_resources(sweep), *_device(sweep)]
    problems += _nesterov(sweep)
    if whole(("training", "steps")):
        problems += _steps(sweep)
    if whole(("model",), ("dataset", "size")):
        problems += check_model(sweep)
    if whole(*(("search", key) for key in ("objective", "allow_oracle", "sampler", "scheduler"))):
        problems += [*check_objectives(sweep.search), *check_early_settings(sweep.search)]
    domains = _domains(sweep) if whole(("dataset",)) else []
    algorithms = _unusable(sweep)
    problems += domains + algorithms
    idle: list[Problem] = []
    if not algorithms and whole(("algorithms",)):
        problems += _same(sweep)
        if not domains and whole(("dataset",)):
            problems += [*_too_few_sources(sweep), *check_folds(sweep)]
        if whole(("search", "space"), ("training", "steps")):
            problems += check_space(sweep)
        if whole(*SWITCHES):
            idle += idle_keys(sweep)
    return problems, idle


def _names(sweep: DatasetSweep) -> Iterator[Problem]:
    name, known = sweep.dataset.name, datasets.DATASETS
    if name not in known:
        yield Problem(("dataset", "name"), f"is {show(name)}; {way_out(name, known)}")


def _unusable(sweep: DatasetSweep) -> list[Problem]:
    problems = []
    for index, name in enumerate(sweep.algorithms):
        try:
            algorithm_names.parts(name)
        except ValueError as error:
            problems.append(Problem(("algorithms", index), f"cannot be used: {error}"))
    return problems


def _same(sweep: DatasetSweep) -> Iterator[Problem]:
    seen: dict[tuple[frozenset[str], str], str] = {}
    for index, name in enumerate(sweep.algorithms):
        meaning = frozenset(algorithm_names.parts(name)), averaging_of(sweep, name)
        other = seen.setdefault(meaning, name)
        if other != name:
            yield Problem(
                ("algorithms", index), f"is {show(name)}, the same as {other}; remove one"
            )


def _repeated(sweep: DatasetSweep) -> Iterator[Problem]:
    held_out = () if sweep.held_out == "all" else sweep.held_out
    lists: dict[str, tuple[object, ...]] = {
        "algorithms": sweep.algorithms,
        "held_out": held_out,
        "seeds": sweep.seeds,
    }
    for key, values in lists.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                yield Problem((key, index), f"is {show(value)}, which the list already has")


def _domains(sweep: DatasetSweep) -> list[Problem]:
    entry = datasets.DATASETS.get(sweep.dataset.name)
    if entry is None:
        return []
    root = sweep.dataset.root
    if entry.needs_root and root is None:
        return [Problem(("dataset", "root"), f"is missing; {sweep.dataset.name} lies in a folder")]
    if sweep.dataset.size is not None and not entry.resizes:
        size = ("dataset", "size")
        return [Problem(size, f"is {sweep.dataset.size}, but {sweep.dataset.name} has one size")]
    try:
        domains = datasets.describe(sweep.dataset.name, root).domains
    except (FileNotFoundError, datasets.DatasetError) as error:
        return [Problem(("dataset", "root"), f"is {show(str(root))}: {error}")]
    problems = [
        Problem(
            ("held_out", index),
            f"is {show(name)}, no domain of {sweep.dataset.name}; {way_out(name, domains)}",
        )
        for index, name in enumerate(held_out_domains(sweep))
        if name not in domains
    ]
    problems += [
        Problem(
            ("dataset", "root"),
            f"has the domain {show(name)}, whose folder's name is not UTF-8; rename the folder",
        )
        for name in domains
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name)
    ]
    if len(domains) < 2:
        problems.append(
            Problem(
                ("held_out",),
                f"leaves no source domain to train on, as {sweep.dataset.name} has only "
                f"{len(domains)}; choose a dataset with more",
            )
        )
    return problems


def _too_few_sources(sweep: DatasetSweep) -> Iterator[Problem]:
    if sweep.dataset.name not in datasets.DATASETS:
        return
    sources = len(datasets.describe(sweep.dataset.name, sweep.dataset.root).domains) - 1
    for index, name in enumerate(sweep.algorithms):
        if sources < 2 and compares_domains(algorithm_names.split(name)[0]):
            yield Problem(
                ("algorithms", index),
                f"is {show(name)}, which compares source domains and needs at least two, but "
                f"{sweep.dataset.name} leaves {sources}; remove it or choose another dataset",
            )


def _steps(sweep: DatasetSweep) -> Iterator[Problem]:
    training, search = sweep.training, sweep.search
    for path, value, below in (
        (("training", "evaluate_every"), training.evaluate_every, False),
        (("training", "lr_warmup"), training.lr_warmup, True),
        (("training", "rho_warmup"), training.rho_warmup, True),
        (("search", "grace_steps"), search.grace_steps, False),
    ):
        if value is None or value < training.steps or (value == training.steps and not below):
            continue
        section = getattr(sweep, path[0])
        default = "" if path[1] in section.model_fields_set else " (its default)"
        bound = "below" if below else "at most"
        yield Problem(
            path, f"is {value}{default}; it must be {bound} training.steps, {training.steps}"
        )


def _resources(sweep: DatasetSweep) -> Iterator[Problem]:
    gpu = sweep.resources.gpu
    if gpu > 1 and gpu != int(gpu):
        yield Problem(
            ("resources", "gpu"), f"is {gpu:g}; it must be a share up to 1 or a whole number"
        )


def _nesterov(sweep: DatasetSweep) -> Iterator[Problem]:
    training = sweep.training
    if training.optimizer == "sgd" and training.nesterov and not training.momentum:
        yield Problem(
            ("training", "nesterov"),
            "is true, but training.momentum is 0, and Nesterov's step goes on by the momentum; "
            "raise it, such as 0.9, or remove nesterov",
        )


def _device(sweep: DatasetSweep) -> Iterator[Problem]:
    gpu, device = sweep.resources.gpu, sweep.training.device
    if gpu == 0 and device == "cuda":
        yield Problem(
            ("training", "device"),
            "is 'cuda', but resources.gpu is 0, and Ray hides the GPUs from such a trial; "
            "give each a share, such as resources.gpu: 0.5",
        )
    if gpu > 0 and device in ("cpu", "mps"):
        yield Problem(
            ("training", "device"),
            f"is {show(device)}, but resources.gpu is {gpu:g}, and a trial would hold its GPU "
            "idle; set resources.gpu: 0 or leave the device out",
        )
    if device == "mps" and sweep.training.micro_batches > 1:
        yield Problem(
            ("training", "micro_batches"),
            f"is {sweep.training.micro_batches}, but on mps torch cannot repeat the random numbers "
            "of a piece that goes forward again; remove it, or compute elsewhere",
        )
