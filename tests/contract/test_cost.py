"""What a step of each algorithm costs is what it says."""

from __future__ import annotations

import pytest

from search.space.method_descriptions import cost
from tests.contract.settings import ALGORITHMS, DIGITS, run_of
from training.algorithms import PARTS, passes_per_step
from training.train import Trainer, train


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_step_makes_as_many_passes_as_the_dearest_part_says(algorithm):
    trainer = Trainer(run_of(algorithm), DIGITS)
    trainer.train_one()  # before GGA's window
    assert trainer.passes == pytest.approx(passes_per_step(algorithm))


@pytest.mark.parametrize(("dropout", "passes"), [(0.0, 22), (0.5, 1 + 21 * 4 / 3)])
def test_an_annealed_step_costs_as_many_as_its_card_says(dropout, passes):
    trainer = Trainer(run_of("GGA", {"search_steps": 20, "start": 0, "dropout": dropout}), DIGITS)
    trainer.train_one()

    def computed(steps: int) -> float:
        return PARTS["GGA"](search_steps=steps).annealed_cost(redrawn=dropout > 0)

    assert trainer.passes == pytest.approx(computed(20)) == pytest.approx(passes)
    assert f"{round(computed(250))} " in cost("GGA")


def test_a_result_has_the_passes_of_all_steps_and_each_evaluation_those_until_then():
    result = train(run_of("SAM"), DIGITS, lambda _: None)
    assert [(e.step, e.passes) for e in result.evaluations] == [(3, 6.0), (6, 12.0)]
    assert result.passes == 12.0


def test_pieces_of_a_batch_are_one_pass_together():
    result = train(run_of("SAGM", micro_batches=4), DIGITS, lambda _: None)
    assert result.passes == 12.0
