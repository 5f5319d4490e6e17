from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from datasets.batches import DomainBatch
from tests.training.toy import Toy
from tests.training.toy_steps import (
    CPU,
    direction_of,
    outputs_of,
    step_of,
    stepped,
    values_of,
    watched,
)
from training.algorithms.asam import ASAM
from training.algorithms.disam import DISAM
from training.algorithms.fish import Fish
from training.algorithms.gga import GGA, GGAL, pair_cosines
from training.algorithms.sagm import SAGM
from training.algorithms.sam import SAM
from training.composition import compose
from training.draws import StepDraws
from training.outputs import Outputs, mean_loss
from training.update import Step, Update, direction, length


def test_order_of_parts_does_not_matter():
    one, other = (DISAM(), ASAM(), SAGM()), (SAGM(), ASAM(), DISAM())

    first, second = (direction_of(step_of(Toy(), 4, 4, 4), *parts) for parts in (one, other))

    assert torch.equal(first, second)


@pytest.mark.parametrize("sizes", [(4, 4, 4), (5, 3, 1), (4, 0, 3)], ids=str)
def test_disam_steers_the_climb_only(sizes):
    """The first pass differentiates L - lambda V, the second L alone."""
    seen: list[Outputs] = []
    update = watched(compose([DISAM(0.5), SAM(0.1)]), lambda outputs, _: seen.append(outputs))

    values = stepped(update, step_of(Toy(), *sizes))

    variance = seen[0].domain_losses.var(correction=0)
    torch.testing.assert_close(values[0], (mean_loss(seen[0]) - 0.5 * variance).detach())
    torch.testing.assert_close(values[1], mean_loss(seen[1]).detach())


def test_gga_l_adds_its_noise_to_the_gradient_that_another_part_made():
    step = step_of(Toy(), 4, 4, 4)
    plain = direction_of(step, SAGM(alpha=0.2))

    noisy = direction_of(step, GGAL(0.1), SAGM(alpha=0.2))

    similarity = pair_cosines(step.passes.domain_gradients()[1]).mean()
    noise = 0.1 * (1 - similarity) * StepDraws(0, 0, CPU).normal(plain)
    torch.testing.assert_close(noisy, plain + noise)


def test_gga_passes_over_a_domain_that_is_absent_from_the_batch():
    step = step_of(Toy(), 4, 0, 4)

    values_of(step, GGA(0.1, search_steps=3, start=0))

    assert step.weights.flat.isfinite().all()


def test_cosine_with_a_gradient_of_zero_is_zero():
    assert pair_cosines(torch.tensor([[0.0, 0.0], [1.0, 0.0]])).tolist() == [0]


def test_a_gradient_of_zero_makes_no_climb():
    model = Toy()
    model.classifier.weight.data.zero_()  # all logits are equal, so the objective below is flat

    def flat(outputs: Outputs, step: Step) -> torch.Tensor:
        return (outputs.logits * 0).sum()

    step = step_of(model, 4, 4)
    gradient, _ = direction(replace(compose([SAM()]), objective=flat), step)

    assert gradient.eq(0).all()


def test_length_is_accurate_in_single_precision():
    vector = torch.rand(8_000_000, generator=torch.Generator().manual_seed(0))

    assert length(vector).item() == pytest.approx(vector.double().norm().item(), rel=1e-6)


def test_radius_of_the_climb_is_rho_in_single_precision():
    step = step_of(Toy(dtype=torch.float32), 4, 4)
    flat, before = step.weights.flat, step.weights.flat.clone()
    climbed: list[float] = []

    update = watched(compose([SAM(0.05)]), lambda *_: climbed.append((flat - before).norm()))

    direction(update, step)

    assert climbed == [0, pytest.approx(0.05, rel=1e-4)]


def test_penalties_are_added_in_every_pass_and_steering_in_the_first():
    def penalty(outputs: Outputs, step: Step) -> torch.Tensor:
        return outputs.logits.square().mean()

    step = step_of(Toy(), 4, 4)
    update = replace(compose([DISAM(0.5), SAM(0.0)]), penalties=(penalty, penalty))
    _, values = direction(update, step)

    seen = outputs_of(step)
    variance = seen.domain_losses.var(correction=0)
    whole = mean_loss(seen) + 2 * seen.logits.square().mean()
    torch.testing.assert_close(torch.stack(values), torch.stack([whole - 0.5 * variance, whole]))


def test_epsilon_is_added_to_the_length_of_what_the_climb_follows():
    lengths: list[float] = []

    def scale(norm: torch.Tensor, number: int) -> torch.Tensor:
        lengths.append(norm.item())
        return norm * 0

    for epsilon in (0.0, 3.0):
        direction(replace(Update(), scale=scale, epsilon=epsilon), step_of(Toy(), 4, 4))

    assert lengths[1] == pytest.approx(lengths[0] + 3)


def test_all_passes_of_a_step_keep_what_the_first_came_to():
    kept: list[float] = []

    def look(outputs: Outputs, step: Step) -> None:
        kept.append(step.remember("loss", mean_loss(outputs)).item())

    step = step_of(Toy(), 4, 4)
    values = stepped(watched(compose([SAM(0.5)]), look), step)

    assert kept == [values[0].item()] * 2
    assert step.memory == {"loss": values[0]}


def test_a_step_that_is_cut_short_remembers_nothing():
    def look(outputs: Outputs, step: Step) -> None:
        if step.remembered:
            raise KeyboardInterrupt
        step.remember("loss", mean_loss(outputs))

    step = step_of(Toy(), 4, 4)
    with pytest.raises(KeyboardInterrupt):
        stepped(watched(compose([SAM()]), look), step)

    assert not step.memory


def test_strides_of_a_walk_remember_what_those_before_them_did():
    seen: list[float] = []

    def look(outputs: Outputs, step: Step) -> None:
        seen.append(step.memory["count"].item())
        step.remember("count", step.memory["count"] + 1)

    step = replace(step_of(Toy(), 4, 4, 4), memory={"count": torch.tensor(7)})
    stepped(watched(compose([Fish(), SAM()]), look), step)

    assert seen == [7, 7, 8, 8, 9, 9]
    assert step.memory["count"] == 10


def test_both_passes_see_one_mixture_and_what_compares_domains_the_pure_batch():
    step = step_of(Toy(), 4, 4, 4)
    mixtures: list[DomainBatch] = []

    def mix(pure: DomainBatch, of_step: Step) -> DomainBatch:
        mixtures.append(replace(pure, x=pure.x + 1))
        return mixtures[-1]

    update = replace(compose([SAM(0.0), GGAL(0.1)]), mix=mix)
    plain = replace(update, mix=None)
    noise = direction(plain, step)[0].clone() - direction(replace(plain, refine=None), step)[0]
    fresh = step_of(Toy(), 4, 4, 4)
    noisy, values = direction(update, fresh)

    assert len(mixtures) == 1
    torch.testing.assert_close(values[0], values[1])
    noisy = noisy.clone()
    expected = fresh.passes.over(mixtures[0]).gradient(mean_loss)[1]
    torch.testing.assert_close(noisy - expected, noise)
