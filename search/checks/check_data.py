"""What cannot work with the datasets of a sweep, once they are opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import datasets
import models
from datasets.domain_dataset import DomainDataset, members
from datasets.randomness import split
from models import tuning
from models.checkpoints import Taken
from models.entry import Texts
from search.checks.check_space import smallest_batch
from search.errors import SteppeError
from search.space import algorithm_names
from search.study.folds import folds_of
from search.study.plan import StudyPlan
from search.sweep.config_errors import KeyPath, Problem, dotted, show
from search.sweep.per_dataset import DatasetSweep, by_dataset, problems_in_file
from search.sweep.schema import Model, Sweep, batch_norm, batch_norm_trains
from training.algorithms import least_samples
from training.rehearsal import rehearse
from training.run import Run

# Samples of a domain in a batch that a message may propose.
PROPOSED_SAMPLES = (2, 3, 4, 8, 16, 32)


def check_data(
    sweep: Sweep, plans: Mapping[str, StudyPlan], found: Sequence[DomainDataset]
) -> list[Problem]:
    """All problems of a checked sweep that its datasets decide; reads no image.

    These are too few images or classes, images that the model or the augmentation cannot take,
    and a first step that fails with the smallest batch of the space (training.rehearsal). plans:
    of the sweep's studies. found: its datasets, in the order of the file.
    """
    first_steps: dict[Any, str | None] = {}
    first = dict[tuple[str, str], StudyPlan]()
    # Where the fewest domains are left, batches are the smallest.
    for plan in sorted(plans.values(), key=lambda plan: -len(members(plan.study.held_out))):
        first.setdefault((plan.study.dataset, plan.study.algorithm), plan)
    opened = dict(zip(by_dataset(sweep), found, strict=True))

    def problems_of(one: DatasetSweep) -> list[Problem]:
        dataset = opened[one.dataset.name]
        here = [*_images(one, dataset), *_model(one, dataset)]
        return here or list(_first_steps(one, dataset, first, first_steps))

    return problems_in_file(sweep, problems_of)


def check_batches(sweep: Sweep) -> list[Problem]:
    """Batches of the space with fewer samples of a domain than an algorithm compares.

    This is checked before images are decoded, which may take an hour.
    """
    return problems_in_file(sweep, _small_batches)


def _small_batches(one: DatasetSweep) -> Iterator[Problem]:
    needs: dict[tuple[KeyPath, str, str], list[str]] = {}
    for algorithm in one.trained:
        least = least_samples(algorithm_names.split(algorithm)[0])
        path, said, count = smallest_batch(one, algorithm)
        if count < least:
            text = f"at least {least} samples of each domain in a batch; write at least {least}"
            needs.setdefault((path, said, text), []).append(algorithm)
    for (path, said, text), names in needs.items():
        need = f"need{'s' * (len(names) == 1)}"
        yield Problem(path, f"{said}, but {' and '.join(names)} {need} {text}")


def _images(one: DatasetSweep, dataset: DomainDataset) -> Iterator[Problem]:
    name = one.dataset.name
    entry = datasets.DATASETS[name]
    place: KeyPath = ("dataset", "root") if entry.needs_root else ("dataset", "name")
    value = show(str(one.dataset.root) if entry.needs_root else name)
    small = [domain for domain in dataset.domains if not len(split(len(domain), 0, 0).out)]
    if small:
        counts = ", ".join(f"{len(domain)} in {domain.name!r}" for domain in small)
        yield Problem(
            place,
            f"is {value}, with too few images to set a fifth of a domain aside for validation: "
            f"{counts}; a domain needs at least 5: add images, or take the domain's folder out",
        )
    if len(dataset.classes) < 2:
        yield Problem(
            place,
            f"is {value}, with one class in all ({', '.join(dataset.classes)}), so that every "
            "accuracy would be 100 %; the layout is domain/class/image",
        )
    channels, height, width = dataset.image_shape
    if dataset.domains[0].sizes is not None and (channels != 3 or min(height, width) < 2):
        yield Problem(
            place,
            f"is {value}, with images of {channels} x {height} x {width}; what resizes and "
            "augments images needs 3 colours and 2x2 pixels",
        )


def _model(one: DatasetSweep, dataset: DomainDataset) -> Iterator[Problem]:
    try:
        models.outline(one.model.name, dataset.image_shape)
    except ValueError as error:
        yield Problem(
            ("model", "name"),
            f"is {show(one.model.name)}, which cannot take the images of {dataset.name}: {error}; "
            "choose another model or dataset",
        )


def _first_steps(
    one: DatasetSweep,
    dataset: DomainDataset,
    plans: Mapping[tuple[str, str], StudyPlan],
    known: dict[Any, str | None],
) -> Iterator[Problem]:
    """Algorithms whose first step fails; of equal steps only one is tried. known: what failed."""
    found = dict[tuple[KeyPath, str, str], list[str]]()
    for index, algorithm in enumerate(one.algorithms):
        if algorithm not in one.trained:
            continue
        count = smallest_batch(one, algorithm)[2]
        plan = plans[one.dataset.name, algorithm]
        run = plan.trial(0, {"batch_size": count}).run
        if plan.makes_folds:  # a fold has fewer sources
            run = folds_of(run, [domain.name for domain in dataset.domains])[0]
        for step in _steps(run):
            shapes = (dataset.image_shape, len(dataset.domains), len(run.unseen))
            key = (step.model, step.algorithm, count, step.micro_batches, step.bn, *shapes)
            if key not in known:
                known[key] = _why_not(step, dataset)
            why = known[key]
            if why is not None:
                path, said, away = _way_out(one, dataset, step, index)
                found.setdefault((path, said, f"{why}; {away}"), []).append(algorithm)
                break
    for (path, said, rest), names in found.items():
        yield Problem(
            path,
            f"{said}, and {' and '.join(names)} could not take a first step with {one.model.name} "
            f"on {dataset.name}: {rest}",
        )


def _steps(run: Run) -> list[Run]:
    """Runs whose first steps stand for that of a run.

    Only where a pass may see a single sample does it matter which method meets which network
    (batch norm). Else the network takes ERM's step, and the method that of a network which is
    quicker: for eight methods on a ResNet-50 that is half a second instead of seven.
    """
    if int(run.hyperparameters["batch_size"]) // run.micro_batches < 2:
        return [run]
    return [replace(run, algorithm="ERM"), replace(run, model="mlp", weights=None, tuning="full")]


def _way_out(
    one: DatasetSweep, dataset: DomainDataset, run: Run, index: int
) -> tuple[KeyPath, str, str]:
    """The key to name, the beginning of a sentence about it, and what would help."""
    path, said, count = smallest_batch(one, one.algorithms[index])
    ways = list(_ways_out(one, run, path, count, lambda change: _why_not(change, dataset) is None))
    if not ways:
        name = show(one.algorithms[index])
        return ("algorithms", index), f"is {name}", "remove it, or choose another model"
    key = ways[0][0]
    if key != path:  # a larger batch would not help
        said = f"is {show(getattr(one.training, str(key[-1])))}"
    return key, said, " or ".join(text for _, text in ways)


def _ways_out(
    one: DatasetSweep, run: Run, batch_key: KeyPath, count: int, works: Callable[[Run], bool]
) -> Iterator[tuple[KeyPath, str]]:
    """Keys, and changes of them with which the step works; each has been tried."""
    pieces, values = run.micro_batches, run.hyperparameters
    for more in chain(PROPOSED_SAMPLES, [2 * pieces]):
        larger = replace(run, hyperparameters={**values, "batch_size": more})
        if more > count and more >= pieces and works(larger):
            yield batch_key, f"make {dotted(batch_key)} at least {more}"
            break
    if pieces > 1 and works(replace(run, micro_batches=1)):
        yield ("training", "micro_batches"), "remove training.micro_batches"
    learns = batch_norm_trains(one) and batch_norm(one) == "updated"
    if learns and works(replace(run, bn="frozen")):
        yield ("training", "bn"), "set training.bn: frozen"


def _why_not(run: Run, dataset: DomainDataset) -> str | None:
    """Why the first step fails; None if it works."""
    try:
        rehearse(run, dataset)
    except Exception as error:  # each of a thousand models fails in its own way
        text = " ".join(str(error).split())
        if "more than 1 value per channel" in text:
            return "batch norm would see a single value of each channel, which has no variance"
        return f"{text or type(error).__name__}"[:300]
    return None


def try_model(model: Model, found: Sequence[DomainDataset]) -> Taken | None:
    """Builds the model for the datasets `found`; returns what it takes from a file of weights.

    Raises SteppeError if the model cannot take the images, be tuned as asked, or load its weights.
    """
    taken = None
    shapes = {dataset.image_shape for dataset in found}
    for shape in shapes:
        try:
            network = models.build(model.name, 2, shape, weights=model.weights)
            taken = network.taken
            tuning.tune(network, model.tuning, {})
        except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
            key, value = ("weights", model.weights) if model.weights else ("name", model.name)
            raise SteppeError(f"model.{key} is {show(value)}: {error}") from error
    for dataset in found if model.head != "linear" else ():
        try:
            models.text_features(model.name, model.weights, Texts(dataset.classes, model.prompts))
        except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
            raise SteppeError(f"model.head is {show(model.head)}: {error}") from error
    return taken
