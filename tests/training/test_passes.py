from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.training.toy import Toy, batch, passes
from training.outputs import Outputs, mean_loss
from training.passes import Passes, frozen_statistics


def outputs(model: nn.Module, *sizes: int) -> Outputs:
    data = batch(*sizes)
    features = model.featurizer(data.x)
    return Outputs(features, model.classifier(features), data.y, data.sizes)


def loop_over_domains(model: nn.Module, *sizes: int) -> list[torch.Tensor]:
    data = batch(*sizes)
    present = [i for i, size in enumerate(sizes) if size]
    return [
        F.cross_entropy(model(data.x[data.domain == i]), data.y[data.domain == i]) for i in present
    ]


@pytest.mark.parametrize("sizes", [(4, 4, 4), (8, 6, 3), (4, 0, 2), (5,), (0, 3, 0)], ids=str)
def test_domain_losses_are_those_of_a_loop_over_the_domains_present(sizes):
    model = Toy()

    expected = torch.stack(loop_over_domains(model, *sizes))

    torch.testing.assert_close(outputs(model, *sizes).domain_losses, expected)


@pytest.mark.parametrize("sizes", [(4, 4, 4), (8, 6, 3), (4, 0, 2)], ids=str)
def test_shares_weigh_the_domain_losses_to_the_mean_loss(sizes):
    seen = outputs(Toy(), *sizes)

    torch.testing.assert_close((seen.shares * seen.domain_losses).sum(), mean_loss(seen))


@pytest.mark.parametrize("sizes", [(4, 4, 4), (8, 6, 3), (4, 0, 2)], ids=str)
def test_domain_gradients_are_those_of_a_loop_over_the_domains_present(sizes):
    model = Toy()
    losses = loop_over_domains(model, *sizes)
    expected = [
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))])
        for loss in losses
    ]

    actual, _ = passes(model, *sizes)

    values, gradients = actual.domain_gradients()

    torch.testing.assert_close(values, [loss.detach() for loss in losses])
    torch.testing.assert_close(gradients, torch.stack(expected))


def test_errors_are_the_gradients_of_the_losses_by_the_logits():
    seen = outputs(Toy(), 4, 3)

    (expected,) = torch.autograd.grad(seen.losses.sum(), seen.logits, retain_graph=True)

    torch.testing.assert_close(seen.errors.detach(), expected)


def test_what_belongs_to_samples_is_told_apart_by_domain():
    seen = outputs(Toy(), 3, 3)

    assert torch.equal(seen.by_domain(seen.features)[1], seen.features[3:])
    with pytest.raises(ValueError, match=r"as many samples as the others, not \(4, 2\)"):
        outputs(Toy(), 4, 2).by_domain(seen.features)


def test_losses_of_shared_labels_are_the_shares_of_those_of_each():
    one, other = outputs(Toy(), 4, 4), outputs(Toy(), 4, 4)
    labels = F.one_hot(one.y, 3).double()
    shared = replace(one, y=0.3 * labels + 0.7 * labels.flip(0))
    flipped = replace(other, y=other.y.flip(0))

    torch.testing.assert_close(shared.losses, 0.3 * one.losses + 0.7 * flipped.losses)


def test_passes_over_another_batch_are_at_the_same_weights():
    model = Toy(nn.BatchNorm1d(5))
    some, weights = passes(model, 4, 4)
    others = Passes(model, weights, batch(3, 3))

    expected = others.gradient(mean_loss, second=True)[1].clone()

    assert torch.equal(some.over(batch(3, 3)).gradient(mean_loss, second=True)[1], expected)
    assert some.batch.sizes == (4, 4)


@pytest.mark.parametrize("sizes", [(4, 4, 4), (8, 6, 3), (4, 0, 2)], ids=str)
def test_each_domain_present_has_passes_of_its_own(sizes):
    model = Toy()

    alone = passes(model, *sizes)[0].by_domain()

    expected = torch.stack(loop_over_domains(model, *sizes)).detach()
    torch.testing.assert_close(torch.stack([one.loss() for one in alone]), expected)
    present = [i for i, size in enumerate(sizes) if size]
    assert [one.batch.domain.unique().tolist() for one in alone] == [[i] for i in present]


def test_statistics_are_the_real_numbers_among_the_buffers():
    model, norm = normalized()
    some, _ = passes(model, 4, 4)

    assert [id(buffer) for buffer in some.statistics] == [
        id(norm.running_mean),
        id(norm.running_var),
    ]
    assert some.classes == 3


def test_gradient_of_the_second_pass_leaves_that_of_the_first_as_it_was():
    model = Toy()
    both, weights = passes(model, 4, 4)
    _, first = both.gradient(mean_loss)
    before = first.clone()

    weights.flat.add_(0.1)
    _, second = both.gradient(mean_loss, second=True)
    both.domain_gradients()

    assert torch.equal(first, before)
    assert not torch.equal(second, before)


def test_loss_is_the_mean_loss_and_carries_no_gradient():
    model = Toy()
    some, _ = passes(model, 4, 2)

    loss = some.loss()

    data = batch(4, 2)
    torch.testing.assert_close(loss, F.cross_entropy(model(data.x), data.y).detach())
    assert not loss.requires_grad


def test_each_pass_draws_a_fresh_dropout_mask():
    some, _ = passes(Toy(nn.Dropout(0.5)), 8, 8)

    assert some.gradient(mean_loss)[0] != some.gradient(mean_loss, second=True)[0]


def normalized(momentum: float | None = 0.1) -> tuple[Toy, nn.BatchNorm1d]:
    norm = nn.BatchNorm1d(5, momentum=momentum)
    return Toy(norm), norm


def buffers(norm: nn.Module) -> list[torch.Tensor]:
    return [buffer.clone() for buffer in norm.buffers()]


@pytest.mark.parametrize("momentum", [0.1, None], ids=["average", "cumulative"])
def test_second_pass_leaves_running_statistics_and_their_count_alone(momentum):
    model, norm = normalized(momentum)
    some, _ = passes(model, 4, 4)
    some.gradient(mean_loss)
    after_first = buffers(norm)

    some.gradient(mean_loss, second=True)

    assert all(map(torch.equal, buffers(norm), after_first))
    assert norm.num_batches_tracked == 1
    assert norm.momentum == momentum


def test_second_pass_updates_running_statistics_where_it_is_asked_to():
    model, norm = normalized()
    some, _ = passes(model, 4, 4, freeze_second=False)
    some.gradient(mean_loss)
    after_first = buffers(norm)

    some.gradient(mean_loss, second=True)

    assert norm.num_batches_tracked == 2
    assert not torch.equal(norm.running_mean, after_first[0])


def test_frozen_statistics_still_normalize_with_those_of_the_batch():
    model, _ = normalized()
    some, _ = passes(model, 4, 4)

    value, gradient = some.gradient(mean_loss)
    value_again, gradient_again = some.gradient(mean_loss, second=True)

    torch.testing.assert_close(value, value_again)
    torch.testing.assert_close(gradient, gradient_again)


def test_batch_norm_in_evaluation_mode_keeps_using_its_running_statistics():
    model, norm = normalized()
    norm.eval()
    some, _ = passes(model, 4, 4)

    torch.testing.assert_close(
        some.gradient(mean_loss)[0], some.gradient(mean_loss, second=True)[0]
    )
    assert norm.num_batches_tracked == 0


def test_frozen_statistics_may_be_nested():
    model, norm = normalized()
    x = batch(8).x

    with frozen_statistics(model):
        with frozen_statistics(model):
            model(x)
        model(x)
        assert norm.num_batches_tracked == 0
    model(x)

    assert norm.num_batches_tracked == 1


def test_frozen_statistics_thaw_when_an_exception_passes():
    model, norm = normalized()

    with pytest.raises(RuntimeError, match="stop"), frozen_statistics(model):
        raise RuntimeError("stop")
    model(batch(8).x)

    assert norm.num_batches_tracked == 1


def test_batch_norm_without_running_statistics_gains_none():
    norm = nn.BatchNorm1d(5, track_running_stats=False)
    some, _ = passes(Toy(norm), 4, 4)

    some.gradient(mean_loss, second=True)

    assert not norm.track_running_stats
