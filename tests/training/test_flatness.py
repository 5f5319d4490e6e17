"""Flatness against losses whose gradient and Hessian are known."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.training.digit_runs import DIGITS, trained
from tests.training.toy import Toy, batch
from training.flatness import largest_eigenvalue, sharpness
from training.run import Run
from training.train import TrainResult
from training.weights import Weights


@pytest.fixture
def problem():
    """Dropout and batch norm must both be off while flatness is measured."""
    model = Toy(nn.BatchNorm1d(5), nn.Dropout(0.5))
    data = batch(12)
    return model, Weights(model), data.x, data.y


def loss_at(model, weights, x, y, point):
    """The loss with the weights at a point [P], by a functional call."""
    named = dict(zip(weights.names, weights.views(point), strict=True))
    buffers = dict(model.named_buffers())
    return F.cross_entropy(torch.func.functional_call(model, {**named, **buffers}, (x,)), y)


def test_sharpness_is_the_rise_along_the_gradient(problem):
    model, weights, x, y = problem
    model.eval()
    point = weights.flat.clone()
    gradient = torch.autograd.functional.jacobian(lambda w: loss_at(model, weights, x, y, w), point)
    before = loss_at(model, weights, x, y, point)
    after = loss_at(model, weights, x, y, point + 0.3 * gradient / gradient.norm())
    assert sharpness(model, weights, [(x, y)], 0.3) == pytest.approx(float(after - before))


def test_the_largest_eigenvalue_is_that_of_the_full_hessian(problem):
    model, weights, x, y = problem
    model.eval()
    hessian = torch.autograd.functional.hessian(
        lambda w: loss_at(model, weights, x, y, w), weights.flat.clone()
    )
    eigenvalues = torch.linalg.eigvalsh(hessian)
    largest = eigenvalues[eigenvalues.abs().argmax()]
    found = largest_eigenvalue(model, weights, [(x, y)], iterations=300)
    assert found == pytest.approx(float(largest), rel=1e-6)


@pytest.mark.parametrize("cuts", [[5, 7], [1, 1, 10]])
def test_how_the_samples_are_cut_into_batches_does_not_matter(problem, cuts):
    model, weights, x, y = problem
    whole = [(x, y)]
    batches = list(zip(x.split(cuts), y.split(cuts), strict=True))
    assert sharpness(model, weights, batches, 0.1) == pytest.approx(
        sharpness(model, weights, whole, 0.1)
    )
    assert largest_eigenvalue(model, weights, batches) == pytest.approx(
        largest_eigenvalue(model, weights, whole)
    )


def test_measuring_leaves_weights_statistics_and_mode_as_they_were(problem):
    model, weights, x, y = problem
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sharpness(model, weights, [(x, y)], 0.1)
    largest_eigenvalue(model, weights, [(x, y)], iterations=2)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


RUN = Run("RotatedDigits", None, "mlp", "SAM", "75", 0, 20, 5, {"lr": 1e-3, "batch_size": 8})


def ended(**changes: Any) -> TrainResult:
    return trained(replace(RUN, **changes)).result


@pytest.mark.parametrize("averaging", ["none", "ema"])
def test_a_run_measures_every_domain_at_its_selected_weights(averaging):
    result = ended(flatness="curvature", averaging=averaging)
    chosen = [e for e in result.evaluations if any(s.sharpness is not None for s in e.scores)]
    assert [e.step for e in chosen] == [result.best_step]
    measured = {s.domain: s for s in chosen[0].scores if s.sharpness is not None}
    assert set(measured) == {domain.name for domain in DIGITS.domains}
    assert {s.split for s in measured.values()} == {"in"}
    assert all(s.sharpness > 0 and s.curvature > 0 for s in measured.values())
    assert measured["75"].role == "held_out"


def test_flatness_changes_no_other_number():
    plain, after = ended(), ended(flatness="sharpness")
    assert plain.validation == after.validation
    for one, other in zip(plain.evaluations, after.evaluations, strict=True):
        kept = {(s.domain, s.split): s for s in other.scores}
        for score in one.scores:
            same = kept[score.domain, score.split]
            assert (same.accuracy, same.loss) == (score.accuracy, score.loss)
    assert all(s.curvature is None for e in after.evaluations for s in e.scores)


@pytest.mark.parametrize("change", [{"flatness_rho": 0.2}, {"flatness_samples": 20}])
def test_radius_and_samples_matter(change):
    def rises(**more):
        result = ended(flatness="sharpness", **more)
        return [s.sharpness for e in result.evaluations for s in e.scores if s.sharpness]

    assert rises() != rises(**change)
