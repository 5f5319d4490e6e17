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

    A trial that goes on with another share, as after it was frozen, is measured anew, and what it
    measured before stays. One that failed for a reason of its own, which may be that its
    neighbours took the memory, is alone on its GPU from then on.
    """

    def __init__(self, plans: Mapping[str, StudyPlan], folder: RunFolder) -> None:
        batch_size = next(iter(plans.values())).training.batch_size
        self._known = {
            kind: {(trial, own.share): own for trial, own in known.items()}
            for kind, known in packing.measured_in(tables.read_trials(folder), batch_size).items()
        }
        self._begun: dict[str, tuple[float, float]] = {}  # seconds and passes of earlier attempts
        self._alone: set[str] = set()

    def of(self, spec: TrialSpec, before: Progress | None = None) -> float:
        """The share of a trial that is handed out now. before: its last report, if it goes on."""
        self._begun[spec.trial] = (before.seconds, before.passes) if before else (0.0, 0.0)
        if spec.trial in self._alone:
            return 1.0
        known = self._known.get(_kind(spec), {})
        return packing.choose([*known.values()], _batch(spec)).share

    def report(self, spec: TrialSpec, progress: Progress) -> None:
        """Notes what a running trial measured so far."""
        memory, beside = progress.gpu_memory, progress.gpu_beside
        before = self._begun.get(spec.trial, (0.0, 0.0))
        if progress.passes < before[1]:  # it started over, as its checkpoint was not kept
            before = self._begun[spec.trial] = (0.0, 0.0)
        seconds, passes = progress.seconds - before[0], progress.passes - before[1]
        if progress.gpu and memory and beside is not None and seconds > 0 and passes > 0:
            batch = _batch(spec)
            own = Measured(progress.gpu, memory, beside, passes * batch / seconds, batch)
            self._known.setdefault(_kind(spec), {})[spec.trial, progress.gpu] = own

    def lost(self, spec: TrialSpec, counts: bool) -> None:
        """Notes that an attempt at a trial failed; counts: for a reason of its own."""
        if counts:
            self._alone.add(spec.trial)


def _kind(spec: TrialSpec) -> packing.Kind:
    study = spec.study
    return packing.kind(study.dataset, study.model, study.algorithm, study.held_out)


def _batch(spec: TrialSpec) -> int:
    return int(spec.values.get("batch_size", spec.plan.training.batch_size))
