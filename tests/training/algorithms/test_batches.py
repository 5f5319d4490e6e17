"""Batches in which parts find too little to work on."""

from __future__ import annotations

import pytest
import torch

from tests.training.toy import Toy
from tests.training.toy_steps import direction_of, step_of, values_of
from training.algorithms.alignment import CORAL, MMD
from training.algorithms.disam import DISAM
from training.algorithms.fishr import Fishr
from training.algorithms.gga import GGA, GGAL
from training.algorithms.groupdro import GroupDRO
from training.algorithms.irm import IRM
from training.algorithms.mixup import Mixup
from training.algorithms.sam import SAM
from training.algorithms.vrex import VREx

COMPARING = [CORAL(), MMD(), VREx(5.0, 0), GroupDRO(5.0), Mixup(), Fishr(5.0, 0), DISAM(0.5)]


@pytest.mark.parametrize("part", COMPARING, ids=repr)
def test_one_domain_alone_is_left_as_it_is(part):
    step = step_of(Toy(), 6)

    torch.testing.assert_close(direction_of(step, part, SAM()), direction_of(step, SAM()))


@pytest.mark.parametrize(
    ("part", "sizes", "message"),
    [
        (CORAL(), (4, 3), r"as many samples as the others, not \(4, 3\)"),
        (MMD(), (4, 3), r"as many samples as the others, not \(4, 3\)"),
        (Mixup(), (4, 3), r"as many samples of each domain, not \(4, 3\)"),
        (CORAL(), (1, 1), "CORAL needs at least 2 samples of each domain"),
        (IRM(), (1, 1), "IRM needs at least 2 samples of each domain"),
        (GGA(start=0), (8,), "at least two"),
        (GGAL(), (8,), "at least two"),
    ],
    ids=repr,
)
def test_a_batch_that_lacks_what_a_part_needs_is_refused(part, sizes, message):
    with pytest.raises(ValueError, match=message):
        values_of(step_of(Toy(), *sizes), part)
