"""What a run was made with: versions, code, hardware and data."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets.domain_dataset import DomainDataset
from search.errors import SteppeError
from search.run.run_folder import MANIFEST, RunFolder

if TYPE_CHECKING:
    from models.checkpoints import Taken

CHECKOUT = Path(__file__).resolve().parents[2]

STUDY_NAMES = "study_names"  # how studies are named; runs of earlier commits lack the key

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
    # Where they are installed:
    "open_clip_torch",
    "timm",
)


def record(
    folder: RunFolder,
    datasets: Sequence[DomainDataset],
    saw_held_out: Sequence[str] = (),
    taken: Taken | None = None,
) -> None:
    """Writes the manifest, or adds a session to it when a run is taken up again.

    saw_held_out: why settings of the run were shaped by labels of its held-out domains.
    taken: what its model takes of a file of weights.

    Raises SteppeError if the run was made with other data or weights under the same name.
    """
    weights = None if taken is None else _weights(taken)
    try:
        manifest: dict[str, Any] = json.loads(folder.read_bytes(MANIFEST))
        known = {dataset.name: str(manifest["datasets"][dataset.name]) for dataset in datasets}
        sessions = [*manifest["sessions"], session()]
        weights_before = manifest.get("weights")
    except FileNotFoundError:
        known = {dataset.name: dataset.fingerprint for dataset in datasets}
        sessions = [session()]
        weights_before = None
        manifest = {STUDY_NAMES: 2}
    except (ValueError, KeyError, TypeError) as error:
        raise SteppeError(
            f"{folder.path(MANIFEST)} is damaged: {error!r}; put a copy back, or begin a new run "
            "in another folder"
        ) from error
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
    sessions[-1]["notes"] = {dataset.name: list(dataset.notes) for dataset in datasets}
    names = {key: manifest[key] for key in (STUDY_NAMES,) if key in manifest}
    manifest = {**names, "datasets": known, "sessions": sessions}
    if saw_held_out:
        manifest["saw_held_out"] = list(saw_held_out)
    if weights is not None:
        manifest["weights"] = weights
    folder.write_bytes(MANIFEST, json.dumps(manifest, indent=2).encode())


def in_earlier_run(folder: RunFolder) -> bool:
    """Whether a run was begun when studies with different names could have one file name."""
    try:
        return STUDY_NAMES not in json.loads(folder.read_bytes(MANIFEST))
    except (FileNotFoundError, ValueError, TypeError):
        return False  # not begun, or damaged, which is said elsewhere


def fingerprints(folder: RunFolder) -> dict[str, str]:
    """Those of the images that a run was made with, by dataset; none before it has begun."""
    try:
        return dict(json.loads(folder.read_bytes(MANIFEST))["datasets"])
    except FileNotFoundError:
        return {}


def weights_digest(folder: RunFolder) -> str | None:
    """The sha256 of the file of weights that a run was made with; None without one."""
    try:
        weights = json.loads(folder.read_bytes(MANIFEST)).get("weights")
    except FileNotFoundError:
        return None
    return None if weights is None else str(weights["sha256"])


def sha256(file: Path) -> str:
    """Of a file's bytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def packages(folder: RunFolder) -> dict[str, str]:
    """Versions by package that the run's latest driver has; none before it has begun."""
    try:
        return dict(json.loads(folder.read_bytes(MANIFEST))["sessions"][-1]["packages"])
    except FileNotFoundError:
        return {}


def session() -> dict[str, Any]:
    """This process's place and time."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "cpus": os.cpu_count(),
        "gpus": _gpus(),
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


def versions() -> dict[str, str]:
    """Those of the packages of this process, by name; what is not installed is left out."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _commit() -> str | None:
    """The checkout's commit, `+changes` behind it if files differ; None if git cannot say."""
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
