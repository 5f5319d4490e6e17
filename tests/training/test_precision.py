from __future__ import annotations

import pytest
import torch

from tests.training import toy
from tests.training.toy import Toy
from training.computation import autocast
from training.outputs import Outputs, mean_loss
from training.passes import Passes
from training.weights import Weights


def passes(precision: str) -> tuple[Passes, Weights, Toy]:
    model = Toy(dtype=torch.float32)
    return *toy.passes(model, 8, 8, precision=precision), model


def test_bf16_rounds_products_but_neither_losses_nor_gradients():
    seen: list[torch.dtype] = []
    outputs: list[Outputs] = []
    some, weights, model = passes("bf16")
    model.classifier.register_forward_hook(lambda module, given, made: seen.append(made.dtype))

    def objective(made: Outputs) -> torch.Tensor:
        outputs.append(made)
        return mean_loss(made)

    value, gradient = some.gradient(objective)

    exact, gradient_in_fp32 = passes("fp32")[0].gradient(mean_loss)
    assert seen == [torch.bfloat16]
    assert {outputs[0].features.dtype, outputs[0].logits.dtype, value.dtype} == {torch.float32}
    assert gradient.dtype == weights.flat.dtype == torch.float32
    assert value != exact
    torch.testing.assert_close(value, exact, rtol=0.02, atol=0)
    torch.testing.assert_close(gradient, gradient_in_fp32, rtol=0.1, atol=0.01)


def test_a_second_pass_in_bf16_sees_the_displaced_weights():
    """Torch keeps converted weights while it is in one block of autocast."""
    some, weights, _ = passes("bf16")
    first, _ = some.gradient(mean_loss)
    with weights.displaced():
        weights.flat.add_(0.5)
        second, _ = some.gradient(mean_loss, second=True)

    third, _ = some.gradient(mean_loss)

    assert second != first
    assert third == first


def test_fp32_is_no_autocast_at_all():
    with autocast("fp32", torch.device("cpu")):
        assert not torch.is_autocast_enabled("cpu")


def test_an_unknown_precision_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="precision must be one of fp32, bf16, but got 'fp16'"):
        autocast("fp16", torch.device("cpu"))
