"""The files of an exported model: written, loaded as a user does, and scored."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import models
from datasets.augmentation.by_name import views
from datasets.domain_dataset import DomainDataset
from datasets.input_format import InputFormat
from datasets.views import as_stored
from models import exported
from models.exported import Exported, Images
from search.driver.weights_origin import origin
from search.errors import SteppeError
from search.reproduce import predictions
from search.run import manifest
from search.run.run_folder import RunFolder
from search.study.plan import StudyPlan
from training.computation import autocast, backends, device_of
from training.evaluation import Part, evaluate, parts_of, predict
from training.run import Run


@dataclass(frozen=True)
class Model:
    """What a folder of an export is of.

    name: the trial's or the combination's. step: that of the trial. run, plan: how its network is
    built and which images it takes. rows: evaluations of its weights, by column. about: where it
    comes from, for its card.
    """

    name: str
    step: int | None
    run: Run
    plan: StudyPlan
    rows: Sequence[Mapping[str, Any]]
    about: Mapping[str, Any]


def card(
    folder: RunFolder,
    plan: StudyPlan,
    run: Run,
    trained: Mapping[str, Any],
    scores: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What the card of a model says of where it comes from, and of held-out labels that shaped it.

    trained: what is known of its training in this run.
    """
    shaped, known = manifest.held_out_labels(folder, plan.search)
    before = origin(run.model, run.weights)
    return {
        "trained": {**trained, "shaped": shaped},
        "earlier": [dict(each) for each in before.trained],
        "earlier_known": before.known and known,
        "scores": scores,
        "versions": manifest.versions(),
    }


def place_of(name: str, output: Path | None) -> Path:
    """The folder to write. Raises SteppeError if it is a file."""
    place = output or Path("exported") / name
    if place.exists() and not place.is_dir():
        raise SteppeError(f"the output {place} is a file; give a folder with --output")
    return place


def write_model(
    place: Path, model: Model, dataset: DomainDataset, state: Mapping[str, Tensor], predicted: bool
) -> bool:
    """Writes a model's files, and loads them as a user does; True if its accuracy is that of rows.

    predicted: whether the predictions of all samples are written too. Raises SteppeError if nothing
    can be written there.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=place.parent) as aside:
            same = _write(Path(aside), model, dataset, state, predicted)
            _move(Path(aside), place)
    except OSError as error:
        raise SteppeError(
            f"cannot write the output {place}: {error}; give another with --output"
        ) from error
    print(f"Exported: {place}")
    print(f'In Python: from models.exported import load_exported; model = load_exported("{place}")')
    return same


def _write(
    folder: Path,
    what: Model,
    dataset: DomainDataset,
    state: Mapping[str, Tensor],
    predicted: bool,
) -> bool:
    run = what.run
    with torch.device("meta"):
        outline = models.build(
            run.model, len(dataset.classes), dataset.image_shape, weights=run.weights, load=False
        )
    colours = outline.colours
    device = device_here(run.device)
    form = InputFormat(dataset.image_shape[1], colours.mean, colours.deviation)
    _, view = views(dataset, run.augmentation, device, form)
    channels, height, width = dataset.image_shape
    plain = view is as_stored
    images = Images(
        channels,
        height,
        width,
        (0.0,) * channels if plain else colours.mean,
        (1.0,) * channels if plain else colours.deviation,
    )
    for name, like in outline.state_dict().items():
        tensor = state.get(name, like)
        if tensor.is_floating_point() != like.is_floating_point():
            raise _other_weights(what, f"{name} holds {tensor.dtype}")
        if tensor is not like and not tensor.isfinite().all():
            raise _other_weights(what, f"{name} holds numbers that are not finite")
    exported.write(
        folder,
        run.model,
        run.weights,
        dataset.classes,
        images,
        state,
        about=what.about,
        head=run.head,
    )
    try:
        model = exported.load_exported(folder).to(device)
    except ValueError as error:
        why = " ".join(str(error).split()).partition("Error(s) in ")[2] or str(error)
        raise _other_weights(what, why[:300]) from error
    if run.channels_last:
        model.to(memory_format=torch.channels_last)
    parts = parts_of(dataset, run.held_out, run.seed, view)
    with backends(run.tf32, run.deterministic), autocast(run.precision, device):
        same = _check(model, parts, what.rows, device)
        if predicted:
            found = predict(model, parts, device)
            predictions.write(
                folder / predictions.PREDICTIONS,
                what.name,
                what.step,
                dataset.classes,
                found,
                predictions.files_of(what.plan.dataset),
            )
    return same


def _other_weights(what: Model, why: str) -> SteppeError:
    return SteppeError(
        f"the kept weights of {what.name} are not of {what.run.model} ({why}); delete their file "
        "in the run's weights/, and they are trained again"
    )


def _check(
    model: Exported,
    parts: list[Part],
    rows: Sequence[Mapping[str, Any]],
    device: torch.device,
) -> bool:
    """Whether the loaded model is as accurate as the table says, on the smallest split of it."""
    found = {(part.domain.name, part.split): part for part in parts}
    known = [row for row in rows if (row["domain"], row["split"]) in found]
    if not known:
        raise SteppeError(
            "the run's table `evaluations` has no accuracy of the weights that are exported, on a "
            "domain of its dataset; put a copy of its file back"
        )
    row = min(known, key=lambda row: row["count"])
    part = found[row["domain"], row["split"]]
    (score,) = evaluate(model, [part], device)
    where = f"{score.count} images of {score.domain}, {score.split} split"
    if score.accuracy == row["accuracy"]:
        print(f"Loaded again: accuracy {score.accuracy:.4f} on {where}, as in the table")
        return True
    print(f"Loaded again: accuracy {score.accuracy!r} on {where}, {row['accuracy']!r} in the table")
    return False


def device_here(name: str) -> torch.device:
    """The run's device, or the CPU if it is not here."""
    try:
        return device_of(name)
    except ValueError:
        return torch.device("cpu")


def _move(aside: Path, place: Path) -> None:
    """Moves the files to their place; those of an earlier export are replaced or removed."""
    place.mkdir(exist_ok=True)
    for name in (exported.CARD, exported.WEIGHTS, predictions.PREDICTIONS):
        if (aside / name).exists():
            shutil.move(aside / name, place / name)
        else:
            (place / name).unlink(missing_ok=True)
