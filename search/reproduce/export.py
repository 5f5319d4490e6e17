"""A trial's selected model as files, for use in plain PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from datasets.domain_dataset import DomainDataset
from search.checks.open_datasets import open_dataset
from search.errors import SteppeError
from search.reproduce.differences import changes, compare
from search.reproduce.model_files import Model, card, place_of, write_model
from search.reproduce.recorded_trial import EndedRun, RecordedTrial, ended_run
from search.reproduce.rerun import repeat
from search.results.loading import DEFAULT_METHOD, main_method
from search.results.selection import over_seeds_of, rule_of, select
from search.run.checkpoints import read_weights
from search.run.run_folder import RunFolder


@dataclass(frozen=True)
class Selected:
    """A trial, and its step that a selection method chooses."""

    trial: RecordedTrial
    step: int
    method: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The evaluations of these weights.

        The validation of retrained ones is not among them: it is that of the first stage.
        """
        table, weights = self.trial.evaluations, self.trial.result
        chosen = table[(table["step"] == self.step) & (table["weights"] == weights)]
        if weights == "retrained":
            chosen = chosen[chosen["role"] != "source"]
        return [
            {str(key): value for key, value in row.items()} for row in chosen.to_dict("records")
        ]


def export(
    run: str,
    name: str | None,
    method: str | None,
    output: Path | None,
    predicted: bool,
    root: Path | None = None,
) -> bool:
    """Writes a model and what builds it; True if its accuracy is the table's.

    run: folder or URI. name: a trial, or a study, whose winner is taken; None: the winner of the
    run's only study. method: the selection method, which also chooses the step; None: that of the
    search's objective. output: the folder to write; None: `exported/TRIAL`. predicted: whether the
    predictions of all samples are written too. root: where its images lie now, if they have moved.

    Raises SteppeError if nothing can be chosen, or the model cannot be made or written.
    """
    rule_of(method or DEFAULT_METHOD)  # before anything is read
    ended = ended_run(run, root)
    method = method or main_method([ended.sweep])
    chosen = _selected(ended, name, method)
    trial = chosen.trial
    place = place_of(trial.name, output)
    dataset = open_dataset(trial.plan.dataset)
    print(f"{trial.name}, step {chosen.step} by {method}: {trial.settings}")
    for line in changes(ended.folder, trial, dataset):
        print(f"Not as it was: {line}")
    state, agrees = _weights(ended.folder, chosen, dataset)
    about = _about(ended.folder, chosen, dataset)
    model = Model(trial.name, chosen.step, trial.spec.run, trial.plan, chosen.rows, about)
    return write_model(place, model, dataset, state, predicted) and agrees


def _selected(ended: EndedRun, name: str | None, method: str) -> Selected:
    """Raises SteppeError, with the reason, if the method chooses none."""
    trials, evaluations = ended.trials, ended.evaluations
    if name is None:
        studies = list(dict.fromkeys(trials["study"]))
        if len(studies) > 1:
            raise SteppeError(
                f"{ended.folder.uri} has {len(studies)} studies; name one, such as "
                f"{studies[0]}, or a trial"
            )
        name = studies[0]
    else:
        name = ended.full_name(name, ("study", "trial"))
    if name in set(trials["trial"]):
        trials = trials[trials["trial"] == name]
        evaluations = evaluations[evaluations["trial"] == name]
    over_seeds = over_seeds_of({ended.sweep.name: ended.sweep})
    found = select(trials, evaluations, [method], over_seeds=over_seeds)
    row = found[(found["study"] == name) | (found["trial"] == name)]
    winner = None if row.empty else row.iloc[0]
    if winner is None or not isinstance(winner["trial"], str):
        reason = (found if winner is None else row).iloc[0]["reason"]
        raise SteppeError(f"{method} chooses nothing in {name}: {reason}")
    return Selected(ended.trial(winner["trial"]), int(winner["step"]), method)


def _weights(
    folder: RunFolder, chosen: Selected, dataset: DomainDataset
) -> tuple[dict[str, Tensor], bool]:
    """The chosen weights: kept by the run, or else of a repetition.

    Also returns whether the repetition has the numbers of the tables.
    """
    if _kept(chosen):
        try:
            state = read_weights(folder, chosen.trial.name)
            print("Weights: those that the run has kept")
            return state, True
        except FileNotFoundError:
            pass
        except SafetensorError as error:
            print(f"The kept weights are damaged ({error})")
    repeated = repeat(
        folder, chosen.trial, dataset, "best" if chosen.trial.averaged else chosen.step
    )
    agreement = compare(chosen.trial, repeated.evaluations, repeated.state)
    print("\n".join(["Weights: trained again", *agreement.sentences()]))
    if repeated.weights is None:
        raise SteppeError(f"{chosen.trial.name} diverged here, so there is no model to export")
    return repeated.weights, agreement.agrees


def _kept(chosen: Selected) -> bool:
    """Whether search.keep_weights keeps the weights of this step."""
    trial, kept = chosen.trial, chosen.trial.plan.search.keep_weights
    if kept == "last":
        return bool(chosen.step == trial.evaluations["step"].max()) and not trial.averaged
    return kept != "none" and bool(chosen.step == trial.row["best_step"])


def _about(folder: RunFolder, chosen: Selected, dataset: DomainDataset) -> dict[str, Any]:
    """Where the model comes from, for its card."""
    trial = chosen.trial
    study = trial.spec.study
    numbers = ("domain", "role", "split", "accuracy", "loss", "count")
    trained = {
        "trial": trial.name,
        **{name: getattr(study, name) for name in ("dataset", "algorithm", "held_out", "seed")},
        "fingerprint": dataset.fingerprint,
        "tuning": trial.spec.run.tuning,
        "method": chosen.method,
        "step": chosen.step,
        "weights": trial.result,
        "hyperparameters": dict(trial.spec.values),
    }
    scores = [{name: row[name] for name in numbers} for row in chosen.rows]
    return card(folder, trial.plan, trial.spec.run, trained, scores)
