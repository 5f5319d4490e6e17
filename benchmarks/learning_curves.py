"""Learning curves of training runs, each trained once and kept in a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

from datasets.domain_dataset import DomainDataset
from search.sweep.objectives import TRAINING_DOMAIN
from training.evaluation import Evaluation
from training.run import Run
from training.train import train


@dataclass(frozen=True)
class Curve:
    """One run of full length: the columns have an entry for each evaluation.

    passes: spent until then; validation: mean accuracy of the source domains' out splits; held_out:
    accuracy of the held-out domain's in split. spent: passes in all. diverged: why the run ended
    early, or nothing. images: that validation is measured on.
    """

    steps: tuple[int, ...]
    passes: tuple[float, ...]
    validation: tuple[float, ...]
    held_out: tuple[float, ...]
    spent: float
    diverged: str
    images: int


class Curves:
    """What has been trained, by study and setting; in `file`, a line each, if there is one."""

    def __init__(self, dataset: DomainDataset, file: Path | None = None) -> None:
        self._dataset = dataset
        self.file = file
        self._known: dict[str, dict[str, Curve]] = {}
        self.trained = 0
        if file is not None and file.exists():
            # A line that was cut off is trained again.
            whole = file.read_text().rpartition("\n")[0]
            file.write_text(whole + "\n" if whole else "")
            for study, setting, columns in map(json.loads, whole.splitlines()):
                columns = {k: tuple(v) if isinstance(v, list) else v for k, v in columns.items()}
                self._known.setdefault(study, {})[setting] = Curve(**columns)

    def of(self, run: Run) -> Curve:
        """The curve of a run: a training is deterministic, so one that is known is not repeated."""
        study, setting = _key(run)
        known = self._known.setdefault(study, {})
        if setting not in known:
            known[setting] = trained(run, self._dataset)
            self.trained += 1
            if self.file is not None:
                with self.file.open("a") as stream:
                    line = json.dumps([study, setting, asdict(known[setting])])
                    stream.write(line + "\n")
        return known[setting]

    def best(self, run: Run) -> float:
        """The best validation that any known setting of the run's study has come to."""
        known = self._known[_key(run)[0]].values()
        return max(max(curve.validation) for curve in known if curve.validation)


def trained(run: Run, dataset: DomainDataset) -> Curve:
    run = replace(run, evaluations="all", deterministic=True)
    result = train(run, dataset, lambda evaluation: None)
    found = result.evaluations
    return Curve(
        tuple(evaluation.step for evaluation in found),
        tuple(evaluation.passes for evaluation in found),
        tuple(evaluation.validation for evaluation in found),
        tuple(_held_out(evaluation) for evaluation in found),
        result.passes,
        result.reason,
        TRAINING_DOMAIN.images(found[0]) if found else 0,
    )


def _held_out(evaluation: Evaluation) -> float:
    scores = evaluation.scores
    return fmean(s.accuracy for s in scores if (s.role, s.split) == ("held_out", "in"))


def _key(run: Run) -> tuple[str, str]:
    """A run's study, and its setting in it."""
    study = run.as_dict()
    setting = study.pop("hyperparameters")
    return json.dumps(study, sort_keys=True), json.dumps(setting, sort_keys=True)
