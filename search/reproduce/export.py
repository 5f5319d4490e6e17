"""A trial's selected model as files, for use in plain PyTorch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

import models
from datasets.augmentation import views
from datasets.domain_dataset import DomainDataset
from datasets.input_format import InputFormat
from datasets.views import as_stored
from models import exported
from models.exported import Exported, Images
from search.checks.open_datasets import open_dataset
from search.driver.weights_origin import origin
from search.errors import SteppeError
from search.reproduce import predictions
from search.reproduce.differences import changes, compare
from search.reproduce.recorded_trial import EndedRun, RecordedTrial, ended_run
from search.reproduce.rerun import repeat
from search.results.loading import DEFAULT_METHOD, main_method
from search.results.notes import saw_held_out
from search.results.selection import rule_of, select
from search.run import manifest
from search.run.checkpoints import read_weights
from search.run.run_folder import RunFolder
from training.computation import autocast, backends, device_of
from training.evaluation import Part, evaluate, parts_of, predict


@dataclass(frozen=True)
class Selected:
    """A trial, and its step that a selection method chooses."""

    trial: RecordedTrial
    step: int
    method: str

    @property
    def weights(self) -> str:
        """Its result: `average` of its weights, or `iterate`."""
        return "average" if self.trial.averaged else "iterate"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The evaluations of these weights."""
        table = self.trial.evaluations
        chosen = table[(table["step"] == self.step) & (table["weights"] == self.weights)]
        return [
            {str(key): value for key, value in row.items()} for row in chosen.to_dict("records")
        ]


def export(
    run: str, name: str | None, method: str | None, output: Path | None, predicted: bool
) -> bool:
    """Writes a model and what builds it; True if its accuracy is the table's.

    run: folder or URI. name: a trial, or a study, whose winner is taken; None: the winner of the
    run's only study. method: the selection method, which also chooses the step; None: that of the
    search's objective. output: the folder to write; None: `exported/TRIAL`. predicted: whether the
    predictions of all samples are written too.

    Raises SteppeError if nothing can be chosen, or the model cannot be made or written.
    """
    rule_of(method or DEFAULT_METHOD)  # before anything is read
    ended = ended_run(run)
    method = method or main_method([ended.sweep])
    chosen = _selected(ended, name, method)
    trial = chosen.trial
    place = output or Path("exported") / trial.name
    if place.exists() and not place.is_dir():
        raise SteppeError(f"the output {place} is a file; give a folder with --output")
    dataset = open_dataset(trial.plan.dataset)
    print(f"{trial.name}, step {chosen.step} by {method}: {trial.settings}")
    for line in changes(ended.folder, trial, dataset):
        print(f"Not as it was: {line}")
    state, agrees = _weights(ended.folder, chosen, dataset)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=place.parent) as aside:
            same = _write(Path(aside), ended.folder, chosen, dataset, state, predicted)
            _move(Path(aside), place)
    except OSError as error:
        raise SteppeError(
            f"cannot write the output {place}: {error}; give another with --output"
        ) from error
    print(f"Exported: {place}")
    print(f'In Python: from models.exported import load_exported; model = load_exported("{place}")')
    return agrees and same


def _selected(ended: EndedRun, name: str | None, method: str) -> Selected:
    """Raises SteppeError, with the reason, if the method chooses none."""
    trials, evaluations = ended.trials, ended.evaluations
    if name is None:
        studies = list(dict.fromkeys(trials["study"]))
        if len(studies) > 1:
            raise SteppeError(
                f"{ended.folder.uri} has {len(studies)} studies; name one, such as "
                f"{studies[0]}, or a trial"
            )
        name = studies[0]
    else:
        name = ended.full_name(name, ("study", "trial"))
    if name in set(trials["trial"]):
        trials = trials[trials["trial"] == name]
        evaluations = evaluations[evaluations["trial"] == name]
    found = select(trials, evaluations, [method])
    row = found[(found["study"] == name) | (found["trial"] == name)]
    winner = None if row.empty else row.iloc[0]
    if winner is None or not isinstance(winner["trial"], str):
        reason = (found if winner is None else row).iloc[0]["reason"]
        raise SteppeError(f"{method} chooses nothing in {name}: {reason}")
    return Selected(ended.trial(winner["trial"]), int(winner["step"]), method)


def _weights(
    folder: RunFolder, chosen: Selected, dataset: DomainDataset
) -> tuple[dict[str, Tensor], bool]:
    """The chosen weights: kept by the run, or else of a repetition.

    Also returns whether the repetition has the numbers of the tables.
    """
    if _kept(chosen):
        try:
            state = read_weights(folder, chosen.trial.name)
            print("Weights: those that the run has kept")
            return state, True
        except FileNotFoundError:
            pass
        except SafetensorError as error:
            print(f"The kept weights are damaged ({error})")
    repeated = repeat(
        folder, chosen.trial, dataset, "best" if chosen.trial.averaged else chosen.step
    )
    agreement = compare(chosen.trial, repeated.evaluations, repeated.state)
    print("\n".join(["Weights: trained again", *agreement.sentences()]))
    if repeated.weights is None:
        raise SteppeError(f"{chosen.trial.name} diverged here, so there is no model to export")
    return repeated.weights, agreement.agrees


def _kept(chosen: Selected) -> bool:
    """Whether search.keep_weights keeps the weights of this step."""
    row = chosen.trial.row
    match chosen.trial.plan.search.keep_weights:
        case "none":
            return False
        case "last":
            last = chosen.trial.evaluations["step"].max()
            return bool(chosen.step == last) and not chosen.trial.averaged
    return bool(chosen.step == row["best_step"])


def _write(
    folder: Path,
    run_folder: RunFolder,
    chosen: Selected,
    dataset: DomainDataset,
    state: Mapping[str, Tensor],
    predicted: bool,
) -> bool:
    """Writes the files and loads them as a user does; True if the accuracy is the table's."""
    run = chosen.trial.spec.run
    with torch.device("meta"):
        outline = models.build(
            run.model, len(dataset.classes), dataset.image_shape, weights=run.weights, load=False
        )
    colours = outline.colours
    device = _device(run.device)
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
    exported.write(
        folder,
        run.model,
        run.weights,
        dataset.classes,
        images,
        state,
        about=_about(run_folder, chosen, dataset),
    )
    model = exported.load_exported(folder).to(device)
    if run.channels_last:
        model.to(memory_format=torch.channels_last)
    parts = parts_of(dataset, run.held_out, run.seed, view)
    with backends(run.tf32, run.deterministic), autocast(run.precision, device):
        same = _check(model, parts, chosen, device)
        if predicted:
            found = predict(model, parts, device)
            predictions.write(
                folder / predictions.PREDICTIONS,
                chosen.trial.name,
                chosen.step,
                dataset.classes,
                found,
                predictions.files_of(chosen.trial.plan.dataset),
            )
    return same


def _check(model: Exported, parts: list[Part], chosen: Selected, device: torch.device) -> bool:
    """Whether the loaded model is as accurate as the table says, on the smallest split of it."""
    row = min(chosen.rows, key=lambda row: row["count"])
    (part,) = (p for p in parts if (p.domain.name, p.split) == (row["domain"], row["split"]))
    (score,) = evaluate(model, [part], device)
    where = f"{score.count} images of {score.domain}, {score.split} split"
    if score.accuracy == row["accuracy"]:
        print(f"Loaded again: accuracy {score.accuracy:.4f} on {where}, as in the table")
        return True
    print(f"Loaded again: accuracy {score.accuracy!r} on {where}, {row['accuracy']!r} in the table")
    return False


def _device(name: str) -> torch.device:
    """The run's device, or the CPU if it is not here."""
    try:
        return device_of(name)
    except ValueError:
        return torch.device("cpu")


def _about(folder: RunFolder, chosen: Selected, dataset: DomainDataset) -> dict[str, Any]:
    """Where the model comes from, for its card."""
    trial = chosen.trial
    study = trial.spec.study
    numbers = ("domain", "role", "split", "accuracy", "loss", "count")
    began_with, known = manifest.weights_origin(folder)
    before = origin(trial.spec.run.model, trial.spec.run.weights)
    return {
        "trained": {
            "trial": trial.name,
            **{name: getattr(study, name) for name in ("dataset", "algorithm", "held_out", "seed")},
            "fingerprint": dataset.fingerprint,
            "tuning": trial.spec.run.tuning,
            "method": chosen.method,
            "step": chosen.step,
            "weights": chosen.weights,
            "hyperparameters": dict(trial.spec.values),
            "shaped": [*saw_held_out(trial.plan.search), *began_with],
        },
        "earlier": [dict(each) for each in before.trained],
        "earlier_known": before.known and known,
        "scores": [{name: row[name] for name in numbers} for row in chosen.rows],
        "versions": manifest.versions(),
    }


def _move(aside: Path, place: Path) -> None:
    """Moves the files to their place; those of an earlier export are replaced or removed."""
    place.mkdir(exist_ok=True)
    for name in (exported.CARD, exported.WEIGHTS, predictions.PREDICTIONS):
        if (aside / name).exists():
            shutil.move(aside / name, place / name)
        else:
            (place / name).unlink(missing_ok=True)
