"""Attributes of a trial in Optuna's storage, and its state as the tables have it."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

# Optuna has no state for a diverged run, so the tables' state is kept besides.
STATE = "state"
REASON = "reason"
FAILURES = "failures"  # failed attempts since it last got further
JUDGED = "judged"  # step of its newest report, and whether that report stops or freezes it
UNTRAINED = "untrained"  # why it is to end without being trained
IMAGES = "images"  # how many its reports are measured on


def is_frozen(trial: FrozenTrial) -> bool:
    """Whether a trial of a study with freeze-thaw waits, or is about to."""
    return trial.state == TrialState.RUNNING and bool(trial.user_attrs.get(JUDGED, (-1, False))[1])


def state_of(trial: FrozenTrial) -> str | None:
    """completed, pruned, diverged or failed; None for a trial that has not ended."""
    if not trial.state.is_finished():
        return None
    plain = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned"}
    return str(trial.user_attrs.get(STATE, plain.get(trial.state, "failed")))
