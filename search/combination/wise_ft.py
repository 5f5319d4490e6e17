"""WiSE-FT: the way from zero-shot to the trained weights, and how far along it to go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Curve:
    """The numbers of every alpha, by column of the table, and the alpha that validates best.

    Of equal ones it is the first, which is nearest to zero-shot. The held-out domain is scored at
    each and chooses nothing. Wortsman et al. 2022, arXiv 2109.01903.
    """

    points: tuple[Mapping[str, Any], ...]

    @property
    def chosen(self) -> Mapping[str, Any]:
        """The numbers at that alpha."""
        return max(self.points, key=lambda point: float(point["validation"]))

    @property
    def row(self) -> dict[str, Any]:
        """The columns of the combination."""
        curve = [{name: point[name] for name in POINT} for point in self.points]
        return {**self.chosen, "curve": curve}


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


def curve(
    start: State, trained: State, numbers: Callable[[dict[str, Tensor]], dict[str, Any]]
) -> Curve:
    """Scores the way between two states. numbers: of a state, the columns of the table."""
    return Curve(
        tuple({"alpha": alpha, **numbers(interpolated(start, trained, alpha))} for alpha in ALPHAS)
    )
