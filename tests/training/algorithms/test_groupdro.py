from __future__ import annotations

import torch

from tests.training.toy import Toy
from tests.training.toy_steps import step_of, values_of
from training.algorithms.groupdro import GroupDRO
from training.algorithms.sam import SAM


def test_weights_of_domains_move_once_in_a_step_with_two_passes():
    alone, climbing = step_of(Toy(), 4, 4, 4), step_of(Toy(), 4, 4, 4)
    values_of(alone, GroupDRO(2.0))

    values = values_of(climbing, GroupDRO(2.0), SAM(0.5))

    assert torch.equal(climbing.memory["GroupDRO"], alone.memory["GroupDRO"])
    assert values[1] > values[0]
