"""How many trials share a GPU with `resources.gpu: auto`, decided by what trials measured.

Trials of one kind (a dataset, a model, an algorithm, and how many domains are held out, as their
batch has images of all others) begin with a GPU each. If twice as many fit into its memory, the
next ones get half of it, and so on, as long as the trials on a GPU together do more work in a
second than half as many did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from datasets.domain_dataset import members
from search.run import tables
from search.run.run_folder import RunFolder
from search.study.plan import StudyPlan, TrialSpec
from search.worker.trial_rows import Progress

if TYPE_CHECKING:
    import pandas as pd

MOST_TOGETHER = 8  # trials that share a GPU
FREE = 0.1  # of its memory that stays free, as neighbours do not all peak at once, or do
GAIN = 1.1  # how many times the work in a second twice as many trials must do

Kind = tuple[str, str, str, int]


@dataclass(frozen=True)
class Measured:
    """What one trial measured on its GPU.

    share: of a GPU, that it had. memory: the most of the GPU's memory that it took, a fraction.
    beside: what others held at that time, a fraction. speed: images a second, counted once for each
    forward and backward pass over them. batch: images per source domain and step.
    """

    share: float
    memory: float
    beside: float
    speed: float
    batch: int

    @property
    def together(self) -> int:
        """How many trials may share a GPU with it."""
        return max(round(1 / self.share), 1)

    @property
    def crowded(self) -> bool:
        """Whether most of its places beside it were taken, so that its speed is that of sharing."""
        return self.beside >= (self.together - 1) * self.memory / 2


@dataclass(frozen=True)
class Share:
    """The share of a GPU of the next trial of a kind, and why, for people."""

    share: float
    why: str


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
            for kind, known in measured_in(tables.read_trials(folder), batch_size).items()
        }
        self._begun: dict[str, tuple[float, float]] = {}  # seconds and passes of earlier attempts
        self._alone: set[str] = set()

    def of(self, spec: TrialSpec, before: Progress | None = None) -> float:
        """The share of a trial that is handed out now. before: its last report, if it goes on."""
        self._begun[spec.trial] = (before.seconds, before.passes) if before else (0.0, 0.0)
        if spec.trial in self._alone:
            return 1.0
        known = self._known.get(_kind(spec), {})
        return choose([*known.values()], _batch(spec)).share

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


def choose(measured: Sequence[Measured], batch: int) -> Share:
    """The share of a GPU for a trial with this batch size, by earlier trials of its kind.

    The memory of a larger batch than any before is taken to grow as the batch does, which is the
    most that it can.
    """
    if not measured:
        return Share(1.0, "the first trial is measured alone")
    memory = max(own.memory * max(batch / own.batch, 1.0) for own in measured)
    takes = f"takes {memory:.0%} of the memory"
    work: dict[int, float] = {}
    for count in {own.together for own in measured if own.crowded}:
        speeds = [own.speed for own in measured if own.together == count and own.crowded]
        work[count] = count * median(speeds)
    # Of trials that went on with another share than they began with, tables know the last alone.
    together = min(work, default=1)
    while together > 1 and together * memory > 1 - FREE:
        together //= 2
    while 2 * together <= MOST_TOGETHER and 2 * together * memory <= 1 - FREE:
        if together not in work:
            return Share(1 / together, f"{takes}; {together} at once are measured")
        if 2 * together not in work:
            return Share(1 / (2 * together), f"{takes}; {2 * together} at once are tried")
        if work[2 * together] < GAIN * work[together]:
            gain = work[2 * together] / work[together]
            return Share(
                1 / together,
                f"{takes}; {2 * together} at once are {gain:.2f} times as fast as {together}",
            )
        together *= 2
    if together == 1:
        return Share(1.0, f"{takes}, so that no two fit")
    faster = ""
    if {1, together} <= work.keys():
        gain = work[together] / work[1]
        faster = f"; {together} at once are {gain:.2f} times as fast as one"
    return Share(1 / together, takes + faster)


def measured_in(trials: pd.DataFrame, batch_size: int) -> dict[Kind, dict[str, Measured]]:
    """What the trials of a table measured, by their kind and name.

    batch_size: of trials without one in their setting. Trials that measured nothing are left out.
    """
    found: dict[Kind, dict[str, Measured]] = {}
    if "gpu_memory" not in trials:
        return found
    rows = trials[trials["gpu_memory"].notna() & (trials["seconds"] > 0) & (trials["passes"] > 0)]
    for row in rows.to_dict("records"):
        columns = (str(row[name]) for name in ("dataset", "model", "algorithm", "held_out"))
        found.setdefault(kind(*columns), {})[str(row["trial"])] = _measured(row, batch_size)
    return found


def _measured(row: Mapping[Any, Any], batch_size: int) -> Measured:
    import pandas as pd

    own = row.get("hp_batch_size")
    batch = batch_size if own is None or pd.isna(own) else int(own)
    speed = row["passes"] * batch / row["seconds"]
    return Measured(row["gpu"], row["gpu_memory"], row["gpu_beside"], speed, batch)


def kind(dataset: str, model: str, algorithm: str, held_out: str) -> Kind:
    """The kind of the trials of a study with these columns."""
    return dataset, model, algorithm, len(members(held_out))


def _kind(spec: TrialSpec) -> Kind:
    study = spec.study
    return kind(study.dataset, study.model, study.algorithm, study.held_out)


def _batch(spec: TrialSpec) -> int:
    return int(spec.values.get("batch_size", spec.plan.training.batch_size))
