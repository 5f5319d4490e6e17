"""Which two parts compose; `test_every_algorithm.py` trains pairs in which all slots meet."""

from __future__ import annotations

from itertools import combinations

import pytest

from tests.contract.settings import PARTS, REFUSED
from training.algorithms import parse


@pytest.mark.parametrize("pair", list(combinations(PARTS, 2)), ids="+".join)
def test_two_parts_compose_unless_the_mathematics_forbids_it(pair):
    refused = frozenset(pair) in REFUSED

    for name in ("+".join(pair), "+".join(reversed(pair))):
        if refused:
            with pytest.raises(ValueError, match="does not compose: ") as why:
                parse(name)
            sentence = str(why.value).removeprefix(f"{name!r} does not compose: ")
            assert set(pair) <= set(sentence.replace(",", "").split())
        else:
            assert set(pair) <= set(parse(name))
