"""When a study has ended, the part files of its trials become one file of each table.

A sweep of 10,000 trials is then read in hundreds of files instead of twenty thousand. The whole
file is written before the parts are deleted, and readers pass over parts of a study that has one,
so a trial's rows count once, whenever a driver dies.
"""

from __future__ import annotations

from collections.abc import Iterable

from search.run import tables
from search.run.run_folder import EVALUATIONS, TRIALS, RunFolder


def compact(folder: RunFolder, study: str, trials: Iterable[str]) -> None:
    """Makes the part files of these trials, which are all of the study's, one file of each table.

    Doing it again, after a crash or for a late writer's part, changes no row. Raises UserError if a
    part is damaged.
    """
    trials = list(trials)
    # `trials` last: as long as a study's is not there, its trials may be looked up one by one.
    for table in (EVALUATIONS, TRIALS):
        if not folder.exists(tables.part(table, study)):
            tables.merge(folder, table, trials, study)
        for trial in trials:
            folder.delete(tables.part(table, trial))


def unpack(folder: RunFolder, study: str) -> None:
    """Makes a study's files parts again, a file for each trial, as it is to have more of them.

    Readers pass over the parts until the whole file is gone. Doing it again, after a crash, changes
    no row. Raises UserError if a file is damaged.
    """
    whole = [table for table in (TRIALS, EVALUATIONS) if folder.exists(tables.part(table, study))]
    for table in whole:
        tables.split(folder, table, study)
    for table in whole:
        folder.delete(tables.part(table, study))


def ended_elsewhere(folder: RunFolder, study: str, trial: str) -> bool:
    """Whether a trial has its row in the tables: whoever is still carrying it out may stop."""
    return any(folder.exists(tables.part(TRIALS, name)) for name in (trial, study))
