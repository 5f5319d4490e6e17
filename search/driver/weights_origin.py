"""What a file of initial weights was trained on, as far as Steppe's own files say.

A model that was trained on a domain, or chosen by its labels, gives no domain generalization result
where that domain is held out. Exported models carry a card (models.exported), kept weights lie in
the folder of their run (search.keep_weights); of other files nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import models
from datasets.domain_dataset import DomainDataset, members
from models import exported
from search.errors import SteppeError
from search.results.loading import read_sweep
from search.results.selection import PER_DATASET
from search.run import manifest
from search.run.run_folder import SWEEP, WEIGHTS, RunFolder
from search.study.study import studies

_FOLDERS = "ImageFolders"  # the name of every user's images, of which only the fingerprint tells


@dataclass(frozen=True)
class Origin:
    """What is known of a file. known: whether that is all.

    trained: `trial`, `dataset`, `fingerprint`, `held_out` and `shaped` (why labels of the held-out
    domain had a part in it all the same) of every training that it comes from.
    """

    trained: Sequence[Mapping[str, Any]]
    known: bool


def origin(model: str, weights: str | None) -> Origin:
    """Of the weights that a model starts from; published ones saw none of the datasets."""
    try:
        file = None if weights is None else models.weights_file(model, weights)
    except (ValueError, FileNotFoundError, ModuleNotFoundError):
        return Origin((), False)
    if file is None:
        return Origin((), True)
    try:
        found = _of_export(file) or _of_run(file.absolute())
    except (SteppeError, OSError, yaml.YAMLError, KeyError, AttributeError, TypeError, ValueError):
        found = None  # not as `launch` and `export` write them
    return found or Origin((), False)


def _of_export(file: Path) -> Origin | None:
    card = file.parent / exported.CARD
    if not card.is_file():
        return None
    content = yaml.safe_load(card.read_bytes())
    trained = content["trained"]
    method = trained["method"]
    shaped = list(trained.get("shaped", []))
    if method.startswith("oracle") or method.endswith(PER_DATASET):
        shaped.append(f"it was selected by {method}")
    own = {**{key: trained[key] for key in ("trial", "dataset", "fingerprint", "held_out")}}
    earlier = origin(content["model"]["name"], content["model"]["weights"])
    listed = [dict(each) for each in content.get("earlier", earlier.trained)]
    known = content.get("earlier_known", earlier.known)
    return Origin(({**own, "shaped": shaped}, *listed), bool(known))


def _of_run(file: Path) -> Origin | None:
    folder = RunFolder(file.parent.parent)
    if file.parent.name != WEIGHTS or not folder.exists(SWEEP):
        return None
    sweep = read_sweep(folder)
    name, _, _ = file.stem.rpartition(".")
    study = {study.id: study for study in studies(sweep)}[name]
    shaped, known = manifest.held_out_labels(folder, sweep.search)
    trained = {
        "trial": file.stem,
        "dataset": study.dataset,
        "fingerprint": manifest.fingerprints(folder).get(study.dataset),
        "held_out": study.held_out,
        "shaped": shaped,
    }
    earlier = origin(sweep.model.name, sweep.model.weights)
    return Origin((trained, *earlier.trained), earlier.known and known)


def seen(
    found: Origin, weights: str | None, dataset: DomainDataset, held_out: Sequence[str]
) -> list[str]:
    """A sentence for each training of the file that saw a held-out domain of the dataset.

    held_out: what its studies hold out, domains and sets.
    """
    sentences = []
    for each in found.trained:
        same = each["fingerprint"] == dataset.fingerprint
        if not same and (each["dataset"] != dataset.name or dataset.name == _FOLDERS):
            continue
        without, trial = str(each["held_out"]), each["trial"]
        domains = dict.fromkeys(domain for name in held_out for domain in members(name))
        saw = [domain for domain in domains if domain not in members(without)]
        if saw:
            sentences.append(
                f"model.weights: {weights} is of {trial}, which was trained on "
                f"{', '.join(saw)} of {dataset.name}, held out here"
            )
        elif each["shaped"]:
            sentences.append(
                f"model.weights: {weights} is of {trial}, which labels of {without} of "
                f"{dataset.name}, held out here, have shaped ({each['shaped'][0]})"
            )
    return sentences


def known_in_full(found: Origin, datasets: Sequence[DomainDataset]) -> bool:
    """Whether nothing is unknown: of users' own images, only equal ones can be told."""
    prints = {dataset.fingerprint for dataset in datasets if dataset.name == _FOLDERS}
    unclear = any(
        each["dataset"] == _FOLDERS and prints and each["fingerprint"] not in prints
        for each in found.trained
    )
    return found.known and not unclear
