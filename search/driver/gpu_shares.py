"""With `resources.gpu: auto`, which share of a GPU each trial gets: what trials have measured."""

from __future__ import annotations

from collections.abc import Mapping

from search.run import tables
from search.run.run_folder import RunFolder
from search.study import packing
from search.study.packing import Measured
from search.study.plan import StudyPlan, TrialSpec
from search.worker.trial_rows import Progress


class GpuShares:
    """The measurements of a run's trials, ended or not, and the shares that follow from them.

    A trial that failed for a reason of its own, which may be that its neighbours took the memory,
    is alone on its GPU from then on.
    """

    def __init__(self, plans: Mapping[str, StudyPlan], folder: RunFolder) -> None:
        batch_size = next(iter(plans.values())).training.batch_size
        self._known = packing.measured_in(tables.read_trials(folder), batch_size)
        self._alone: set[str] = set()

    def of(self, spec: TrialSpec) -> float:
        """The share of a trial that is handed out now."""
        if spec.trial in self._alone:
            return 1.0
        known = self._known.get(_kind(spec), {})
        return packing.choose([*known.values()], _batch(spec)).share

    def report(self, spec: TrialSpec, progress: Progress) -> None:
        """Notes what a running trial measured so far."""
        memory, beside = progress.gpu_memory, progress.gpu_beside
        if progress.gpu and memory and beside is not None and progress.seconds and progress.passes:
            self._known.setdefault(_kind(spec), {})[spec.trial] = Measured(
                progress.gpu,
                memory,
                beside,
                progress.passes * _batch(spec) / progress.seconds,
                _batch(spec),
            )

    def lost(self, spec: TrialSpec, counts: bool) -> None:
        """Notes that an attempt at a trial failed; counts: for a reason of its own."""
        if counts:
            self._alone.add(spec.trial)


def _kind(spec: TrialSpec) -> packing.Kind:
    study = spec.study
    return packing.kind(study.dataset, study.model, study.algorithm, study.held_out)


def _batch(spec: TrialSpec) -> int:
    return int(spec.values.get("batch_size", spec.plan.training.batch_size))
