"""The results of a run, as printed: by what rule, in which format."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from search import formats, tables
from search.recorded import sweep_of
from search.run_folder import RunFolder
from search.selection import select
from search.studies import asked_studies
from search.summary import summarize


def print_results(run: str, methods: Sequence[str], format_: str) -> None:
    """Prints the result tables of a run, complete or not, to standard output.

    Raises UserError for a run that does not exist, has no trial yet, or an unknown method.
    """
    folder = RunFolder.existing(run)
    trials, evaluations = tables.read_trials(folder), tables.read_evaluations(folder)
    asked = asked_studies(sweep_of(folder))
    summary = summarize(select(trials, evaluations, methods, asked))
    formats.FORMATS[format_](summary, sys.stdout)
