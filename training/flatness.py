"""How flat the loss is around the weights: measured, never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from training.evaluation import Part, Score, chunks, evaluating
from training.weights import Weights

Batch = tuple[Tensor, Tensor]


def with_flatness(
    scores: Sequence[Score],
    parts: Sequence[Part],
    model: nn.Module,
    weights: Weights,
    device: torch.device,
    *,
    rho: float,
    samples: int,
    curvature: bool,
) -> tuple[Score, ...]:
    """Scores of the parts, with sharpness and, if asked for, curvature beside them.

    Measured on the first `samples` samples of each part; the order of a split is random.
    """
    found = []
    for score, part in zip(scores, parts, strict=True):
        few = replace(part, indices=part.indices[:samples])
        batches = list(chunks([few], device, 256))
        rise = sharpness(model, weights, batches, rho)
        bend = largest_eigenvalue(model, weights, batches) if curvature else None
        found.append(replace(score, sharpness=rise, curvature=bend))
    return tuple(found)


def sharpness(model: nn.Module, weights: Weights, batches: Sequence[Batch], rho: float) -> float:
    """Rise of the mean loss, in nats, at the worst point of a ball: L(w + rho g/|g|) - L(w).

    batches: x [n, C, H, W] and y [n], over which loss and gradient are means. The model is measured
    in evaluation mode and left as it was. Foret et al. 2021, arXiv 2010.01412, section 2: the peak
    is that of the linearised loss. 0 where the gradient is 0.
    """
    with evaluating(model):
        before, gradient = _loss_and_gradient(model, weights, batches)
        norm = gradient.norm()
        with weights.displaced():
            weights.flat.add_(gradient * (rho / norm.clamp_min(1e-12)))
            after = _mean_loss(model, batches)
    return float(after - before)


def largest_eigenvalue(
    model: nn.Module,
    weights: Weights,
    batches: Sequence[Batch],
    iterations: int = 20,
    seed: int = 0,
) -> float:
    """The Hessian's eigenvalue of largest magnitude, by power iteration from a seeded vector.

    batches as in `sharpness`. Each iteration costs a double backward over all batches; the value
    is the Rayleigh quotient of the last vector, which is never beyond the true one.
    """
    generator = torch.Generator(weights.flat.device).manual_seed(seed)
    vector = torch.empty_like(weights.flat).normal_(generator=generator)
    value = vector.new_zeros(())
    with evaluating(model):
        for _ in range(iterations):
            vector /= vector.norm().clamp_min(1e-12)
            product = _hessian_product(model, weights, batches, vector)
            value = vector.dot(product)
            vector = product
    return float(value)


def _mean_loss(model: nn.Module, batches: Sequence[Batch]) -> Tensor:
    with torch.no_grad():
        total = sum(F.cross_entropy(model(x), y, reduction="sum") for x, y in batches)
    return torch.as_tensor(total) / _count(batches)


def _loss_and_gradient(
    model: nn.Module, weights: Weights, batches: Sequence[Batch]
) -> tuple[Tensor, Tensor]:
    gradient = torch.zeros_like(weights.flat)
    loss = gradient.new_zeros(())
    for x, y in batches:
        value = F.cross_entropy(model(x), y, reduction="sum") / _count(batches)
        loss += value.detach()
        parts = torch.autograd.grad(value, weights.parameters)
        _add(weights, gradient, parts)
    return loss, gradient


def _hessian_product(
    model: nn.Module, weights: Weights, batches: Sequence[Batch], vector: Tensor
) -> Tensor:
    product = torch.zeros_like(vector)
    for x, y in batches:
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            value = F.cross_entropy(model(x), y, reduction="sum") / _count(batches)
        first = torch.autograd.grad(value, weights.parameters, create_graph=True)
        along = sum((g * v).sum() for g, v in zip(first, weights.views(vector), strict=True))
        second = torch.autograd.grad(along, weights.parameters, materialize_grads=True)  # type: ignore[arg-type]
        _add(weights, product, second)
    return product


def _add(weights: Weights, total: Tensor, parts: Sequence[Tensor]) -> None:
    for view, part in zip(weights.views(total), parts, strict=True):
        view.add_(part)


def _count(batches: Sequence[Batch]) -> int:
    return sum(len(y) for _, y in batches)
