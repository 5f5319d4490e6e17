from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.training.toy import Toy, batch, passes
from training.outputs import Outputs, mean_loss
from training.passes import frozen_statistics


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
def test_losses_of_domains_are_those_of_a_loop_and_shares_weigh_them_to_the_mean(sizes):
    model = Toy()
    seen = outputs(model, *sizes)

    torch.testing.assert_close(seen.domain_losses, torch.stack(loop_over_domains(model, *sizes)))
    torch.testing.assert_close((seen.shares * seen.domain_losses).sum(), mean_loss(seen))


@pytest.mark.parametrize("sizes", [(4, 4, 4), (8, 6, 3), (4, 0, 2)], ids=str)
def test_each_domain_present_has_a_gradient_and_passes_of_its_own(sizes):
    model = Toy()
    losses = loop_over_domains(model, *sizes)
    expected = [
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))])
        for loss in losses
    ]
    some, _ = passes(model, *sizes)

    values, gradients = some.domain_gradients()
    alone = some.by_domain()

    losses = [loss.detach() for loss in losses]
    torch.testing.assert_close(values, losses)
    torch.testing.assert_close(gradients, torch.stack(expected))
    torch.testing.assert_close([one.loss() for one in alone], losses)
    present = [i for i, size in enumerate(sizes) if size]
    assert [one.batch.domain.unique().tolist() for one in alone] == [[i] for i in present]


def test_what_belongs_to_samples_is_told_apart_by_domain():
    seen = outputs(Toy(), 3, 3)

    assert torch.equal(seen.by_domain(seen.features)[1], seen.features[3:])


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


@pytest.mark.parametrize("momentum", [0.1, None], ids=["average", "cumulative"])
@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "updated"])
def test_second_pass_counts_for_running_statistics_only_where_it_is_asked_to(momentum, frozen):
    model, norm = normalized(momentum)
    some, _ = passes(model, 4, 4, freeze_second=frozen)
    some.gradient(mean_loss)
    after_first = [buffer.clone() for buffer in norm.buffers()]

    some.gradient(mean_loss, second=True)

    assert all(map(torch.equal, norm.buffers(), after_first)) == frozen
    assert norm.num_batches_tracked == (1 if frozen else 2)
    assert norm.momentum == momentum


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
