"""What a section of the sweep file is, and the numbers in it.

A value without quotes comes as `Written` text: names keep it, numbers and switches read it.
"""

from __future__ import annotations

import math
from types import NoneType
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from search.yaml_file import Written, as_number


def _finite(value: object) -> object:
    if isinstance(value, str):
        number = as_number(value)
        value = value if number is None else number
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

    @model_validator(mode="before")
    @classmethod
    def _nulls(cls, written: Any) -> Any:
        """`null` is nothing only where there may be nothing; elsewhere it is a name."""
        if not isinstance(written, dict):
            return written
        optional = {
            name
            for name, field in cls.model_fields.items()
            if NoneType in get_args(field.annotation)
        }
        return {
            key: None if isinstance(value, Written) and value.null and key in optional else value
            for key, value in written.items()
        }
