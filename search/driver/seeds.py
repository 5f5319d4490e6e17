"""The studies of later seeds wait for those before them, and try their best settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import optuna

from search.driver.book import Book
from search.promotion import before, most_settings, promoted, to_try
from search.space import Value

# Of an Optuna study: the settings that it tries.
PROMOTED = "promoted"


class LaterSeeds:
    """Which study comes after which, and how much each may try; books in the order of the seeds.

    A study that a budget had ended may go on, after later seeds tried what was best until then.
    What is better in the end is tried there too.

    `none` is called for each study that begins with nothing to try, and so has ended.
    """

    def __init__(
        self,
        books: Mapping[str, Book],
        seeds: Sequence[int],
        factor: int | None,
        none: Callable[[Book], None],
    ) -> None:
        self._none = none
        self._most: dict[str, int] = {}
        self._waiting: list[tuple[Book, Book]] = []
        for book in books.values() if factor is not None else ():
            earlier = before(book.study, seeds)
            if earlier is not None:
                book.after = books[earlier.id]
                book.budget = most_settings(book.budget, factor, seeds.index(book.study.seed))
                self._most[book.study.id] = book.budget
                self._waiting.append((book, book.after))

    def settle(self) -> None:
        """Tells each study that may begin now how many settings there are for it."""
        for book, after in list(self._waiting):
            if not book.ready:
                continue
            earned = _earned(after)[: self._most[book.study.id]]
            if book.optuna is not None:
                if book.closed:
                    continue
                self._waiting.remove((book, after))
                _queue(book, book.optuna, to_try(book.optuna.user_attrs[PROMOTED], earned))
                continue
            book.budget = len(earned)
            # One that is closed may be opened again, and so may that before it.
            if not book.budget and not book.closed:
                self._waiting.remove((book, after))
                self._none(book)


def queue(book: Book, after: Book, study: optuna.Study) -> None:
    """Queues the settings that a study tries; those that it was begun with, if it was."""
    _queue(book, study, study.user_attrs.get(PROMOTED, _earned(after)[: book.budget]))


def _queue(book: Book, study: optuna.Study, settings: list[dict[str, Value]]) -> None:
    if study.user_attrs.get(PROMOTED) != settings:
        study.set_user_attr(PROMOTED, settings)
    book.budget = len(settings)
    for setting in settings:
        study.enqueue_trial(setting, skip_if_exists=True)


def _earned(after: Book) -> list[dict[str, Value]]:
    return promoted(after.optuna.get_trials(deepcopy=False) if after.optuna else [])
