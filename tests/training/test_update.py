from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from datasets.batches import DomainBatch
from tests.training.toy import Toy, batch
from tests.training.toy_steps import CPU, step_of
from training import optimizers
from training.algorithms.asam import ASAM
from training.algorithms.disam import DISAM
from training.algorithms.fish import Fish
from training.algorithms.gam import GAM
from training.algorithms.gga import GGA, GGAL, pair_cosines
from training.algorithms.gsam import GSAM
from training.algorithms.sagm import SAGM
from training.algorithms.sam import SAM
from training.composition import Part, compose
from training.draws import StepDraws
from training.outputs import Outputs, mean_loss
from training.passes import Passes
from training.update import Step, Update, direction, length, take_step
from training.weights import Weights


def direction_of(*parts: Part, sizes: tuple[int, ...] = (4, 4, 4)) -> torch.Tensor:
    return direction(compose(parts), step_of(Toy(), *sizes))[0].clone()


def stepped(update: Update, step: Step, lr: float = 0.1) -> list[torch.Tensor]:
    """A step of plain gradient descent."""
    return take_step(update, step, optimizers.build("sgd", step.weights.flat, lr, 0.0))


def test_no_parts_make_erm():
    step = step_of(Toy(), 4, 4)

    gradient, values = direction(compose([]), step)

    value, expected = step.passes.gradient(mean_loss)
    assert torch.equal(gradient, expected)
    assert torch.equal(torch.stack(values), value[None])


def test_order_of_parts_does_not_matter():
    assert torch.equal(direction_of(DISAM(), ASAM(), SAGM()), direction_of(SAGM(), ASAM(), DISAM()))


@pytest.mark.parametrize("sizes", [(4, 4, 4), (5, 3, 1), (4, 0, 3)], ids=str)
def test_disam_steers_the_climb_only(sizes):
    """The first pass differentiates L - lambda V, the second L alone."""
    seen: list[Outputs] = []

    def objective(outputs: Outputs, step: Step) -> torch.Tensor:
        seen.append(outputs)
        return mean_loss(outputs)

    update = replace(compose([DISAM(0.5), SAM(0.1)]), objective=objective)
    _, values = direction(update, step_of(Toy(), *sizes))

    variance = seen[0].domain_losses.var(correction=0)
    torch.testing.assert_close(values[0], mean_loss(seen[0]) - 0.5 * variance)
    torch.testing.assert_close(values[1], mean_loss(seen[1]))


def test_disam_of_one_domain_is_sam():
    torch.testing.assert_close(
        direction_of(DISAM(0.5), SAM(), sizes=(6,)), direction_of(SAM(), sizes=(6,))
    )


def test_gsam_leaves_out_a_part_of_the_gradient_that_is_orthogonal_to_the_peaks():
    gradient, peak, combined = (direction_of(*parts) for parts in ([], [SAM()], [GSAM(alpha=0.3)]))

    orthogonal = (peak - combined) / 0.3

    along = gradient - orthogonal
    assert orthogonal.dot(peak).item() == pytest.approx(0, abs=1e-10)
    assert (along.dot(peak) / (length(along) * length(peak))).item() == pytest.approx(1)


def test_gga_l_adds_its_noise_to_the_gradient_that_another_part_made():
    step = step_of(Toy(), 4, 4, 4)
    plain = direction(compose([SAGM(alpha=0.2)]), step)[0].clone()

    noisy, _ = direction(compose([GGAL(0.1), SAGM(alpha=0.2)]), step)

    similarity = pair_cosines(step.passes.domain_gradients()[1]).mean()
    noise = 0.1 * (1 - similarity) * StepDraws(0, 0, CPU).normal(plain)
    torch.testing.assert_close(noisy, plain + noise)


def test_gga_and_gga_l_refuse_to_compare_one_domain():
    for part in (GGA(start=0), GGAL()):
        with pytest.raises(ValueError, match="at least two"):
            stepped(compose([part]), step_of(Toy(), 8))


def test_gga_passes_over_a_domain_that_is_absent_from_the_batch():
    step = step_of(Toy(), 4, 0, 4)

    stepped(compose([GGA(0.1, search_steps=3, start=0)]), step)

    assert step.weights.flat.isfinite().all()


def test_cosines_are_those_of_every_pair_of_rows():
    rows = torch.randn(4, 100, dtype=torch.float64)
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]

    expected = [torch.cosine_similarity(rows[i], rows[j], dim=0) for i, j in pairs]

    torch.testing.assert_close(pair_cosines(rows), torch.stack(expected))


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


@pytest.mark.parametrize(
    "parts",
    [[SAM()], [DISAM(), SAGM()], [ASAM(), GSAM()], [GAM()], [GGA(0.1, 3, start=0), SAM()]],
    ids=str,
)
@pytest.mark.parametrize("failing", ["second pass", "search"])
def test_an_exception_in_a_pass_leaves_the_weights_as_they_were(parts, failing):
    class Interrupted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not torch.equal(step.weights.flat, before):
                raise KeyboardInterrupt
            return x

    model = Toy(Interrupted(), nn.BatchNorm1d(5))
    step = step_of(model, 4, 4)
    before = step.weights.flat.clone()
    if failing == "search":
        parts = [GGA(0.1, 3, start=0), *(part for part in parts if not isinstance(part, GGA))]

    with pytest.raises(KeyboardInterrupt):
        stepped(compose(parts), step)

    assert torch.equal(step.weights.flat, before)
    assert model.featurizer[2].track_running_stats


def test_the_optimizer_steps_from_the_undisplaced_weights():
    step = step_of(Toy(), 4, 4)
    before = step.weights.flat.clone()
    gradient = direction(compose([SAM(0.5)]), step)[0].clone()

    take_step(compose([SAM(0.5)]), step, optimizers.build("sgd", step.weights.flat, 0.1, 0.3))

    torch.testing.assert_close(step.weights.flat, before - 0.1 * (gradient + 0.3 * before))


def test_length_is_accurate_in_single_precision():
    vector = torch.rand(8_000_000, generator=torch.Generator().manual_seed(0))

    assert length(vector).item() == pytest.approx(vector.double().norm().item(), rel=1e-6)


def test_radius_of_the_climb_is_rho_in_single_precision():
    weights = Weights(model := Toy(dtype=torch.float32))
    before = weights.flat.clone()
    some = Passes(model, weights, batch(4, 4, dtype=torch.float32))
    climbed: list[float] = []

    def objective(outputs: Outputs, step: Step) -> torch.Tensor:
        climbed.append((weights.flat - before).norm().item())
        return mean_loss(outputs)

    update = replace(compose([SAM(0.05)]), objective=objective)
    direction(update, Step(0, some, weights, StepDraws(0, 0, CPU)))

    assert climbed == [0, pytest.approx(0.05, rel=1e-4)]


def test_penalties_are_added_in_every_pass_and_steering_in_the_first():
    def penalty(outputs: Outputs, step: Step) -> torch.Tensor:
        return outputs.logits.square().mean()

    step = step_of(Toy(), 4, 4)
    update = replace(compose([DISAM(0.5), SAM(0.0)]), penalties=(penalty, penalty))
    _, values = direction(update, step)

    batch_outputs: list[Outputs] = []
    step.passes.gradient(lambda outputs: batch_outputs.append(outputs) or mean_loss(outputs))
    (seen,) = batch_outputs
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

    def objective(outputs: Outputs, step: Step) -> torch.Tensor:
        kept.append(step.remember("loss", mean_loss(outputs)).item())
        return mean_loss(outputs)

    step = step_of(Toy(), 4, 4)
    values = stepped(replace(compose([SAM(0.5)]), objective=objective), step)

    assert kept == [values[0].item()] * 2
    assert step.memory == {"loss": values[0]}


def test_a_step_that_is_cut_short_remembers_nothing():
    def objective(outputs: Outputs, step: Step) -> torch.Tensor:
        if step.remembered:
            raise KeyboardInterrupt
        step.remember("loss", mean_loss(outputs))
        return mean_loss(outputs)

    step = step_of(Toy(), 4, 4)
    with pytest.raises(KeyboardInterrupt):
        stepped(replace(compose([SAM()]), objective=objective), step)

    assert not step.memory


def test_strides_of_a_walk_remember_what_those_before_them_did():
    seen: list[float] = []

    def objective(outputs: Outputs, step: Step) -> torch.Tensor:
        seen.append(step.memory["count"].item())
        step.remember("count", step.memory["count"] + 1)
        return mean_loss(outputs)

    step = replace(step_of(Toy(), 4, 4, 4), memory={"count": torch.tensor(7)})
    stepped(replace(compose([Fish(), SAM()]), objective=objective), step)

    assert seen == [7, 7, 8, 8, 9, 9]
    assert step.memory["count"] == 10


def test_the_optimizer_forgets_before_the_steps_of_a_restart():
    weights = Weights(model := Toy())
    optimizer = optimizers.build("adam", weights.flat, 0.1, 0.0)
    ages = []
    for number in range(5):
        step = Step(number, Passes(model, weights, batch(4, 4)), weights, StepDraws(0, 0, CPU))
        take_step(replace(Update(), restarts=frozenset({0, 3})), step, optimizer)
        ages.append(int(optimizer.state["step"]))

    assert ages == [1, 2, 3, 1, 2]


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
