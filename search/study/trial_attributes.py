"""How a trial in Optuna's storage ended, in the words of the tables."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

# Optuna has no state for a run that diverged, so Steppe's word is kept beside Optuna's.
STATE = "state"
REASON = "reason"
FAILURES = "failures"  # attempts that failed since it last came further than before
JUDGED = "judged"  # the step of its newest report, and whether it is to be stopped there
IMAGES = "images"  # what it reports is measured on


def state_of(trial: FrozenTrial) -> str | None:
    """completed, pruned, diverged or failed; None for a trial that has not ended."""
    if not trial.state.is_finished():
        return None
    plain = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned"}
    return str(trial.user_attrs.get(STATE, plain.get(trial.state, "failed")))
