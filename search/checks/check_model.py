"""What is wrong with the section `model` of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import datasets
import models
from datasets.domain_dataset import DomainDataset
from models import tuning
from models.checkpoints import Taken
from search.errors import SteppeError, way_out
from search.space import algorithm_names
from search.sweep.config_errors import Problem, show
from search.sweep.per_dataset import DatasetSweep
from search.sweep.schema import Model
from training.algorithms import works_on_features

SIZE = 224  # of images, where dataset.size says nothing


def check_model(sweep: DatasetSweep) -> Iterator[Problem]:
    """What can be said without loading weights; see `try_model`."""
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
            models.check_weights(model.name, model.weights)
        except (ValueError, FileNotFoundError) as error:
            yield Problem(("model", "weights"), f"is {show(model.weights)}: {error}")
    yield from _fits(sweep)
    if model.tuning == "head":
        yield from _features(sweep)


def _fits(sweep: DatasetSweep) -> Iterator[Problem]:
    """Whether the model takes the images, and can be tuned as the sweep says."""
    model, entry = sweep.model, datasets.DATASETS.get(sweep.dataset.name)
    resizes = entry is not None and entry.resizes
    size = sweep.dataset.size if resizes and sweep.dataset.size else SIZE
    try:
        network = models.outline(model.name, (3, size, size))
    except ValueError as error:
        if resizes:  # small images have a size of their own, which try_model sees
            yield Problem(("dataset", "size"), f"is {size}, and {error}")
        return
    try:
        tuning.check(network, model.tuning)
    except ValueError as error:
        yield Problem(("model", "tuning"), f"is {show(model.tuning)}: {error}; choose full or head")


def _features(sweep: DatasetSweep) -> Iterator[Problem]:
    for index, name in enumerate(sweep.algorithms):
        try:
            idle = works_on_features(algorithm_names.split(name)[0])
        except ValueError:
            continue  # said elsewhere
        if idle:
            yield Problem(
                ("algorithms", index),
                f"is {show(name)}, whose {' and '.join(idle)} changes the features, but with "
                "model.tuning: head they stay as they are; remove it or choose full or lora",
            )


def try_model(model: Model, found: Sequence[DomainDataset]) -> Taken | None:
    """Builds the model for each dataset, so that what is wrong is said once and before any trial.

    Returns what is taken of a file of weights.

    Raises SteppeError: the model cannot take the images, be tuned so, or get its weights.
    """
    taken = None
    shapes = {dataset.image_shape for dataset in found}
    for shape in shapes:
        try:
            network = models.build(model.name, 2, shape, weights=model.weights)
            taken = network.taken
            tuning.tune(network, model.tuning, {})
        except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
            raise SteppeError(f"model: {error}") from error
    return taken
