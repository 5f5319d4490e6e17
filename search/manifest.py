"""What a run was made with: versions, code, hardware and data."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from datasets.domain_dataset import DomainDataset
from search.cluster import CHECKOUT
from search.errors import UserError
from search.run_folder import MANIFEST, RunFolder

PACKAGES = (
    "numpy",
    "optuna",
    "pandas",
    "pillow",
    "pyarrow",
    "ray",
    "scikit-learn",
    "torch",
    "torchvision",
)


def record(folder: RunFolder, dataset: DomainDataset) -> None:
    """Writes the manifest, or adds a session to it when a run is taken up again.

    Raises UserError if the run was made with other data under the same name.
    """
    try:
        manifest = json.loads(folder.read_bytes(MANIFEST))
        known = str(manifest["datasets"][dataset.name])
        sessions = [*manifest["sessions"], session()]
    except FileNotFoundError:
        known, sessions = dataset.fingerprint, [session()]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder.path(MANIFEST)} is damaged: {error!r}; put a copy back, or begin a new run "
            "in another folder"
        ) from error
    if known != dataset.fingerprint:
        raise UserError(
            f"{folder.uri} was made with other images of {dataset.name} (fingerprint {known[:12]}, "
            f"now {dataset.fingerprint[:12]}); put the old ones back or launch under another name"
        )
    sessions[-1]["notes"] = list(dataset.notes)
    manifest = {"datasets": {dataset.name: known}, "sessions": sessions}
    folder.write_bytes(MANIFEST, json.dumps(manifest, indent=2).encode())


def session() -> dict[str, Any]:
    """This process's place and time."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "cpus": os.cpu_count(),
        "gpus": _gpus(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "commit": _commit(),
    }


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
