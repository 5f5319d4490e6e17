"""One trial again, from the run's sweep.yaml and tables alone."""

from __future__ import annotations

from dataclasses import replace

from search.checks.open_datasets import open_dataset
from search.reproduce import surroundings
from search.reproduce.agreement import Agreement, compare
from search.reproduce.recorded_trial import RecordedTrial, ended_run
from search.reproduce.repeat import Repeated, repeat


def rerun(run: str, name: str) -> bool:
    """Repeats a trial, prints whether its numbers agree with those of the tables; True if so.

    Nothing in the run is changed. Raises SteppeError if there is no such trial, or if it cannot be
    repeated here.
    """
    ended = ended_run(run)
    trial = ended.trial(ended.full_name(name))
    dataset = open_dataset(trial.plan.dataset)
    print(f"{trial.name}: {trial.row['state']}, {settings(trial)}")
    for line in surroundings.differences(ended.folder, trial, dataset):
        print(f"Not as it was: {line}")
    agreement = judged(trial, repeat(trial, dataset))
    print("\n".join(agreement.sentences()))
    return agreement.whole


def judged(trial: RecordedTrial, repeated: Repeated) -> Agreement:
    """The numbers compared, and how it ended."""
    agreement = compare(trial.evaluations, repeated.evaluations)
    state = trial.row["state"]
    if repeated.state in (None, state):
        return agreement
    return replace(agreement, end=f"It ended as {state}, and as {repeated.state} here.")


def settings(trial: RecordedTrial) -> str:
    return ", ".join(f"{key} {value}" for key, value in trial.spec.values.items())
