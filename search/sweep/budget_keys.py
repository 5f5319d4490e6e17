"""Keys of a sweep file that say how much the search may spend."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from search.sweep.section import Real, Section, Whole

Limit = Annotated[Real, Field(gt=0)]


class StudyBudget(Section):
    """What the trials of each study may spend together; nothing given, no limit."""

    gpu_hours: Limit | None = Field(
        default=None, description="Hours of its trials, times resources.gpu."
    )
    cpu_hours: Limit | None = Field(
        default=None, description="Hours of its trials, times resources.cpu."
    )
    passes: Limit | None = Field(
        default=None, description="Forwards and backwards over a batch, as trials count them."
    )


class Budget(StudyBudget):
    """What a whole sweep may spend; nothing given, no limit."""

    trials: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="Trials of all studies together."
    )
    wall_hours: Limit | None = Field(
        default=None, description="Hours in which drivers are at work on the sweep."
    )
