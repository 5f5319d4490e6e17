"""What a run folder says of the sweep in it."""

from __future__ import annotations

from search import yaml_file
from search.checks.load_sweep import checked
from search.run.manifest import in_earlier_run
from search.run.run_folder import SWEEP, RunFolder
from search.sweep.schema import Sweep


def sweep_of(folder: RunFolder) -> Sweep:
    """The sweep that a run folder was launched with. Raises SteppeError if it cannot be read."""
    source = folder.path(SWEEP)
    sweep = checked(
        yaml_file.parse(folder.read_bytes(SWEEP), source, yaml_file.UnquotedLoader), source
    )
    return named_as_in(folder, sweep)


def named_as_in(folder: RunFolder, sweep: Sweep) -> Sweep:
    """The sweep, whose studies have the names that those of the run have."""
    return sweep.of_earlier_run() if in_earlier_run(folder) else sweep
