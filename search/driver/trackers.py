"""TensorBoard, MLflow and Weights & Biases, through Ray Tune's own loggers.

Each logger is given trials under Steppe's names, with their hyperparameters, study and objective.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import UserError
from search.run.run_folder import MANIFEST, RunFolder
from search.study.plan import TrialSpec
from search.worker.trial_rows import Progress

if TYPE_CHECKING:
    from ray.tune.logger import LoggerCallback

# tracker -> the library it needs, and Steppe's extra that installs it
NEEDS = {
    "tensorboard": ("tensorboardX", "tensorboard"),
    "mlflow": ("mlflow", "mlflow"),
    "wandb": ("wandb", "wandb"),
}
UPLOAD_SECONDS = 45


class TrackedTrial:
    """What Ray's loggers ask of a trial.

    trial_id: the same whenever the trial is carried out, and of no trial of another run. place: an
    absolute folder on this machine. step: the last that was told.
    """

    def __init__(self, spec: TrialSpec, run_id: str, place: Path) -> None:
        key = f"{run_id} {spec.trial}"
        self.name = spec.trial
        self.trial_id = hashlib.sha256(key.encode()).hexdigest()[:16]
        self.study = {**spec.plan.columns, "number": spec.number}
        self.values = dict(spec.values)
        self.config: dict[str, Any] = {**self.study, **self.values}
        self.evaluated_params = self.config
        self.experiment_dir_name = spec.plan.sweep
        self.local_path = str(place)
        self.step = 0

    def init_local_path(self) -> None:
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Tracker:
    """logger: made when it is first needed, in the thread that talks to it. sentence: where to
    look. trial_place: where the logger writes what belongs to a trial of this name."""

    name: str
    logger: Callable[[], LoggerCallback]
    sentence: str
    trial_place: Callable[[str], Path]


def require(names: tuple[str, ...]) -> None:
    """Raises UserError if a tracker's library is not installed."""
    for name in names:
        library, extra = NEEDS[name]
        if find_spec(library) is None:
            raise UserError(
                f"track: {name} needs {library}, which is not installed: pip install '.[{extra}]'"
            )


def trackers(names: Sequence[str], sweep: str, folder: RunFolder) -> list[Tracker]:
    """Those of these names, for a sweep. Nothing is written or connected yet."""
    # What trackers write on the way cannot go to an object store: it lies here.
    place = Path(folder.root) if folder.local else Path("runs").absolute() / sweep
    return [_TRACKERS[name](sweep, place) for name in names]


def run_id(folder: RunFolder) -> str:
    """What tells a run from another of the same name: the manifest's first session."""
    first = json.loads(folder.read_bytes(MANIFEST))["sessions"][0]
    return hashlib.sha256(json.dumps(first).encode()).hexdigest()


def metrics(progress: Progress) -> dict[str, Any]:
    """What is told of an evaluation; nothing in it was measured on the held-out domain."""
    second = {} if progress.second is None else {"objective_2": progress.second}
    return {
        "training_iteration": progress.step,  # what the loggers take for the step
        "objective": progress.value,
        **second,
        "best_step": progress.best_step,
        "seconds": progress.seconds,
        "passes": progress.passes,
    }


def _tensorboard(sweep: str, place: Path) -> Tracker:
    def logger() -> LoggerCallback:
        from ray.tune.logger import TBXLoggerCallback

        class Logger(TBXLoggerCallback):
            def log_trial_start(self, trial: Any) -> None:
                # A trial that is resumed tells everything again.
                shutil.rmtree(trial.local_path, ignore_errors=True)
                super().log_trial_start(trial)

        return Logger()  # type: ignore[no-untyped-call]

    own = place / "tensorboard"
    return Tracker("tensorboard", logger, f"tensorboard --logdir {own}", own.joinpath)


def _mlflow(sweep: str, place: Path) -> Tracker:
    here = f"sqlite:///{place / 'mlflow.db'}"
    given = os.environ.get("MLFLOW_TRACKING_URI")

    def logger() -> LoggerCallback:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        for noisy in ("mlflow", "alembic", "urllib3"):
            logging.getLogger(noisy).setLevel(logging.ERROR)

        class Logger(MLflowLoggerCallback):
            def log_trial_start(self, trial: Any) -> None:
                self.tags = {"steppe": trial.trial_id, **trial.study}
                client = self.mlflow_util._get_client()
                known = client.search_runs(
                    [self.mlflow_util.experiment_id], f"tags.steppe = '{trial.trial_id}'"
                )
                if known:  # before a resume
                    self._trial_runs[trial] = known[0].info.run_id
                    trial.step = int(known[0].data.metrics.get("training_iteration", 0))
                trial.config = trial.values
                super().log_trial_start(trial)

        place.mkdir(parents=True, exist_ok=True)
        return Logger(tracking_uri=given or here, experiment_name=sweep)

    # The address may hold a password.
    where = "mlflow, at MLFLOW_TRACKING_URI" if given else f"mlflow ui --backend-store-uri {here}"
    return Tracker("mlflow", logger, where, lambda trial: place)


def _wandb(sweep: str, place: Path) -> Tracker:
    project = os.environ.get("WANDB_PROJECT", "steppe")

    def logger() -> LoggerCallback:
        from ray.air.integrations.wandb import WandbLoggerCallback

        place.mkdir(parents=True, exist_ok=True)
        given: Mapping[str, Any] = {"dir": str(place), "resume": "allow"}
        if "WANDB_MODE" in os.environ:  # which a cluster's nodes need not know
            given = {**given, "mode": os.environ["WANDB_MODE"]}
        return WandbLoggerCallback(
            project=project, group=sweep, upload_timeout=UPLOAD_SECONDS, **given
        )

    where = f"wandb, project {project}, group {sweep}"
    return Tracker("wandb", logger, where, lambda trial: place)


_TRACKERS = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
