"""`mnist_cnn` against features recorded from DomainBed's MNIST_CNN."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import models

RECORD = json.loads((Path(__file__).parents[1] / "golden" / "small_images.json").read_text())


@pytest.mark.parametrize("case", RECORD["cases"], ids=lambda case: case["case_id"])
def test_features_are_those_of_domainbeds_network(case: dict[str, Any]) -> None:
    channels, samples = case["channels"], case["samples"]
    network = models.build("mnist_cnn", 10, (channels, 28, 28)).double().featurizer[0]
    named = dict(network.named_parameters())
    assert {name: [*p.shape] for name, p in named.items()} == case["parameters"]
    assert sum(p.numel() for p in named.values()) == case["count"]
    with torch.no_grad():
        for j, (name, shape) in enumerate(case["parameters"].items()):
            v = torch.sin(0.7 * torch.arange(named[name].numel(), dtype=torch.float64) + j)
            if not name.endswith("weight"):
                v = 0.1 * v
            elif name.startswith("bn"):
                v = 1 + 0.1 * v
            else:
                v = v / (named[name].numel() / shape[0]) ** 0.5
            named[name].copy_(v.view(shape))
    n, c, k = torch.meshgrid(
        *(torch.arange(size, dtype=torch.float64) for size in (samples, channels, 28 * 28)),
        indexing="ij",
    )
    x = 0.5 + 0.5 * torch.sin(case["input_factor"] * (n + case["input_offset"]) * k + c)

    features = network(x.view(samples, channels, 28, 28))

    expected = torch.tensor(case["features"], dtype=torch.float64)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-9)
