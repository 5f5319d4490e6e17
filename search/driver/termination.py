"""A study whose sampler has stopped improving is stopped; others get the trials it did not use.

A stop is a decision, and is recorded in the Optuna study; what follows from it is computed anew
from all stops, so that a resumed sweep goes on with the same shares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from search.config import Sweep
from search.driver.book import Book
from search.stagnation import patience, startup, without_gain
from search.study_space import different_settings

STOPPED = "stopped"  # attribute of an Optuna study: see Stop


@dataclass(frozen=True)
class Stop:
    """The stop of a study, the `order`-th of the sweep, when it had asked for so many trials."""

    order: int
    study: str
    trials: int


class Terminator:
    """Stops studies, if the sweep asks for it; keeps account of who may have how many trials."""

    def __init__(self, sweep: Sweep, books: Mapping[str, Book]) -> None:
        self._search = sweep.search
        self._books = books
        self._own = {study: book.budget for study, book in books.items()}
        self._most = {study: different_settings(book.space) for study, book in books.items()}
        self._stops: list[Stop] = []
        self._looked: dict[str, int] = {}  # ended trials when a study was last looked at

    def recall(self) -> None:
        """Takes over what was decided before."""
        begun = [book.optuna for book in self._books.values() if book.optuna is not None]
        self._stops = stops(study.user_attrs for study in begun)
        self._share()

    def stops(self, book: Book) -> bool:
        """Whether the study is not to be asked for another trial: stops it if so."""
        ended = book.ended.total()
        if self._search.terminator == "none" or book.optuna is None:
            return False
        if ended == self._looked.get(book.study.id):
            return False
        self._looked[book.study.id] = ended
        trials = book.optuna.get_trials(deepcopy=False)
        if without_gain(trials, startup(self._search)) < patience(self._search):
            return False
        stop = Stop(len(self._stops), book.study.id, book.asked)
        book.optuna.set_user_attr(STOPPED, asdict(stop))
        self._stops.append(stop)
        self._share()
        return True

    def _share(self) -> None:
        if self._stops:
            for study, trials in shares(self._own, self._most, self._stops).items():
                self._books[study].budget = trials


def stops(attributes: Iterable[Mapping[str, Any]]) -> list[Stop]:
    """The stops that the attributes of Optuna studies record, in their order."""
    found = [Stop(**own[STOPPED]) for own in attributes if STOPPED in own]
    return sorted(found, key=lambda stop: stop.order)


def shares(
    own: Mapping[str, int], most: Mapping[str, int | None], stops: Sequence[Stop]
) -> dict[str, int]:
    """How many trials each study may have after these stops, all together as many as before.

    What a stopped study leaves goes, one by one, to the going one that was given the fewest, the
    first in the sweep of equals, up to as many as it can have; what nobody can have is left.
    """
    trials, given = dict(own), Counter[str]()
    going = dict.fromkeys(own)
    for stop in stops:
        del going[stop.study]
        left, trials[stop.study] = trials[stop.study] - stop.trials, stop.trials
        for _ in range(left):
            takers = [name for name in going if _room(trials[name], most[name])]
            if takers:
                taker = min(takers, key=given.__getitem__)
                given[taker] += 1
                trials[taker] += 1
    return trials


def _room(trials: int, most: int | None) -> bool:
    return most is None or trials < most
