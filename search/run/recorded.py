"""What a run folder says of the sweep in it."""

from __future__ import annotations

from search import yaml_file
from search.config import Sweep
from search.config.load_config import checked
from search.run.run_folder import SWEEP, RunFolder


def sweep_of(folder: RunFolder) -> Sweep:
    """The sweep that a run folder was launched with. Raises UserError if it cannot be read."""
    source = folder.path(SWEEP)
    return checked(yaml_file.parse(folder.read_bytes(SWEEP), source), source)
