"""What a section of the sweep file is, and the numbers in it."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _finite(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("it must be a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("it must be a finite number")
    return value


Whole = Annotated[int, BeforeValidator(_finite)]
Real = Annotated[float, BeforeValidator(_finite)]


class Section(BaseModel):
    """A mapping of the file: no key that is not its own, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
