"""Every algorithm has a card, and the card says what the code says."""

from pathlib import Path

import pytest

from search.space.method_descriptions import METHODS, card
from training import optimizers
from training.hyperparameters import of_optimizer

CARDS = Path(__file__).resolve().parent.parent / "docs" / "algorithms"


@pytest.mark.parametrize("part", METHODS)
def test_a_card_begins_as_the_code_makes_it_and_says_what_released_codes_do_otherwise(part):
    """To make the head again: `search.space.method_descriptions.card("SAM")`."""
    written = (CARDS / f"{part}.md").read_text()
    assert written.startswith(card(part))
    said = written.removeprefix(card(part))
    assert said.startswith("\n## ")
    assert len(said.split()) > 30


def test_no_card_is_left_over():
    own = {name.upper() for name in optimizers.NAMES if of_optimizer(name)}
    assert {path.stem for path in CARDS.glob("*.md")} == {*METHODS, *own, "README"}


def test_the_list_of_cards_names_them_all():
    written = (CARDS / "README.md").read_text()
    assert [name for name in METHODS if f"[{name}]({name}.md)" not in written] == []
