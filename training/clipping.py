"""A limit on the length of the gradient that the base optimizer gets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from training.update import Step, Update, length

if TYPE_CHECKING:
    from torch import Tensor

    from training.update import Refinement


def clipped(update: Update, norm: float) -> Update:
    """The update with a final gradient of at most this Euclidean norm, over all parameters.

    Only the final one: shortened between the passes of a sharpness-aware step, the first gradient
    would lead another way where a part reads its length. As torch.nn.utils.clip_grad_norm_.

    Raises ValueError for a norm that is not above 0.
    """
    if not norm > 0:
        raise ValueError(f"clip_norm must be above 0, but got {norm}")

    def refine(step: Step) -> Refinement:
        inner = None if update.refine is None else update.refine(step)

        def shorten(gradient: Tensor) -> Tensor:
            if inner is not None:
                gradient = inner(gradient)
            return gradient.mul_((norm / (length(gradient) + 1e-6)).clamp_max(1))

        return shorten

    return replace(update, refine=refine)
