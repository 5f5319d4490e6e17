"""What becomes of parts together; tests/contract/test_every_pair.py tries all pairs by name."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace

import pytest

from training.algorithms.alignment import CORAL, MMD
from training.algorithms.asam import ASAM, ElementwiseASAM
from training.algorithms.disam import DISAM
from training.algorithms.fsam import FSAM
from training.algorithms.gga import GGA, GGAL
from training.algorithms.groupdro import GroupDRO
from training.algorithms.gsam import GSAM
from training.algorithms.irm import IRM
from training.algorithms.sagm import SAGM
from training.algorithms.sam import SAM
from training.algorithms.vasso import VaSSO
from training.algorithms.vrex import VREx
from training.composition import OWNED, compose, shaping
from training.update import Update


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([SAM(), GSAM()], "how far to climb (slot scale)"),
        ([GSAM(), SAGM()], "how far to climb (slot scale)"),
        ([ASAM(), ElementwiseASAM(), SAM()], "how the ball is shaped (slot metric)"),
        ([DISAM(), DISAM(0.2), SAM()], "which way the first pass leads (slot steering)"),
        ([VaSSO(), FSAM(), SAM()], "what the climb follows (slot follow)"),
        ([GroupDRO(), GroupDRO()], "what every pass differentiates (slot objective)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_two_parts_that_own_one_slot_are_refused_by_name(parts, reason):
    first, second = (type(part).__name__ for part in parts[:2])

    with pytest.raises(ValueError, match=re.escape(f"{first} and {second} both say {reason}")):
        compose(parts)


@pytest.mark.parametrize("part", [ASAM(), ElementwiseASAM(), DISAM(), VaSSO(), FSAM()], ids=repr)
def test_a_part_that_shapes_an_ascent_which_none_makes_is_refused_by_name(part):
    with pytest.raises(ValueError, match=f"{type(part).__name__} shapes an ascent that no part"):
        compose([part, GGA()])


def test_parts_are_called_what_the_caller_calls_them():
    with pytest.raises(ValueError, match="one and other both say how far to climb"):
        compose([SAM(), SAGM()], ["one", "other"])


def test_penalties_and_restarts_of_several_parts_add_up():
    update = compose([CORAL(2.0), VREx(1.0, 7), MMD(), IRM(1.0, 9)])

    owners = [term.__self__ for term in update.penalties]  # type: ignore[attr-defined]
    assert owners == [CORAL(2.0), VREx(1.0, 7), MMD(), IRM(1.0, 9)]
    assert update.restarts == {7, 9}


def test_every_slot_is_owned_or_shared():
    assert {*OWNED, "penalties", "restarts", "apart"} == {slot.name for slot in fields(Update)}


def test_a_slot_that_no_part_sets_is_that_of_erm():
    assert compose([GGAL()]).scale is None
    assert compose([SAM()]).objective is Update().objective
    assert compose([]) == Update()


def test_shaping_slots_are_those_that_act_on_an_ascent():
    @dataclass(frozen=True)
    class Everything:
        def __call__(self, update: Update) -> Update:
            return replace(update, **{slot: object() for slot in OWNED})

    assert shaping(Everything()(Update())) == ["steering", "metric", "follow", "combine"]
