"""The variables by which Ray is told what cannot be told otherwise.

Read before Ray is imported, so this module imports next to nothing.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

# Read when ray is imported or a worker starts; a variable that the user has set is kept.
ENVIRONMENT = {
    # The old output engine can be silenced completely.
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Skip every line: what a daemon says of a dead worker is in the trial's reason too.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # The driver has a handler of its own.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Everything is in the storage and the tables; snapshots of Tune's state only cost time.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    # The searcher itself hands out only as many trials as there are free slots.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    # With less, a reused worker that is still writing its last rows hangs the sweep.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "300",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # Tune gives its actors an environment of their own, so none takes a worker that is there.
    "RAY_prestart_worker_first_driver": "0",
}

# A cluster that only this sweep uses. Ray reads the first when it is imported: nodes then talk over
# 127.0.0.1, so nobody reaches them from another machine. The token keeps other users of this
# machine out; Ray would write one that everybody can read into the home folder.
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
TOKEN_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
# There, under `uv run`, Ray would pack the current folder for its workers, with data and runs.
UV_RUN = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"


def prepare_environment(local: bool = False) -> None:
    """Sets the variables that Ray reads. Call it before ray is imported for the first time.

    local: this process will start a cluster of its own.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if local:
        for name in (LOOPBACK, UV_RUN):
            os.environ.setdefault(name, "0")


def give_token() -> None:
    """Makes a token for a cluster of this machine, unless the user has one."""
    if not any(name in os.environ for name in TOKEN_VARIABLES):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
