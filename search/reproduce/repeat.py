"""A recorded trial, trained again in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from datasets.domain_dataset import DomainDataset
from search.errors import SteppeError
from search.reproduce.recorded_trial import RecordedTrial
from search.screen import console
from search.sweep.objectives import preference
from training.evaluation import Evaluation
from training.train import train

# Of these the run's own end is repeated; others were stopped from outside.
TO_THE_END = ("completed", "diverged")


@dataclass(frozen=True)
class Repeated:
    """state: completed or diverged; None where the repetition ended where the trial was stopped.
    weights: those that were asked for."""

    evaluations: tuple[Evaluation, ...]
    state: str | None
    weights: dict[str, Tensor] | None = None


class _Reached(Exception):
    """The step that the trial was stopped at."""


def repeat(trial: RecordedTrial, dataset: DomainDataset, keep: str | int = "none") -> Repeated:
    """Trains as the trial did, up to where it came; `keep` is that of `train`.

    Raises SteppeError if there is nothing to repeat, or if this machine cannot do it.
    """
    run = trial.spec.run
    last = trial.evaluations["step"].max()
    in_a_fold = trial.plan.makes_folds
    to_the_end = trial.row["state"] in TO_THE_END
    if trial.evaluations.empty and (in_a_fold or not to_the_end):
        own = "its own run, and folds are not repeated" if in_a_fold else "an evaluation"
        raise SteppeError(
            f"{trial.name} never came to {own} ({trial.row['state']}: {trial.row['reason']})"
        )
    best = trial.row["best_step"]
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
    """As many as its worker had: sums depend on how they are shared out."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(int(trial.plan.resources.cpu), 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _bar(what: str, steps: int) -> Iterator[Callable[[], bool]]:
    """A progress bar over the steps; what it gives is to be called before each, and is False."""
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
