"""Trains a recorded trial again, in this process, from the run's sweep.yaml and tables alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from datasets.domain_dataset import DomainDataset
from search.checks.open_datasets import open_dataset
from search.errors import SteppeError
from search.reproduce.differences import changes, compare
from search.reproduce.recorded_trial import RecordedTrial, ended_run
from search.run.run_folder import RunFolder
from search.run.shared_runs import read_start
from search.screen import console
from search.sweep.objectives import preference
from training.evaluation import Evaluation
from training.train import train

# States in which a run ended by itself; in others it was stopped from outside.
ENDED_BY_ITSELF = ("completed", "diverged")


@dataclass(frozen=True)
class Repeated:
    """What a repetition of a trial came to.

    state: completed or diverged; None if it was stopped where the trial had been. weights: those
    that were asked for.
    """

    evaluations: tuple[Evaluation, ...]
    state: str | None
    weights: dict[str, Tensor] | None = None


class _Reached(Exception):
    """The repetition has come to the step that the trial was stopped at."""


def rerun(run: str, name: str, root: Path | None = None) -> bool:
    """Repeats a trial and prints whether its numbers are those of the tables; True if so.

    root: where its images lie now, if they have moved. Nothing in the run is changed.

    Raises SteppeError if there is no such trial, or if it cannot be repeated here.
    """
    ended = ended_run(run, root)
    trial = ended.trial(ended.full_name(name))
    dataset = open_dataset(trial.plan.dataset)
    print(f"{trial.name}: {trial.row['state']}, {trial.settings}")
    for line in changes(ended.folder, trial, dataset):
        print(f"Not as it was: {line}")
    repeated = repeat(ended.folder, trial, dataset)
    agreement = compare(trial, repeated.evaluations, repeated.state)
    print("\n".join(agreement.sentences()))
    return agreement.agrees


def repeat(
    folder: RunFolder, trial: RecordedTrial, dataset: DomainDataset, keep: str | int = "none"
) -> Repeated:
    """Trains as the trial did, up to its last step. keep: as of `train`.

    folder: of the run, where the trial's start is, if its classifier was trained alone before.

    Raises SteppeError if there is nothing to repeat, or if this machine cannot do it.
    """
    run = trial.spec.run
    last = trial.evaluations["step"].max()
    in_a_fold = trial.plan.makes_folds
    to_the_end = trial.row["state"] in ENDED_BY_ITSELF
    if trial.evaluations.empty and (in_a_fold or not to_the_end):
        own = "its own run, and folds are not repeated" if in_a_fold else "an evaluation"
        raise SteppeError(
            f"{trial.name} never came to {own} ({trial.row['state']}: {trial.row['reason']})"
        )
    best = trial.row["best_step"]
    known = read_start(folder, run)
    found: list[Evaluation] = []

    def report(evaluation: Evaluation) -> None:
        found.append(evaluation)
        if not to_the_end and evaluation.step >= last:
            raise _Reached

    with _threads(trial), _bar(trial.name, run.steps if to_the_end else int(last)) as advance:
        try:
            result = train(
                run,
                dataset,
                report,
                leaving=advance,
                start=None if known is None else known[1],
                keep=keep,  # type: ignore[arg-type]
                held_out_at=None if best is None or trial.averaged else int(best),
                prefers=preference(trial.plan.search.objectives),
            )
        except _Reached:
            return Repeated(tuple(found), None)
        except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
            where = trial.row["device"] or run.device
            raise SteppeError(
                f"{trial.name}, which was trained on {where}, cannot be repeated here: {error}"
            ) from error
    return Repeated(result.evaluations, result.state, result.weights)


@contextmanager
def _threads(trial: RecordedTrial) -> Iterator[None]:
    """As many threads as the trial's worker had, since sums depend on how they are divided."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(int(trial.plan.resources.cpu), 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _bar(what: str, steps: int) -> Iterator[Callable[[], bool]]:
    """A progress bar over the steps. Call what it gives before each step; it returns False."""
    screen = console()
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
    if not screen.is_terminal:
        print(f"{what}: training {steps} steps", flush=True)
    with bar:
        task = bar.add_task(what, total=steps)

        def advance() -> bool:
            bar.advance(task)
            return False

        yield advance
