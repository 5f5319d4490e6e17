"""What a run was made with: versions, code, hardware and data."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime, BaseModel

from datasets.domain_dataset import DomainDataset
from search.errors import SteppeError
from search.run.json_files import parse
from search.run.run_folder import MANIFEST, RunFolder
from search.sweep.schema import saw_held_out
from search.sweep.search_keys import Search

if TYPE_CHECKING:
    from models.checkpoints import Taken

CHECKOUT = Path(__file__).resolve().parents[2]

# How studies are named, and how they are searched; runs of earlier commits lack the keys.
STUDY_NAMES, SEARCH_RULES = "study_names", "search_rules"
RULES = 2  # the newest value of both

PACKAGES = (
    "numba",
    "numpy",
    "optuna",
    "pandas",
    "pillow",
    "pyarrow",
    "ray",
    "scikit-learn",
    "torch",
    "torchvision",
    # Optional:
    "open_clip_torch",
    "timm",
)


class _Session(BaseModel):
    started: AwareDatetime
    host: str
    cpus: int | None
    gpus: list[str]
    platform: str
    python: str
    packages: dict[str, str]
    commit: str | None
    notes: dict[str, list[str]] = {}


class _Weights(BaseModel):
    sha256: str
    saw_held_out: list[str] = []
    origin_known: bool = False


class _Manifest(BaseModel):
    """What a manifest must be, so that all who read it can. Other keys are for people."""

    datasets: dict[str, str]
    sessions: list[_Session]
    weights: _Weights | None = None
    study_names: int = RULES
    search_rules: int = RULES


def record(
    folder: RunFolder,
    datasets: Sequence[DomainDataset],
    saw_held_out: Sequence[str] = (),
    taken: Taken | None = None,
    weights_saw: Sequence[str] = (),
    weights_known: bool = True,
) -> None:
    """Writes the manifest; on a resume, adds a session to it, and datasets that are new to the run.

    saw_held_out: why settings of the run were shaped by labels of its held-out domains. taken: what
    its model takes from a file of weights. weights_saw: why that file saw a held-out domain.
    weights_known: whether all that it was trained on is known. Raises SteppeError if the manifest
    is damaged, or if the run was made with other data or weights under the same name.
    """
    weights = None if taken is None else _weights(taken)
    before = read(folder)
    known = {dataset.name: dataset.fingerprint for dataset in datasets}
    if before is None:
        before = {STUDY_NAMES: RULES, SEARCH_RULES: RULES, "sessions": []}
    else:
        known = {name: str(before["datasets"].get(name, now)) for name, now in known.items()}
    sessions = [*before["sessions"], session()]
    weights_before = before.get("weights")
    _check_same(folder, datasets, known, weights, weights_before)
    sessions[-1]["notes"] = {dataset.name: list(dataset.notes) for dataset in datasets}
    rules = {key: before[key] for key in (STUDY_NAMES, SEARCH_RULES) if key in before}
    manifest = {**rules, "datasets": known, "sessions": sessions}
    if weights is not None:
        # As it was found at the launch: the files that say it may have gone since. A run that
        # grows may hold out more.
        first = {"saw_held_out": list(weights_saw), "origin_known": weights_known}
        manifest["weights"] = weights | {
            key: (weights_before or first).get(key, value) for key, value in first.items()
        }
        saw = manifest["weights"]["saw_held_out"]
        weights_saw = [*saw, *(why for why in weights_saw if why not in saw)]
        manifest["weights"]["saw_held_out"] = weights_saw
    if saw_held_out or weights_saw:
        manifest["saw_held_out"] = [*saw_held_out, *weights_saw]
    folder.write_bytes(MANIFEST, json.dumps(manifest, indent=2).encode())


def _check_same(
    folder: RunFolder,
    datasets: Sequence[DomainDataset],
    known: Mapping[str, str],
    weights: Mapping[str, Any] | None,
    weights_before: Mapping[str, Any] | None,
) -> None:
    for dataset in datasets:
        before, now = known[dataset.name], dataset.fingerprint
        if before != now:
            raise SteppeError(
                f"{folder.uri} was made with other images of {dataset.name} (fingerprint "
                f"{before[:12]}, now {now[:12]}); put the old ones back or launch under another "
                "name"
            )
    if weights and weights_before and weights["sha256"] != weights_before["sha256"]:
        raise SteppeError(
            f"{folder.uri} was made with other weights in {weights['file']} (sha256 "
            f"{weights_before['sha256'][:12]}, now {weights['sha256'][:12]}); put the old file "
            "back or launch under another name"
        )


def in_earlier_run(folder: RunFolder) -> bool:
    """Whether the run was begun when studies with different names could share a file name."""
    return _lacks(folder, STUDY_NAMES)


def searches_as_before(folder: RunFolder) -> bool:
    """Whether the run was begun when each study drew settings of its own (see StudyPlan)."""
    return _lacks(folder, SEARCH_RULES)


def _lacks(folder: RunFolder, key: str) -> bool:
    manifest = read(folder)
    return manifest is not None and key not in manifest


def fingerprints(folder: RunFolder) -> dict[str, str]:
    """The fingerprint of each dataset that the run was made with; empty before it has begun."""
    return dict((read(folder) or {"datasets": {}})["datasets"])


def weights_digest(folder: RunFolder) -> str | None:
    """The sha256 of the weights file that the run was made with; None without one."""
    weights = (read(folder) or {}).get("weights")
    return None if weights is None else str(weights["sha256"])


def held_out_labels(folder: RunFolder, search: Search) -> tuple[list[str], bool]:
    """Why held-out labels shaped the run, and whether the origin of its weights is known.

    They may shape it by its search and by its file of weights; without one, the origin is known.
    """
    weights = (read(folder) or {}).get("weights") or {"origin_known": True}
    why = [*saw_held_out(search), *weights.get("saw_held_out", [])]
    return why, bool(weights.get("origin_known", False))


def packages(folder: RunFolder) -> dict[str, str]:
    """Package versions of the run's latest driver; empty before the run has begun."""
    manifest = read(folder)
    sessions = [] if manifest is None else manifest["sessions"]
    return dict(sessions[-1]["packages"]) if sessions else {}


def read(folder: RunFolder) -> dict[str, Any] | None:
    """The manifest; None before the run has begun.

    Raises SteppeError if it is damaged, or a newer version of Steppe began the run.
    """
    try:
        content = folder.read_bytes(MANIFEST)
        known = parse(content, _Manifest)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise SteppeError(
            f"{folder.path(MANIFEST)} is damaged: {error}; put a copy back, or begin a new run in "
            "another folder"
        ) from error
    if max(known.study_names, known.search_rules) > RULES:
        raise SteppeError(
            f"{folder.path(MANIFEST)} is of a newer Steppe ({STUDY_NAMES} {known.study_names}, "
            f"{SEARCH_RULES} {known.search_rules}; this one knows {RULES}): update Steppe"
        )
    manifest: dict[str, Any] = json.loads(content)
    return manifest


def sha256(file: Path) -> str:
    """The sha256 of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def session() -> dict[str, Any]:
    """The time, host, hardware and software of this process."""
    import torch

    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "cpus": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": versions(),
        "commit": _commit(),
    }


def _weights(taken: Taken) -> dict[str, Any]:
    return {
        "file": str(taken.file),
        "sha256": sha256(taken.file),
        "under": taken.under,
        "wrappers": list(taken.wrappers),
        "left_out": dict(taken.left_out),
        "converted": dict(taken.converted),
    }


@cache
def versions() -> dict[str, str]:
    """Version by name of the packages installed here."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _commit() -> str | None:
    """The checkout's commit, with `+changes` if files differ; None if git does not know it."""
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit}+changes" if _git("status", "--porcelain") else commit
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(CHECKOUT), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
