"""TensorBoard, MLflow and Weights & Biases, through Ray Tune's own loggers.

Each logger gets trials under Steppe's names, with their hyperparameters, study and objective.
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

from search.errors import SteppeError
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
    """The attributes of a trial that Ray's loggers read.

    trial_id: the same for all attempts at the trial, and unique over runs. place: an absolute
    folder on this machine. step: of the last report that was sent.
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
        """Creates the trial's folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Tracker:
    """A tracker of a sweep.

    logger: makes Ray's logger, in the thread that calls it. sentence: where the user looks.
    trial_place: the folder that the logger writes to, by the name of a trial.
    """

    name: str
    logger: Callable[[], LoggerCallback]
    sentence: str
    trial_place: Callable[[str], Path]


def require(names: tuple[str, ...]) -> None:
    """Raises SteppeError if a tracker's library is not installed."""
    for name in names:
        library, extra = NEEDS[name]
        if find_spec(library) is None:
            raise SteppeError(
                f"track: {name} needs {library}, which is not installed: pip install '.[{extra}]'"
            )


def trackers(names: Sequence[str], sweep: str, folder: RunFolder) -> list[Tracker]:
    """The trackers of these names, for a sweep. Nothing is written or connected yet."""
    # Trackers cannot write to an object store, so their files stay on this machine.
    place = Path(folder.root) if folder.local else Path("runs").absolute() / sweep
    return [_TRACKERS[name](sweep, place) for name in names]


def run_id(folder: RunFolder) -> str:
    """An id of a run, which another run of the same name does not have."""
    first = json.loads(folder.read_bytes(MANIFEST))["sessions"][0]
    return hashlib.sha256(json.dumps(first).encode()).hexdigest()


def metrics(progress: Progress) -> dict[str, Any]:
    """The metrics of a report; none of them was measured on the held-out domain."""
    second = {} if progress.second is None else {"objective_2": progress.second}
    return {
        "training_iteration": progress.step,  # the loggers' name of the step
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
            """Writes each attempt over the one before."""

            def log_trial_start(self, trial: Any) -> None:
                """Starts a trial's log over, as a resumed trial repeats its reports."""
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
            """Continues the MLflow run of an earlier attempt."""

            def log_trial_start(self, trial: Any) -> None:
                """Finds the trial's MLflow run, or starts one."""
                self.tags = {"steppe": trial.trial_id, **trial.study}
                client = self.mlflow_util._get_client()
                known = client.search_runs(
                    [self.mlflow_util.experiment_id], f"tags.steppe = '{trial.trial_id}'"
                )
                if known:  # from before a resume
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
        if "WANDB_MODE" in os.environ:  # workers may lack the variable
            given = {**given, "mode": os.environ["WANDB_MODE"]}
        return WandbLoggerCallback(
            project=project, group=sweep, upload_timeout=UPLOAD_SECONDS, **given
        )

    where = f"wandb, project {project}, group {sweep}"
    return Tracker("wandb", logger, where, lambda trial: place)


_TRACKERS = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
