"""What is wrong with the sections `model`, `training` and `resources` of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Literal

import datasets
import models
from datasets.image_folders import DEFAULT_SIZE
from models import tuning
from search.errors import way_out
from search.space import algorithm_names
from search.study.plan import device
from search.study.study_space import averaging_of
from search.sweep.config_errors import KeyPath, Problem, show
from search.sweep.per_dataset import DatasetSweep, problems_in_file
from search.sweep.schema import Sweep
from search.sweep.search_keys import WISE_FT
from training.algorithms import OF_TEXTS, compares_with_start, works_on_features


def check_model(sweep: DatasetSweep) -> Iterator[Problem]:
    """What is wrong with the model, as far as it shows without weights (check_data.try_model)."""
    model = sweep.model
    try:
        models.check(model.name)
    except (ValueError, ModuleNotFoundError) as error:
        if "/" in model.name:
            yield Problem(("model", "name"), f"is {show(model.name)}: {error}")
        else:
            known = (*models.MODELS, *(f"{family}/NAME" for family in models.FAMILIES))
            yield Problem(("model", "name"), f"is {show(model.name)}; {way_out(model.name, known)}")
        return
    if model.weights is not None:
        try:
            models.weights_file(model.name, model.weights)
        except (ValueError, FileNotFoundError) as error:
            yield Problem(("model", "weights"), f"is {show(model.weights)}: {error}")
    yield from _model_fits(sweep)
    yield from _features(sweep)
    yield from _heads(sweep)


def _heads(sweep: DatasetSweep) -> Iterator[Problem]:
    """The head must have texts, and something must train."""
    model = sweep.model
    if model.head == "linear":
        for index, name in enumerate(sweep.algorithms):
            for part in algorithm_names.words_of(name):
                if part in OF_TEXTS:
                    yield Problem(
                        ("algorithms", index),
                        f"is {show(name)}, and {part} takes the texts of CLIP; set model.head: "
                        "text-fixed or text, or remove it",
                    )
        if WISE_FT in sweep.search.combine:
            yield Problem(
                ("search", "combine"),
                f"is {show(list(sweep.search.combine))}, and {WISE_FT} goes from zero-shot to "
                "trained weights; set model.head: text or text-fixed, or remove it",
            )
        return
    try:
        models.text_tower(model.name, model.weights)
    except ValueError as error:
        yield Problem(("model", "head"), f"is {show(model.head)}: {error}")
    if model.head == "text-fixed":
        frozen = [("model", "tuning")] if model.tuning == "head" else []
        frozen += [("training", "start")] if sweep.training.start == "linear-probe" else []
        for path in frozen:
            value = show(getattr(getattr(sweep, path[0]), path[1]))
            yield Problem(
                path,
                f"is {value}, which trains the head alone, but with model.head: text-fixed the "
                "head stays as it is; choose model.head: text, or remove it",
            )


def _model_fits(sweep: DatasetSweep) -> Iterator[Problem]:
    """The model must take the images, and be tunable and comparable as the sweep says."""
    model, entry = sweep.model, datasets.DATASETS.get(sweep.dataset.name)
    resizes = entry is not None and entry.resizes
    size = sweep.dataset.size if resizes and sweep.dataset.size else DEFAULT_SIZE
    comparing = (
        None if model.tuning == "head" else next(_with_parts(sweep, compares_with_start), None)
    )
    sized = resizes and (sweep.dataset.size is not None or "/" in model.name)
    if not sized and model.tuning != "lora" and comparing is None:
        return  # Steppe's own models take what they are asked for; to build one takes seconds
    misfit = _misfit(model.name, model.tuning, size, comparing is not None)
    if misfit is None:
        return
    kind, error = misfit
    if kind == "size":
        if resizes:  # small images have a size of their own, which try_model sees
            yield Problem(("dataset", "size"), f"is {size}, and {error}")
    elif kind == "tuning":
        yield Problem(("model", "tuning"), f"is {show(model.tuning)}: {error}; choose full or head")
    elif comparing is not None:
        index, name, parts = comparing
        yield Problem(
            ("algorithms", index),
            f"is {show(name)}, whose {parts} compares feature maps, and of {model.name} none can "
            f"be had: {error}; remove it or choose a ResNet, ConvNeXt or vision transformer",
        )


@cache  # of a sweep over five benchmarks all ask the same, and each answer takes half a second
def _misfit(
    model: str, how: str, size: int, compares: bool
) -> tuple[Literal["size", "tuning", "maps"], str] | None:
    """What a model cannot do first, and why: take the images, be tuned so, give feature maps."""
    try:
        network = models.outline(model, (3, size, size))
    except ValueError as error:
        return "size", str(error)
    try:
        tuning.check(network, how)
    except ValueError as error:
        return "tuning", str(error)
    if not compares:
        return None
    try:
        from models import feature_maps

        feature_maps.check(network, (3, size, size))
    except ValueError as error:
        return "maps", str(error)
    return None


def _with_parts(
    sweep: DatasetSweep, of: Callable[[str], Sequence[str]]
) -> Iterator[tuple[int, str, str]]:
    """The place and name of the algorithms that have such parts, and these. of: of an update."""
    for index, name in enumerate(sweep.algorithms):
        try:
            parts = of(algorithm_names.split(name)[0])
        except ValueError:
            continue  # check_sweep reports it
        if parts:
            yield index, name, " and ".join(parts)


def _features(sweep: DatasetSweep) -> Iterator[Problem]:
    """Algorithms that change features which are frozen, or keep them close to random ones."""
    of: Callable[[str], Sequence[str]]
    if sweep.model.tuning == "head":
        of = works_on_features
        why = (
            "changes the features, but with model.tuning: head they stay as they are; remove it or "
            "choose full or lora"
        )
    elif sweep.model.weights is None:
        of = compares_with_start
        why = (
            "keeps the features close to those of the model before training, which without "
            "model.weights are random, also after a linear probe; give model.weights, such as "
            "imagenet, or remove it"
        )
    else:
        return
    for index, name, parts in _with_parts(sweep, of):
        yield Problem(("algorithms", index), f"is {show(name)}, whose {parts} {why}")


def check_training(sweep: DatasetSweep) -> Iterator[Problem]:
    """Keys of `training` and `resources` that exclude each other."""
    gpu = sweep.resources.gpus
    if gpu > 1 and gpu != int(gpu):
        yield Problem(
            ("resources", "gpu"), f"is {gpu:g}; it must be a share up to 1 or a whole number"
        )
    training = sweep.training
    if training.optimizer == "sgd" and training.nesterov and not training.momentum:
        yield Problem(
            ("training", "nesterov"),
            "is true, but training.momentum is 0, and Nesterov's step goes on by the momentum; "
            "raise it, such as 0.9, or remove nesterov",
        )
    if (training.lr_schedule, training.rho_schedule) == ("plateau", "lr"):
        yield Problem(
            ("training", "rho_schedule"),
            "is 'lr', but with lr_schedule: plateau nobody knows lr before; change one of the two",
        )
    yield from _linear_starts(sweep)
    yield from _devices(sweep)


def check_second_stage(sweep: DatasetSweep) -> Iterator[Problem]:
    """What cannot go with a second stage or with a plateau; the algorithms must exist."""
    training = sweep.training
    for index, name in enumerate(sweep.algorithms):
        average = averaging_of(sweep, name)
        if training.retrain != "none" and average == "swad":
            why = "SWAD chooses by validation, and a second stage (training.retrain) has none"
        elif training.lr_schedule == "plateau" and average == "swa":
            why = "SWA averages the last part of training.steps, and a plateau may end before it"
        else:
            continue
        yield Problem(("algorithms", index), f"is {show(name)}, but {why}; use SMA or ERM++")
    if training.retrain == "none":
        return
    for path, value, none in (
        (("training", "flatness"), training.flatness, "none"),
        (("search", "combine"), list(sweep.search.combine), []),
    ):
        if value != none:
            yield Problem(
                path,
                f"is {show(value)}, but of a second stage (training.retrain) nothing is left out "
                "to look at; remove one of the two",
            )


def _linear_starts(sweep: DatasetSweep) -> Iterator[Problem]:
    """Algorithms that begin with a probe of the classifier, where that alone or nothing trains."""
    alone, fixed = sweep.model.tuning == "head", sweep.model.head == "text-fixed"
    for index, name in enumerate(sweep.algorithms):
        if (alone or fixed) and "ERM++" in algorithm_names.words_of(name):
            key = "model.tuning: head" if alone else "model.head: text-fixed"
            yield Problem(
                ("algorithms", index),
                f"is {show(name)}, which trains the classifier alone and then all weights; with "
                f"{key} it cannot; choose another, or remove it",
            )


def _devices(sweep: DatasetSweep) -> Iterator[Problem]:
    gpu, device = sweep.resources.gpus, sweep.training.device
    if gpu == 0 and device == "cuda":
        yield Problem(
            ("training", "device"),
            "is 'cuda', but resources.gpu is 0, and Ray hides the GPUs from such a trial; "
            "give each a share, such as resources.gpu: 0.5",
        )
    if gpu > 0 and device in ("cpu", "mps"):
        yield Problem(
            ("training", "device"),
            f"is {show(device)}, but resources.gpu is {_gpu(sweep)}, and a trial would hold its "
            "GPU idle; set resources.gpu: 0 or leave the device out",
        )
    if device == "mps" and sweep.training.micro_batches > 1:
        yield Problem(
            ("training", "micro_batches"),
            f"is {sweep.training.micro_batches}, but on mps torch cannot repeat the random numbers "
            "of a piece that goes forward again; remove it, or compute elsewhere",
        )


def _gpu(sweep: DatasetSweep) -> str:
    gpu = sweep.resources.gpu
    return gpu if isinstance(gpu, str) else f"{gpu:g}"


def check_steps(sweep: DatasetSweep) -> Iterator[Problem]:
    """Counts of steps that a run of training.steps does not have."""
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


def check_device(sweep: Sweep) -> list[Problem]:
    """Devices that trials would compute on, and torch does not find here."""
    return problems_in_file(sweep, _device_not_here)


def _device_not_here(sweep: DatasetSweep) -> Iterator[Problem]:
    from training.computation import device_of

    try:
        device_of(device(sweep))
    except ValueError as error:
        asked = sweep.training.device
        path: KeyPath = ("resources", "gpu") if asked == "auto" else ("training", "device")
        value = _gpu(sweep) if asked == "auto" else show(asked)
        yield Problem(path, f"is {value}, but {error}: resources.gpu: 0 and no training.device")
