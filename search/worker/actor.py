"""The Ray actor that carries out trials, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ray.tune import PlacementGroupFactory
from ray.tune.trainable import Trainable
from ray.tune.trainable.function_trainable import wrap_function

from search.worker import preemption


def worker(
    carry_out: Callable[[dict[str, Any]], None], needs: Mapping[str, float]
) -> type[Trainable]:
    """Tune's actor for a function, one that lets its trial save when it is asked to go.

    `needs`: what it occupies, in Ray's names and units.
    """

    class TrialWorker(wrap_function(carry_out)):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            preemption.listen()
            super().setup(config)

        @classmethod
        def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
            return PlacementGroupFactory([dict(needs)])

    return TrialWorker
