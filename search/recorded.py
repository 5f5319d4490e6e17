"""What a run folder says of the sweep in it."""

from __future__ import annotations

from pathlib import Path

from search.config import Sweep
from search.errors import UserError
from search.load_config import load
from search.run_folder import SWEEP, RunFolder

JOURNAL = "optuna.journal"


def sweep_of(folder: RunFolder) -> Sweep:
    """The sweep that a run folder was launched with. Raises UserError if it cannot be read."""
    return load(folder.path(SWEEP))


def journal_of(folder: RunFolder) -> Path:
    """The Optuna journal of a run. Raises UserError for an object store."""
    if not folder.local:
        raise UserError(
            f"{folder.uri} is in an object store, where no journal can be kept; "
            "give a folder on a disk that the driver sees with --output"
        )
    return Path(folder.path(JOURNAL))
