from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from datasets.domain_dataset import Domain
from training.evaluation import Evaluation, Part, Score, calibration_error, evaluate

CPU = torch.device("cpu")


class Counting(nn.Module):
    """Remembers the size of each batch that it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)
        )
        self.asked: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(x))
        return self.layers(x)


def parts() -> list[Part]:
    random = np.random.RandomState(0)
    made = []
    for i, (n, chosen) in enumerate([(9, 5), (4, 4), (12, 1)]):
        images = random.randint(0, 256, (n, 4, 4, 1)).astype(np.uint8)
        labels = random.randint(0, 3, n).astype(np.int64)
        domain = Domain(f"d{i}", images, labels)
        made.append(Part(domain, "source", "out", random.permutation(n)[:chosen]))
    return made


def one_by_one(model: nn.Module, part: Part) -> tuple[float, float]:
    """Accuracy and loss, sample for sample."""
    hits, losses = [], []
    model.eval()
    for i in part.indices:
        x = torch.tensor(part.domain.images[i]).permute(2, 0, 1)[None] / 255
        y = torch.tensor([part.domain.labels[i]])
        with torch.no_grad():
            logits = model(x)
        hits.append(float(logits.argmax() == y))
        losses.append(float(F.cross_entropy(logits, y)))
    return float(np.mean(hits)), float(np.mean(losses))


@pytest.mark.parametrize("batch_size", [1, 3, 4, 5, 9, 10, 1024])
def test_scores_are_those_of_a_loop_over_the_samples_wherever_chunks_end(batch_size):
    model = Counting()

    scores = evaluate(model, parts(), CPU, batch_size)

    assert sum(model.asked) == 10
    assert set(model.asked[:-1]) <= {batch_size}
    for part, score in zip(parts(), scores, strict=True):
        accuracy, loss = one_by_one(model, part)
        assert score.accuracy == accuracy
        assert score.loss == pytest.approx(loss, rel=1e-5)
        assert (score.domain, score.role, score.split) == (part.domain.name, "source", "out")
        assert score.count == len(part.indices)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was_and_no_random_number_is_drawn(training):
    model = Counting().train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()

    evaluate(model, parts(), CPU)

    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(module.training == training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_mode_is_restored_when_the_model_fails():
    class Failing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("out of memory")

    model = Failing().train()

    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate(model, parts(), CPU)

    assert model.training


def test_validation_is_the_unweighted_mean_of_the_source_domains_out_splits():
    scores = (
        Score("a", "source", "out", 0.5, 1.0, 1000),
        Score("a", "source", "in", 0.1, 1.0, 10),
        Score("b", "source", "out", 1.0, 1.0, 10),
        Score("c", "held_out", "out", 0.0, 1.0, 10),
        Score("c", "held_out", "in", 0.0, 1.0, 10),
    )

    assert Evaluation(1, scores, 0.0).validation == 0.75


def test_the_calibration_error_is_the_mean_gap_of_bins_by_their_images():
    # Two bins, (0.8, 0.867] and (0.933, 1]: |1/2 - 0.85| of two images, |1 - 0.95| of one.
    confidence = torch.tensor([0.84, 0.86, 0.95], dtype=torch.float64)
    found = calibration_error(confidence, torch.tensor([True, False, True]))
    assert found == pytest.approx((2 * 0.35 + 0.05) / 3)
    certain = torch.ones(4, dtype=torch.float64)
    assert calibration_error(certain, torch.tensor([True, True, False, False])) == 0.5
    assert np.isnan(calibration_error(certain * torch.nan, certain > 0))
