"""WiSE-FT: the way from zero-shot to the trained weights, and how far along it to go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

import models
from search.errors import SteppeError
from search.run import manifest
from search.run.combinations import POINT
from search.run.run_folder import RunFolder
from training.combining import State, interpolated
from training.scorer import Scorer

ALPHAS = tuple(tenth / 10 for tenth in range(11))


def zero_shot(folder: RunFolder, scorer: Scorer) -> State:
    """The weights that the networks of a run began with.

    Raises SteppeError if the file that they come from is no longer the same.
    """
    run, known = scorer.run, manifest.weights_digest(folder)
    file = None if run.weights is None else models.weights_file(run.model, run.weights)
    if file is not None and known is not None and manifest.sha256(file) != known:
        raise SteppeError(
            f"{file} is not the file that {folder.uri} started from (sha256 {known[:12]}), where "
            "the way from zero-shot begins; put it back"
        )
    return scorer.start()


def columns(
    start: State, trained: State, numbers: Callable[[dict[str, Tensor]], dict[str, Any]]
) -> dict[str, Any]:
    """Scores the way between two states: the columns of the combination, with its curve.

    The combination is the alpha that validates best, of equal ones the nearest to zero-shot. The
    held-out domain is scored at each and chooses nothing. numbers: of a state, the columns of the
    table. Wortsman et al. 2022, arXiv 2109.01903.
    """
    points = [{"alpha": alpha, **numbers(interpolated(start, trained, alpha))} for alpha in ALPHAS]
    chosen = max(points, key=lambda point: float(point["validation"]))
    return {**chosen, "curve": [{name: point[name] for name in POINT} for point in points]}
